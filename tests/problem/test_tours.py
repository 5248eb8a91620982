"""The judge: lengths known in closed form, every kind of fault, and PyVRP as a second opinion."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vrp.problem import Instances, UniformGenerator
from vrp.problem.tours import _are_whole_and_light, _fault, check_tours, routes, tour_length

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def tours(*nodes: list[int]) -> torch.Tensor:
    """(1, K, T) actions from K tours of equal length."""
    return torch.tensor([list(nodes)])


def test_hand_solved_lengths(tiny_instances, tiny_tours, tiny_cost):
    """The optimal tours have the lengths worked out by hand, to float32 coordinates."""
    length = tour_length(tiny_instances, tiny_tours)
    assert length.dtype == torch.float64
    torch.testing.assert_close(length[:, 0], tiny_cost, rtol=0, atol=1e-6)


def test_circle():
    """Customers on a circle, visited in turn: a chord between each two, a radius at both ends."""
    count, radius = 24, 0.5
    angle = torch.arange(count, dtype=torch.float64) * 2 * torch.pi / count
    around = 0.5 + radius * torch.stack([angle.cos(), angle.sin()], -1)
    instances = Instances(
        depot=torch.full((1, 2), 0.5),
        customers=around.float()[None].clamp(0, 1),
        demand=torch.ones(1, count, dtype=torch.int64),
        capacity=torch.tensor([count]),
    )
    length = tour_length(instances, tours([*range(1, count + 1), 0]))
    expected = 2 * radius + (count - 1) * 2 * radius * np.sin(np.pi / count)
    assert length.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "tour",
    [
        [1, 2, 0, 3, 4, 0],
        [1, 2, 0, 3, 4, 0, 0, 0],  # padded
        [0, 1, 2, 0, 0, 3, 4, 0],  # needless waits at the depot
        [2, 1, 0, 4, 3, 0],  # each route reversed
        [3, 4, 0, 1, 2, 0],  # routes in another order
        [1, 2, 0, 3, 4],  # the way home counts even where it is not written down
    ],
)
def test_length_does_not_depend_on_how_a_tour_is_written(tiny_instances, tiny_cost, tour):
    """Padding, direction and order of the routes leave the length as it is."""
    length = tour_length(tiny_instances[:1], tours(tour))
    assert length.item() == pytest.approx(tiny_cost[0].item(), abs=1e-6)


def test_solutions_of_an_instance_are_measured_side_by_side(tiny_instances):
    """Entry (n, k) is the length of tour k of instance n."""
    actions = torch.tensor([[[1, 0, 0], [4, 0, 0]], [[1, 0, 4], [4, 0, 0]]])
    length = tour_length(tiny_instances, actions)
    torch.testing.assert_close(
        length, torch.tensor([[0.6, 1.0], [2.5, 2.0]]).double(), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("judge", [tour_length, check_tours])
@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 3), (3, 1, 3)])
def test_shapes_must_fit(tiny_instances, judge, shape):
    """Both sizes are in the error."""
    with pytest.raises(ValueError, match=r"\(2, K, T\), not"):
        judge(tiny_instances, torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize(
    ("tour", "expected"),
    [
        ([1, 2, 0, 3, 4, 0], [[1, 2], [3, 4]]),
        ([0, 0, 1, 0, 0, 2, 0], [[1], [2]]),  # empty routes vanish
        ([1, 2, 3], [[1, 2, 3]]),  # not closed
        ([0, 0], []),
    ],
)
def test_routes(tour, expected):
    """A tour is cut at the depot."""
    assert routes(np.array(tour)) == expected


def test_legal_tours_pass(tiny_instances, tiny_tours):
    """The judge has nothing to say about an optimal tour, exactly full routes included."""
    check_tours(tiny_instances, tiny_tours)


@pytest.mark.parametrize(
    ("tour", "fault"),
    [
        ([0, 0, 0, 1, 2, 0, 3, 4], "the tour does not end at the depot but at node 4"),
        ([1, 2, 0, 3, 0, 0, 0, 0], "customer 4 is never visited"),
        ([0, 0, 0, 0, 0, 0, 0, 0], "customer 1 is never visited"),
        ([1, 2, 0, 3, 4, 0, 1, 0], "customer 1 is visited 2 times"),
        ([1, 2, 0, 3, 4, 5, 0, 0], "node 5 does not exist; nodes are 0 to 4"),
        ([1, 2, 0, 3, 4, -1, 0, 0], "node -1 does not exist; nodes are 0 to 4"),
        ([2, 0, 3, 4, 1, 0, 0, 0], "route 2 carries 8, above the capacity 5"),
    ],
)
def test_each_fault_is_caught(tiny_instances, tour, fault):
    """The error names the instance, the solution (here the second) and what is wrong."""
    actions = tours([1, 2, 0, 3, 4, 0, 0, 0], tour)
    with pytest.raises(ValueError, match=f"instance 0, solution 1: {fault}"):
        check_tours(tiny_instances[:1], actions)


def test_no_steps_at_all(tiny_instances):
    """Tours of no length end nowhere."""
    with pytest.raises(ValueError, match="does not end at the depot"):
        check_tours(tiny_instances, torch.zeros(2, 1, 0, dtype=torch.int64))


def test_a_customer_without_demand_may_be_left_out_or_visited_once(tiny_instances):
    """Demand 0 means that no visit is needed."""
    demand = tiny_instances.demand.clone()
    demand[0, 3] = 0
    instances = replace(tiny_instances, demand=demand)[:1]
    check_tours(instances, tours([1, 2, 0, 3, 0], [1, 2, 0, 3, 0]))
    check_tours(instances, tours([1, 2, 0, 3, 4, 0]))
    with pytest.raises(ValueError, match="customer 4 is visited 2 times"):
        check_tours(instances, tours([1, 2, 4, 0, 3, 4, 0]))


@pytest.mark.parametrize(
    ("tour", "fault"),
    [
        ([1, 3, 0, 3, 2, 4, 0], None),  # 3 gives 2 of 4, later the other 2
        ([1, 2, 0, 3, 4, 0], None),  # nothing is split
        ([1, 3, 0, 2, 4, 0], "customer 3 still needs 2"),
        ([1, 3, 2, 0, 3, 2, 4, 0], "a visit to customer 2 delivers nothing"),
        ([1, 2, 0, 3, 4, 1, 0], "a visit to customer 1 delivers nothing"),
        ([1, 2, 0, 3, 0], "customer 4 is never visited"),
    ],
)
def test_split_deliveries(tiny_instances, tour, fault):
    """Each visit hands over as much as is needed and on the vehicle."""
    instances = replace(tiny_instances, split_delivery=True)[:1]
    if fault is None:
        check_tours(instances, tours(tour))
    else:
        with pytest.raises(ValueError, match=fault):
            check_tours(instances, tours(tour))


@st.composite
def played(draw) -> tuple[Instances, list[list[int]]]:
    """A random instance of up to six customers, and routes over some of them: legal or not."""
    count = draw(st.integers(1, 6))
    seed = draw(st.integers(0, 2**31))
    capacity = draw(st.integers(9, 20))
    instances = UniformGenerator(count, capacity)(1, torch.Generator().manual_seed(seed))
    order = draw(st.permutations(range(1, count + 1)))
    if draw(st.booleans()):
        order = order[: draw(st.integers(1, count))]
    cuts = draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order)))
    found: list[list[int]] = [[]]
    for node, cut in zip(order, cuts, strict=True):
        found[-1].append(node)
        if cut:
            found.append([])
    return instances, [route for route in found if route]


@given(played())
@settings(max_examples=150, deadline=None)
def test_pyvrp_agrees(case):
    """PyVRP, asked about the same routes, gives the same length and the same verdict."""
    pyvrp = pytest.importorskip("pyvrp")
    from scripts.reference_costs import SCALE, pyvrp_problem

    instances, found = case
    actions = tours([node for route in found for node in [*route, 0]])
    foreign = pyvrp.Solution(
        pyvrp_problem(instances, 0), [[node - 1 for node in route] for route in found]
    )
    length = tour_length(instances, actions).item()
    assert foreign.distance() / SCALE == pytest.approx(length, abs=20 / SCALE)
    if foreign.is_feasible():
        check_tours(instances, actions)
    else:
        with pytest.raises(ValueError, match=r"never visited|above the capacity"):
            check_tours(instances, actions)


@given(st.data(), st.integers(1, 5), st.integers(0, 2**31))
@settings(max_examples=200, deadline=None)
def test_many_tours_at_once_are_judged_as_one_by_one(data, count, seed):
    """What passes together passes alone, and what is refused alone is not passed together."""
    random = np.random.default_rng(seed)
    demands = random.integers(0, 6, (3, count))
    capacities = random.integers(5, 12, 3)
    length = data.draw(st.integers(1, 9))
    strange = data.draw(st.sampled_from([0, 0, 0, 1]))  # nodes that do not exist, seldom
    found = random.integers(-strange, count + 1 + strange, (3, 4, length))
    for n, k in np.ndindex(3, 2):  # half of them visit every customer once
        order = [int(c) for c in random.permutation(count) + 1]
        tour = [node for c in order for node in ([c, 0] if random.random() < 0.5 else [c])] + [0]
        found[n, k] = (tour + [0] * length)[:length]
    together = _are_whole_and_light(found, demands, capacities)
    for n, k in np.ndindex(3, 4):
        fault = _fault(found[n, k], demands[n], int(capacities[n]), False)
        if strange:  # one node that does not exist makes all of them doubtful
            assert not (together[n, k] and fault)
        else:
            assert together[n, k] == (fault is None)


def brute_force(instances: Instances) -> float:
    """The optimal cost of the first instance, by trying every order and every cut."""
    nodes = instances.coordinates()[0].double().numpy()
    leg = np.linalg.norm(nodes[:, None] - nodes[None], axis=-1)
    demand = instances.node_demand()[0].tolist()
    capacity = int(instances.capacity[0])
    best = float("inf")
    for order in permutations(range(1, len(demand))):
        # reached[i]: cheapest way to have served the first i customers of this order
        reached = [0.0] + [float("inf")] * len(order)
        for start in range(len(order)):
            load, length = 0, leg[0, order[start]]
            for end in range(start, len(order)):
                load += demand[order[end]]
                if load > capacity:
                    break
                if end > start:
                    length += leg[order[end - 1], order[end]]
                home = length + leg[order[end], 0]
                reached[end + 1] = min(reached[end + 1], reached[start] + home)
        best = min(best, reached[-1])
    return best


def test_brute_force_finds_the_hand_solved_optima(tiny_instances, tiny_cost):
    """The oracle of the next test is right where we know the answer."""
    found = [brute_force(tiny_instances[n : n + 1]) for n in range(2)]
    assert found == pytest.approx(tiny_cost.tolist(), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_pyvrp_reaches_the_brute_force_optimum(seed):
    """The reference costs of small instances are optimal."""
    pytest.importorskip("pyvrp")
    from scripts.reference_costs import solve

    count = 3 + seed
    instances = UniformGenerator(count, 12)(1, torch.Generator().manual_seed(seed))
    assert solve(instances, 0, time_limit=0.1, seed=0) == pytest.approx(
        brute_force(instances), abs=1e-5
    )
