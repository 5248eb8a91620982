"""Networks that differ by rounding alone, trained side by side: how far apart they come.

Linear, Conv1d, and Linear's twins: Linear with one encoder weight moved to the next number of
float32, and Linear that sees the instances of each batch in reverse.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

_WORTH_A_PROCESS = 5000  # steps; a process takes seconds to start


@dataclass(frozen=True)
class Divergence:
    """How far networks are apart, by the number of steps.

    Attributes:
        weights: length of the difference of all parameters of Conv1d's and Linear's network, of
            the length of Linear's, after each power of ten.
        cost: difference of their costs on unseen instances, of Linear's cost, after each
            hundredth of the steps besides.
        own_weights: as `weights`, between Linear's network and its furthest twin.
        own_cost: as `cost`, likewise.
    """

    weights: dict[int, float] = field(default_factory=dict)
    cost: dict[int, float] = field(default_factory=dict)
    own_weights: dict[int, float] = field(default_factory=dict)
    own_cost: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Course:
    """One network's training, at some of its steps.

    Attributes:
        weights: all parameters in a row, in float64, by step.
        cost: on unseen instances, by step.
    """

    weights: dict[int, np.ndarray] = field(default_factory=dict)
    cost: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Runner:
    """A network in training.

    Attributes:
        module: what is trained.
        step: one training step on the batch of that number.
        cost: on unseen instances, now.
    """

    module: nn.Module
    step: Callable[[int], None]
    cost: Callable[[], float]


def powers(steps: int) -> list[int]:
    """1, 10, 100, ... up to `steps`, and `steps` itself."""
    found = [10**n for n in range(len(str(steps))) if 10**n < steps]
    return [*found, steps]


def hundredths(steps: int) -> list[int]:
    """A hundredth of `steps`, two hundredths, ... up to all of them; fewer where there are less."""
    return sorted({max(1, steps * n // 100) for n in range(1, 101)})


def networks(twins: int) -> list[str]:
    """Linear, Conv1d, `twins` Linears one rounding error away, and one for the reversed order."""
    return ["Linear", "Conv1d", *(f"rounding {twin}" for twin in range(twins)), "reversed"]


def trained(make: Callable[[str], Runner], steps: int, name: str) -> Course:
    """Train one network on one thread, whatever the machine: more would round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runner, course = make(name), Course()
        weighed, tested = set(powers(steps)), set(hundredths(steps))
        for step in range(1, steps + 1):
            runner.step(step)
            if step in weighed:
                course.weights[step] = _flat(runner.module)
            if step in weighed or step in tested:
                course.cost[step] = runner.cost()
    finally:
        torch.set_num_threads(threads)
    return course


def diverge(make: Callable[[str], Runner], steps: int, twins: int, title: str) -> Divergence:
    """Train all networks, each on a core of its own if that pays, and compare them."""
    names = networks(twins)
    train = partial(trained, make, steps)
    bar = partial(tqdm, desc=title, total=len(names), unit="network", leave=False, disable=None)
    processes = min(torch.get_num_threads(), len(names)) if steps >= _WORTH_A_PROCESS else 1
    if processes == 1:
        courses = list(bar(map(train, names)))
    else:
        # Ctrl-C is for the parent, which then ends them.
        ignore = (signal.SIGINT, signal.SIG_IGN)
        with get_context("spawn").Pool(processes, signal.signal, ignore) as pool:
            courses = list(bar(pool.imap(train, names)))
    return apart(dict(zip(names, courses, strict=True)))


def apart(courses: dict[str, Course]) -> Divergence:
    """The differences to Linear at each moment at which the networks were looked at."""
    found = Divergence()
    linear, conv1d = courses["Linear"], courses["Conv1d"]
    twins = [course for name, course in courses.items() if name not in ("Conv1d", "Linear")]

    def weights(course: Course, step: int) -> float:
        difference = course.weights[step] - linear.weights[step]
        return float(np.linalg.norm(difference) / np.linalg.norm(linear.weights[step]))

    def cost(course: Course, step: int) -> float:
        return abs(course.cost[step] / linear.cost[step] - 1)

    for step in linear.weights:
        found.weights[step] = weights(conv1d, step)
        found.own_weights[step] = max(weights(twin, step) for twin in twins)
    for step in linear.cost:
        found.cost[step] = cost(conv1d, step)
        found.own_cost[step] = max(cost(twin, step) for twin in twins)
    return found


def _flat(module: nn.Module) -> np.ndarray:
    parameters = [parameter.detach().double().flatten() for parameter in module.parameters()]
    return torch.cat(parameters).numpy()
