"""What every search promises."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import ClassVar

import torch

from vrp.policy.base import Policy
from vrp.problem.instances import Instances
from vrp.search.solution import Progress, Solution

# Encoding an instance takes about as long as playing so many greedy tours of it: less for the
# pointer network, more for a small attention policy.
ENCODING = 5


@dataclass(frozen=True, kw_only=True)
class Search(ABC):
    """Turns what a policy believes into tours.

    Args:
        time_limit: seconds for all instances, above 0; None for no limit. A search looks at the
            clock between two pieces of its work and ends the first of them whatever it says.

    Attributes:
        draws: whether random numbers take part; they are drawn batch by batch, so the result then
            depends on the size of the batches. Without them it does only where a policy rounds
            its products to bfloat16, and then in a few tours.

    Raises:
        ValueError: if time_limit is out of range.
    """

    draws: ClassVar[bool] = False
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if self.time_limit is not None and not self.time_limit > 0:
            raise ValueError(f"time_limit is {self.time_limit}; it must be above 0")

    @abstractmethod
    def solutions(
        self, policy: Policy, instances: Instances, generator: torch.Generator
    ) -> Iterator[Progress]:
        """The best tours so far after each piece of work.

        No cost ever rises, with one exception: the last tours of `Beam` are its own, as published,
        even where it has found shorter ones before.

        Args:
            policy: in evaluation mode; it is left as it is.
            instances: N problems.
            generator: on the CPU, for searches that draw random numbers.
        """

    @abstractmethod
    def effort(self, num_customers: int, starts_anywhere: bool) -> float:
        """About how many tours of an instance can be played in the time that the search takes.

        Encoding counts, too. Only the ratio of two searches' efforts means something.

        Args:
            num_customers: C.
            starts_anywhere: of the policy.
        """

    def copies(self, num_nodes: int) -> int:
        """About as many copies of an instance of V nodes take the memory that the search takes.

        V tours that are played side by side count like one, as tables of V x V do.
        """
        return 1

    def made_for(self, policy: Policy) -> Search:
        """The same search, with what it leaves to the policy decided."""
        return self

    def __call__(
        self, policy: Policy, instances: Instances, generator: torch.Generator
    ) -> Solution:
        """The best tours found, within `time_limit`; arguments as for `solutions`."""
        return self.run(policy, instances, generator).solution

    def run(
        self,
        policy: Policy,
        instances: Instances,
        generator: torch.Generator,
        seconds: float | None = None,
        watch: Callable[[Progress], bool] = lambda _: False,
    ) -> Progress:
        """The best tours found, and whether that was all the work.

        Args:
            policy: as for `solutions`.
            instances: N problems.
            generator: as for `solutions`.
            seconds: the share of `time_limit` for these instances; None takes all of it.
            watch: sees how far it is after each piece of work, and says whether to end.
        """
        seconds = self.time_limit if seconds is None else seconds
        until = float("inf") if seconds is None else time.perf_counter() + seconds
        with torch.no_grad():
            for found in self.solutions(policy, instances, generator):
                progress = found
                if watch(progress) or time.perf_counter() >= until:
                    break
        return progress

    @property
    def name(self) -> str:
        """As in `decode=NAME`: the class's name in small letters."""
        return type(self).__name__.lower()

    def __str__(self) -> str:
        """The name and the arguments; a fraction only where it is not the default."""
        shown = [
            field
            for field in self._arguments()
            if getattr(self, field.name) is not None
            and not (isinstance(getattr(self, field.name), float) and self._is_default(field))
        ]
        inside = ", ".join(f"{field.name}={self._typed(field)}" for field in shown)
        return f"{self.name}({inside})" if inside else self.name

    def overrides(self) -> list[str]:
        """What to type for this search: `decode=beam`, `decode.width=5`; no default."""
        return [f"decode={self.name}"] + [
            f"decode.{field.name}={self._typed(field)}"
            for field in self._arguments()
            if not self._is_default(field)
        ]

    def _arguments(self) -> list[Field]:
        """Those of the search's own, then those of all searches."""
        return sorted(fields(self), key=lambda field: field.kw_only)

    def _is_default(self, field: Field) -> bool:
        return field.default is not MISSING and getattr(self, field.name) == field.default

    def _typed(self, field: Field) -> str:
        value = getattr(self, field.name)
        if value is None:
            return "null"
        return str(value).lower() if isinstance(value, bool) else f"{value:.12g}"
