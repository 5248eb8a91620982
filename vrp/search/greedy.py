"""The likeliest node at every step, from one start or from several."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vrp.policy.base import Encoding, Policy
from vrp.problem.instances import Instances
from vrp.search.base import ENCODING, Search
from vrp.search.rollout import greedy_choice, rollout
from vrp.search.solution import Progress, improved, shortest
from vrp.search.starts import each_customer

_STARTS_AT_ONCE = 64


@dataclass(frozen=True)
class Greedy(Search):
    """The likeliest node at every step."""

    def effort(self, num_customers: int, starts_anywhere: bool) -> float:
        """One tour."""
        return ENCODING + 1

    def solutions(
        self, policy: Policy, instances: Instances, generator: torch.Generator
    ) -> Iterator[Progress]:
        """One piece of work; `generator` is not used."""
        encoding = policy.encode(instances).detach()
        found = shortest(instances, rollout(policy, instances, encoding, 1, greedy_choice))
        yield Progress(found, 1.0)


@dataclass(frozen=True)
class Multistart(Search):
    """The shortest of the greedy tours from several first customers, plain greedy's among them.

    Fewer starts are the first of more, so the cost never rises with `starts`. For a policy whose
    products are rounded, fewer take as long as the next multiple of 64, or as all: a tour may come
    out otherwise beside other tours, so it is always decoded beside the same.

    Args:
        starts: the first so many customers, at least 1; None for all.

    Raises:
        ValueError: if starts is out of range.

    Source: Kwon et al. (2020), section 4.3.
    """

    starts: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.starts is not None and self.starts < 1:
            raise ValueError(f"starts is {self.starts}; it must be at least 1")

    def effort(self, num_customers: int, starts_anywhere: bool) -> float:
        """A tour for each start, and plain greedy's; none that is only played beside them."""
        return ENCODING + 1 + min(num_customers, self.starts or num_customers)

    def solutions(
        self, policy: Policy, instances: Instances, generator: torch.Generator
    ) -> Iterator[Progress]:
        """Plain greedy, then a piece of work for every 64 starts; `generator` is not used."""
        encoding = policy.encode(instances).detach()
        best, pieces = None, count_pieces(instances, self.starts)
        for done, tours in enumerate(greedy_tours(policy, instances, encoding, self.starts), 1):
            best = improved(best, instances, tours)
            yield Progress(best, done / pieces)


def greedy_tours(
    policy: Policy, instances: Instances, encoding: Encoding, starts: int | None
) -> Iterator[Tensor]:
    """Plain greedy's tours, then those from the first `starts` customers, in pieces.

    Plain greedy is a piece of its own, as `Greedy` plays it: among others the products of a
    policy that rounds them may round otherwise, and its tour may be another.

    Args:
        policy: in evaluation mode.
        instances: N problems.
        encoding: of the same instances, detached.
        starts: at least 0; None for all customers, as for more than there are.

    Yields:
        (N, K, T) int64 complete tours, padded with 0: K is 1, then at most 64.
    """
    yield rollout(policy, instances, encoding, 1, greedy_choice)
    firsts = each_customer(instances)
    wanted = firsts.shape[1] if starts is None else min(starts, firsts.shape[1])
    if policy.products(instances.device) == torch.float32:
        firsts = firsts[:, :wanted]
    for place in range(0, wanted, _STARTS_AT_ONCE):
        first = firsts[:, place : place + _STARTS_AT_ONCE]
        tours = rollout(policy, instances, encoding, first.shape[1], greedy_choice, first)
        yield tours[:, : wanted - place]


def count_pieces(instances: Instances, starts: int | None) -> int:
    """How many pieces `greedy_tours` comes in."""
    customers = instances.num_customers
    return 1 + -(-min(customers, customers if starts is None else starts) // _STARTS_AT_ONCE)
