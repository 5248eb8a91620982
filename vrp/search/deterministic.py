"""Searches that draw no random numbers.

Where the policy's products are float32 their answer does not depend on the size of a batch,
rounding aside; in bfloat16 the tours of a few instances do.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from vrp.policy.base import Policy, evaluating
from vrp.problem.instances import Instances
from vrp.search.augmentation import Augment
from vrp.search.base import Search
from vrp.search.batches import instances_at_once
from vrp.search.greedy import Greedy, Multistart
from vrp.search.solution import Solution, join

DETERMINISTIC: dict[str, Search] = {
    "greedy": Greedy(),
    "multistart": Multistart(),
    "augment": Augment(),
}

_MOST = 1000
_PAIRS = 250 * 51**2  # of nodes; the attention policy takes about 0.2 GB for so many


class Stopped(Exception):
    """Work was given up half done, as its caller wished."""


def solve(
    policy: Policy,
    instances: Instances,
    decode: str,
    device: torch.device | str = "cpu",
    stopped: Callable[[], bool] = lambda: False,
    found: list[Solution] | None = None,
) -> Solution:
    """Tours of all instances, in batches that fit into memory; leaves the policy as it is.

    Args:
        policy: on `device`.
        instances: N problems on the CPU.
        decode: one of `DETERMINISTIC`.
        device: where to solve them.
        stopped: asked before each batch.
        found: of the first instances, by calls that were stopped; each batch joins them.

    Raises:
        Stopped: as soon as `stopped` says so; `found` then holds what is known.
    """
    search, found = DETERMINISTIC[decode], [] if found is None else found
    batch, done = at_once(instances.num_nodes), sum(len(part.cost) for part in found)
    with evaluating(policy):
        for start in range(done, len(instances), batch):
            if stopped():
                raise Stopped
            some = instances[start : start + batch].to(device)
            found.append(search(policy, some, torch.Generator()))
    return join(found)


def at_once(num_nodes: int) -> int:
    """How many instances of so many nodes `solve` solves side by side."""
    return instances_at_once(num_nodes, _MOST, _PAIRS)
