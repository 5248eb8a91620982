"""The symmetries of the square: the same problem, but not to a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vrp.policy.base import Policy
from vrp.problem.instances import Instances
from vrp.search.base import ENCODING, Search
from vrp.search.greedy import count_pieces, greedy_tours
from vrp.search.solution import Progress, improved

SYMMETRIES = 8


def symmetric(instances: Instances, number: int) -> Instances:
    """The instances under one of the square's eight symmetries; number 0 changes nothing.

    Bit 0 of the number mirrors x, bit 1 mirrors y, bit 2 then swaps the axes.
    """

    def move(points: Tensor) -> Tensor:
        for axis in (0, 1):
            if number >> axis & 1:
                points = points.clone()
                points[..., axis] = 1 - points[..., axis]
        return points.flip(-1) if number & 4 else points

    return replace(instances, depot=move(instances.depot), customers=move(instances.customers))


def check_symmetries(symmetries: int) -> None:
    """Raise a ValueError unless there are so many symmetries."""
    if not 1 <= symmetries <= SYMMETRIES:
        raise ValueError(f"symmetries is {symmetries}; it must be from 1 to {SYMMETRIES}")


@dataclass(frozen=True)
class Augment(Search):
    """The shortest tour found under several symmetries, the instance as it is among them.

    Args:
        symmetries: how many, 1 to 8.
        multistart: greedy from every customer under each, or plain greedy; None takes what the
            policy is made for.

    Raises:
        ValueError: if symmetries is out of range.

    Source: Kwon et al. (2020), section 4.3.
    """

    symmetries: int = SYMMETRIES
    multistart: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_symmetries(self.symmetries)

    def made_for(self, policy: Policy) -> Augment:
        """The same, greedy from every customer or plain greedy decided."""
        several = policy.starts_anywhere if self.multistart is None else self.multistart
        return replace(self, multistart=several)

    def effort(self, num_customers: int, starts_anywhere: bool) -> float:
        """Greedy's tour, or those of all starts, under each symmetry."""
        several = starts_anywhere if self.multistart is None else self.multistart
        return self.symmetries * (ENCODING + 1 + (num_customers if several else 0))

    def solutions(
        self, policy: Policy, instances: Instances, generator: torch.Generator
    ) -> Iterator[Progress]:
        """One or more pieces of work for each symmetry; `generator` is not used."""
        starts = None if self.made_for(policy).multistart else 0
        pieces = count_pieces(instances, starts)
        best = None
        for number in range(self.symmetries):
            moved = symmetric(instances, number)
            encoding = policy.encode(moved).detach()
            for done, tours in enumerate(greedy_tours(policy, moved, encoding, starts), 1):
                best = improved(best, instances, tours)
                yield Progress(best, (number + done / pieces) / self.symmetries)
