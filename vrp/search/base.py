"""What every search promises."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from vrp.policy.base import Policy
from vrp.problem.instances import Instances
from vrp.search.solution import Solution


@dataclass(frozen=True, kw_only=True)
class Search(ABC):
    """Turns what a policy believes into tours.

    Args:
        time_limit: seconds for all instances, above 0; None for no limit. A search looks at the
            clock between two pieces of its work and ends the first of them whatever it says.

    Raises:
        ValueError: if time_limit is out of range.
    """

    time_limit: float | None = None

    def __post_init__(self) -> None:
        if self.time_limit is not None and not self.time_limit > 0:
            raise ValueError(f"time_limit is {self.time_limit}; it must be above 0")

    @abstractmethod
    def solutions(
        self, policy: Policy, instances: Instances, generator: torch.Generator
    ) -> Iterator[Solution]:
        """The best tours so far after each piece of work; no cost ever rises.

        Args:
            policy: in evaluation mode; it is left as it is.
            instances: N problems.
            generator: on the CPU, for searches that draw random numbers.
        """

    def __call__(
        self,
        policy: Policy,
        instances: Instances,
        generator: torch.Generator,
        seconds: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Solution:
        """The best tours found.

        Args:
            policy: as for `solutions`.
            instances: N problems.
            generator: as for `solutions`.
            seconds: the share of `time_limit` for these instances; None takes all of it.
            stopped: asked between two pieces of work whether to end.
        """
        seconds = self.time_limit if seconds is None else seconds
        until = float("inf") if seconds is None else time.perf_counter() + seconds
        with torch.no_grad():
            for found in self.solutions(policy, instances, generator):
                best = found
                if stopped() or time.perf_counter() >= until:
                    break
        return best
