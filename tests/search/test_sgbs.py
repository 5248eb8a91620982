"""Simulation-guided beam search against a plain version."""

from __future__ import annotations

import pytest
import torch
from trials import length, stream

from vrp.policy.base import Policy
from vrp.problem import Instances, UniformGenerator
from vrp.problem.environment import finished, legal_mask, reset, step
from vrp.search import Multistart, Sgbs
from vrp.search.greedy import greedy_tours


class Plain:
    """A policy on one instance, partial tours as tuples."""

    def __init__(self, policy: Policy, instances: Instances) -> None:
        self._policy, self._instances = policy, instances
        self._encoding = policy.encode(instances).detach()
        self._seen = {}

    def _after(self, tour: tuple[int, ...]):
        """State, memory and logits after these nodes."""
        if tour not in self._seen:
            if tour:
                state, memory, _ = self._after(tour[:-1])
                state = step(self._instances, state, torch.tensor([[tour[-1]]]))
            else:
                state = reset(self._instances, 1)
                memory = self._policy.start(self._encoding, 1)
            legal = legal_mask(self._instances, state)
            logits, memory = self._policy.step(self._encoding, memory, state, legal)
            self._seen[tour] = state, memory, logits[0, 0]
        return self._seen[tour]

    def is_closed(self, tour: tuple[int, ...]) -> bool:
        """Whether nothing is left to do."""
        return bool(finished(self._after(tour)[0]).all())

    def children(self, tour: tuple[int, ...], count: int) -> list[tuple[int, ...]]:
        """The likeliest legal ones, the likeliest first."""
        scores = self._after(tour)[2]
        order = scores.argsort(descending=True).tolist()[:count]
        return [(*tour, node) for node in order if scores[node] > -torch.inf]

    def cost(self, tour: tuple[int, ...]) -> float:
        """Of the tour, completed greedily."""
        while not self.is_closed(tour):
            (tour,) = self.children(tour, 1)
        return length(self._instances, 0, list(tour))


def for_sgbs() -> Instances:
    """Some that need several trips, and one with fewer needy customers than a beam has places."""
    places = UniformGenerator(7, 12)(4, stream(1))
    demand = places.demand.clone()
    demand[3] = torch.tensor([0, 3, 0, 2, 4, 0, 0])
    return Instances(places.depot, places.customers, demand, places.capacity)


@pytest.mark.parametrize(("width", "expansion"), [(2, 3), (3, 2), (4, 4)])
@pytest.mark.parametrize("n", range(4))
def test_sgbs_is_the_papers(policy, n, width, expansion):
    """At each depth it keeps and plays what a plain version would; the shortest is the answer."""
    one = for_sgbs()[n : n + 1]
    search, plain = Sgbs(width, expansion, symmetries=1), Plain(policy, one)
    with torch.no_grad():
        _, starts = greedy_tours(policy, one, policy.encode(one), None)
        depths = list(search._depths(policy, one, policy.encode(one), starts))
    candidates = [(c,) for c in range(1, 8) if one.demand[0, c - 1] > 0]
    best = min([plain.cost(()), *map(plain.cost, candidates)])
    for depth, tours in enumerate(depths, 1):
        assert tours.shape[1] == width * (expansion - 1)  # the likeliest children are known
        played = {tuple(tour[: depth + 1]) for tour in tours[0].tolist()}
        beam = {tour[:depth] for tour in played}
        assert beam <= set(candidates)
        # Mirrored routes tie, so costs are compared and not tours.
        kept = sorted(map(plain.cost, beam))
        assert kept == pytest.approx(sorted(map(plain.cost, candidates))[:width], abs=1e-9)
        families = [plain.children(tour, expansion) for tour in beam]
        assert {child for family in families for child in family[1:]} <= played
        candidates = [child for family in families for child in family]
        assert played <= set(candidates)
        best = min(best, *map(plain.cost, candidates))
    last = sorted(candidates, key=plain.cost)[:width]
    assert all(map(plain.is_closed, last))
    assert search(policy, one, stream()).cost.item() == pytest.approx(best, abs=1e-9)


def test_sgbs_of_one_child_is_its_starts(policy, several_trips):
    """A likeliest child leads where its parent leads."""
    found = Sgbs(3, 1, symmetries=1)(policy, several_trips, stream())
    starts = Multistart()(policy, several_trips, stream())
    assert torch.equal(found.actions, starts.actions)


def test_sgbs_finds_more_than_its_starts(policy):
    """On some instances the beam improves on the greedy tours that it begins with."""
    instances = for_sgbs()
    found = Sgbs(4, 4, symmetries=1)(policy, instances, stream()).cost
    starts = Multistart()(policy, instances, stream()).cost
    assert (found <= starts + 1e-12).all()
    assert (found < starts - 1e-6).any()
