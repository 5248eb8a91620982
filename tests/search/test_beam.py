"""Beam search against brute force and against lists and sorting."""

from __future__ import annotations

from itertools import permutations, product

import pytest
import torch
from torch import Tensor
from trials import length, pieces, stream

from vrp.policy import PointerPolicy
from vrp.problem import Instances, UniformGenerator
from vrp.problem.tours import check_tours
from vrp.search import Beam, Greedy
from vrp.search.solution import Solution, shortest


def all_tours(instances: Instances, n: int) -> list[list[int]]:
    """Every order of the customers that need goods, with every legal choice of returns."""
    demand, capacity = [0, *instances.demand[n].tolist()], int(instances.capacity[n])
    customers = [c for c in range(1, len(demand)) if demand[c]]
    found = []
    for order in permutations(customers):
        for returns in product([False, True], repeat=len(order) - 1):
            tour = [order[0]]
            for customer, after_depot in zip(order[1:], returns, strict=True):
                tour += [0, customer] if after_depot else [customer]
            loads = [0]
            for node in tour:
                loads = [*loads, 0] if node == 0 else [*loads[:-1], loads[-1] + demand[node]]
            if max(loads) <= capacity:
                found.append([*tour, 0])
    return found


def test_beam_of_one_is_greedy(policy, situation):
    """Width 1 keeps the likeliest child, which is greedy decoding."""
    one, greedy = Beam(1)(policy, situation, stream()), Greedy()(policy, situation, stream())
    assert torch.equal(one.actions, greedy.actions)
    assert torch.equal(one.cost, greedy.cost)


def plain_beam(policy: PointerPolicy, instances: Instances, width: int) -> list[list[int]]:
    """The last beams of one instance, by lists and sorting; the replay gives the scores."""
    capacity = int(instances.capacity[0])
    encoding = policy.encode(instances).detach()

    def legal(tour: list[int]) -> list[int]:
        owed, load, position = [0, *instances.demand[0].tolist()], capacity, 0
        for node in tour:
            given = min(load, owed[node])
            owed[node] -= given
            load, position = (capacity if node == 0 else load - given), node
        fits = [v for v, d in enumerate(owed) if d and (d <= load or instances.split_delivery)]
        fits = fits if load else []
        return ([0] if position or not any(owed) else []) + fits

    beams = [[]]
    while True:
        children = [[*tour, node] for tour in beams for node in legal(tour)]
        with torch.no_grad():
            replay = policy.log_probs(encoding, instances, torch.tensor([children]))
        score = replay.log_prob[0].sum(-1)
        best = score.argsort(descending=True)[:width]
        beams = [children[i] for i in best.tolist()]
        if all(tour[-1] == 0 and legal(tour) == [0] for tour in beams):
            return beams


@pytest.mark.parametrize("width", [2, 5])
def test_beam_is_the_plain_beam(width, policy, situation):
    """The answer is the shortest of the beams that lists and sorting keep."""
    found = Beam(width)(policy, situation, stream())
    for n in range(len(situation)):
        one = situation[n : n + 1]
        expected = min(length(one, 0, tour) for tour in plain_beam(policy, one, width))
        assert found.cost[n].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["several trips", "one trip", "exact", "some need nothing"])
def test_wide_beam_is_optimal(name, policy, tiny_instances, tiny_cost):
    """A beam that can hold every tour finds the shortest of all."""
    places = UniformGenerator(4, 9)(3, stream())
    goods = {"several trips": 10, "one trip": 40}
    if name == "exact":
        instances = tiny_instances
    elif name == "some need nothing":
        demand = places.demand * torch.tensor([1, 0, 1, 1])
        instances = Instances(places.depot, places.customers, demand, places.capacity)
    else:
        instances = UniformGenerator(4, goods[name])(3, stream())
    tours = [all_tours(instances, n) for n in range(len(instances))]
    found = Beam(2 * max(map(len, tours)))(policy, instances, stream())
    best = [min(length(instances, n, t) for t in those) for n, those in enumerate(tours)]
    assert found.cost.tolist() == pytest.approx(best, abs=1e-9)
    if name == "exact":
        assert best == pytest.approx(tiny_cost.tolist(), abs=1e-6)


def test_wide_beam_on_five_customers(policy):
    """As `test_wide_beam_is_optimal`, for the 5! 2^4 tours of one trip."""
    instances = UniformGenerator(5, 45)(1, stream())
    tours = all_tours(instances, 0)
    assert len(tours) == 120 * 16
    found = Beam(len(tours))(policy, instances, stream())
    best = min(length(instances, 0, tour) for tour in tours)
    assert found.cost[0].item() == pytest.approx(best, abs=1e-9)


def test_every_beam_is_legal(policy, situation, monkeypatch):
    """All that a beam ends with is legal, not only its answer."""
    kept = []

    def recording(instances: Instances, actions: Tensor) -> Solution:
        kept.append(actions)
        return shortest(instances, actions)

    monkeypatch.setattr("vrp.search.beam.shortest", recording)
    Beam(9)(policy, situation, stream())
    _greedy, actions = kept
    assert actions.shape[1] == 9
    check_tours(situation, actions)


def test_more_beams_than_tours(policy):
    """One customer has one tour; the other beams repeat it."""
    instances = UniformGenerator(1, 9)(3, stream())
    assert Beam(20)(policy, instances, stream()).actions.tolist() == [[1, 0]] * 3


def test_a_beam_can_be_stopped_between_steps(policy, several_trips):
    """Greedy's tours stand in until shorter ones are closed."""
    greedy = Greedy()(policy, several_trips, stream())
    found = pieces(Beam(3), policy, several_trips)
    count = several_trips.num_customers
    assert len(found) > count + 1
    # No tour is closed before all customers have been visited and the vehicle is back.
    assert all(torch.equal(each.solution.cost, greedy.cost) for each in found[: count + 1])
    assert all((each.solution.cost <= greedy.cost).all() for each in found[:-1])
    assert all(each.share < 1 for each in found[:-1])
    stopped = Beam(3).run(policy, several_trips, stream(), watch=lambda _: True)
    assert torch.equal(stopped.solution.actions, greedy.actions)


def test_a_stopped_beam_keeps_what_it_has_closed(policy):
    """Once all beams of an instance are closed, its answer is known, whatever others still need."""
    instances = UniformGenerator(7, 12)(20, stream(1))
    together = pieces(Beam(4), policy, instances)[:-1]
    early = shorter = 0
    for n in range(len(instances)):
        alone = pieces(Beam(4), policy, instances[n : n + 1])
        rest = together[len(alone) - 1 :]
        early += bool(rest)
        assert all(each.solution.cost[n] <= alone[-1].solution.cost[0] + 1e-12 for each in rest)
        shorter += bool(rest) and bool(rest[0].solution.cost[n] < alone[0].solution.cost[0] - 1e-6)
    assert early > 10
    assert shorter > 2
