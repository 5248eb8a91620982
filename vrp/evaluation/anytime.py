"""What a search has found after how many seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from vrp.policy.base import Policy
from vrp.problem.instances import Instances
from vrp.problem.random_numbers import named_generator
from vrp.search.base import Search


@dataclass(frozen=True)
class Curve:
    """The mean cost of a search over time, of all instances as if solved side by side.

    Attributes:
        seconds: (P,) per instance, ascending.
        cost: (P,) mean over the instances; rises only where a beam ends, as `Beam` says.
    """

    seconds: np.ndarray
    cost: np.ndarray


def anytime_curve(
    search: Search,
    policy: Policy,
    instances: Instances,
    batch_size: int,
    seed: int,
    seconds: float | None = None,
) -> Curve:
    """Watch a search at work.

    Args:
        search: its own time limit does not count here.
        policy: in evaluation mode, where the instances are.
        instances: N problems.
        batch_size: instances solved at once.
        seed: of the random numbers, drawn for each batch as `scripts/evaluate.py` does.
        seconds: after so many per instance a batch is left; None lets every search end.
    """
    times, costs, weights = [], [], []
    for start in range(0, len(instances), batch_size):
        batch = instances[start : start + batch_size]
        at, found = _watch(
            search, policy, batch, named_generator(seed, f"evaluate/{start}"), seconds
        )
        times.append(np.array(at) / len(batch))
        costs.append(np.array(found))
        weights.append(len(batch) / len(instances))
    # A batch's cost at a time is that of its last piece of work; before its first there is none.
    every = np.unique(np.concatenate(times))
    every = every[every >= max(at[0] for at in times)]
    mean = sum(
        weight * cost[np.searchsorted(at, every, side="right") - 1]
        for weight, at, cost in zip(weights, times, costs, strict=True)
    )
    return Curve(every, mean)


def _watch(
    search: Search,
    policy: Policy,
    batch: Instances,
    generator: torch.Generator,
    seconds: float | None,
) -> tuple[list[float], list[float]]:
    until = float("inf") if seconds is None else seconds * len(batch)
    at, found = [], []
    begun = time.perf_counter()
    with torch.no_grad():
        for progress in search.solutions(policy, batch, generator):
            at.append(time.perf_counter() - begun)
            found.append(float(progress.solution.cost.mean()))
            if at[-1] >= until:
                break
    return at, found
