"""The environment: mask rules by hand, and laws of random legal play held against the judge."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vrp.problem import Instances, UniformGenerator
from vrp.problem.environment import (
    State,
    finished,
    legal_mask,
    max_steps,
    reset,
    seen_before_each_step,
    step,
)
from vrp.problem.tours import check_tours, tour_length


def at(instances: Instances, *nodes: int) -> State:
    """The state of every instance after one vehicle each visited `nodes`."""
    state = reset(instances, 1)
    for node in nodes:
        state = step(instances, state, torch.full((len(instances), 1), node))
    return state


def legal_nodes(instances: Instances, *nodes: int) -> list[int]:
    """What instance 0 may visit after `nodes`."""
    return legal_mask(instances, at(instances, *nodes))[0, 0].nonzero().flatten().tolist()


def play(instances: Instances, num_solutions: int, seed: int) -> torch.Tensor:
    """(N, K, T) actions of random legal play until every tour is closed."""
    generator = torch.Generator().manual_seed(seed)
    state = reset(instances, num_solutions)
    actions = []
    while not finished(state).all():
        assert len(actions) < max_steps(instances), "a legal tour is longer than max_steps says"
        legal = legal_mask(instances, state)
        assert legal.any(-1).all(), "nothing is legal"
        choice = torch.multinomial(legal.flatten(0, 1).double(), 1, generator=generator)
        actions.append(choice.view(legal.shape[:2]))
        state = step(instances, state, actions[-1])
    return torch.stack(actions, -1)


@st.composite
def games(draw) -> tuple[Instances, torch.Tensor]:
    """Random instances, some with customers that need nothing, and random legal play on them."""
    split = draw(st.booleans())
    generate = UniformGenerator(
        num_customers=draw(st.integers(1, 9)),
        capacity=draw(st.integers(1 if split else 9, 20)),
        split_delivery=split,
    )
    seed = draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    instances = generate(draw(st.integers(1, 4)), generator)
    if draw(st.booleans()):
        needless = torch.rand(instances.demand.shape, generator=generator) < 0.3
        needless[:, 0] = False
        instances = replace(instances, demand=instances.demand.masked_fill(needless, 0))
    return instances, play(instances, draw(st.integers(1, 3)), seed)


def test_reset(tiny_instances):
    """Every vehicle starts full at the depot, with all demand open."""
    state = reset(tiny_instances, 3)
    assert state.position.tolist() == [[0] * 3] * 2
    assert state.load.tolist() == [[5] * 3, [2] * 3]
    assert state.remaining.tolist() == [[[0, 3, 2, 4, 1]] * 3, [[0, 1, 1, 1, 1]] * 3]
    assert not finished(state).any()


def test_step_serves_a_customer(tiny_instances):
    """A visit takes the demand from the vehicle and the position to the customer."""
    state = at(tiny_instances, 1)
    assert state.position.tolist() == [[1], [1]]
    assert state.load.tolist() == [[2], [1]]
    assert state.remaining.tolist() == [[[0, 0, 2, 4, 1]], [[0, 0, 1, 1, 1]]]


def test_the_depot_refills(tiny_instances):
    """After the depot the vehicle holds the capacity of its own instance."""
    assert at(tiny_instances, 1, 0).load.tolist() == [[5], [2]]


def test_step_leaves_its_argument_alone(tiny_instances):
    """`step` returns a new state; the old one can be used again."""
    state = reset(tiny_instances, 1)
    step(tiny_instances, state, torch.ones(2, 1, dtype=torch.int64))
    assert state.load.tolist() == [[5], [2]]
    assert state.remaining[0, 0].tolist() == [0, 3, 2, 4, 1]


@pytest.mark.parametrize(
    ("nodes", "legal"),
    [
        ([], [1, 2, 3, 4]),  # not the depot: the vehicle is there and full
        ([1], [0, 2, 4]),  # load 2: a demand of 2 equals it, 4 is too much
        ([3], [0, 4]),  # load 1: a demand of 1 equals it
        ([1, 2], [0]),  # empty
        ([4, 2], [0]),  # load 2 fits nobody
        ([1, 2, 0], [3, 4]),  # not the depot twice in a row
        ([1, 2, 0, 3, 4], [0]),  # all served: home
        ([1, 2, 0, 3, 4, 0], [0]),  # closed: stay
        ([1, 2, 0, 3, 4, 0, 0], [0]),  # and stay
    ],
)
def test_mask(tiny_instances, nodes, legal):
    """What may be visited next in instance 0: demands 3, 2, 4, 1 and capacity 5."""
    assert legal_nodes(tiny_instances, *nodes) == legal


@pytest.mark.parametrize(
    ("nodes", "legal"),
    [
        ([1], [0, 2, 3, 4]),  # load 2: a part of 4 will do
        ([1, 3], [0]),  # empty: 3 took 2 of its 4
        ([1, 3, 0], [2, 3, 4]),  # 3 still needs 2
        ([1, 3, 0, 3], [0, 2, 4]),  # and now nothing
    ],
)
def test_mask_with_split_deliveries(tiny_instances, nodes, legal):
    """A customer is legal while it needs anything and the vehicle holds anything."""
    assert legal_nodes(replace(tiny_instances, split_delivery=True), *nodes) == legal


def test_a_split_visit_gives_what_is_there(tiny_instances):
    """The rest stays with the customer."""
    state = at(replace(tiny_instances, split_delivery=True), 1, 3)
    assert state.load[0].tolist() == [0]
    assert state.remaining[0, 0].tolist() == [0, 0, 2, 2, 1]


@pytest.mark.parametrize(
    ("nodes", "closed"), [([1, 2, 0, 3, 4], False), ([1, 2, 0, 3, 4, 0], True)]
)
def test_finished_only_at_the_depot(tiny_instances, nodes, closed):
    """A tour that served everybody is open until the vehicle is home."""
    assert finished(at(tiny_instances, *nodes)).tolist() == [[closed], [closed]]


def test_a_closed_tour_stays_closed_and_costs_nothing(tiny_instances, tiny_tours):
    """Waiting at the depot changes neither state nor length."""
    nodes = tiny_tours[0, 0].tolist()
    before, after = at(tiny_instances, *nodes), at(tiny_instances, *nodes, 0, 0)
    for name in ("position", "load", "remaining"):
        assert torch.equal(getattr(before, name), getattr(after, name))
    assert finished(after).all()
    longer = torch.nn.functional.pad(tiny_tours, (0, 2))
    assert torch.equal(tour_length(tiny_instances, longer), tour_length(tiny_instances, tiny_tours))


def test_a_customer_without_demand_is_never_legal(tiny_instances):
    """Nobody drives where nothing is needed."""
    demand = tiny_instances.demand.clone()
    demand[0, 1] = 0
    assert legal_nodes(replace(tiny_instances, demand=demand)) == [1, 3, 4]


def test_nothing_to_deliver_is_finished_at_once(tiny_instances):
    """Without demand the empty tour is legal, finished and the only one."""
    instances = replace(tiny_instances, demand=torch.zeros_like(tiny_instances.demand))
    state = reset(instances, 1)
    assert finished(state).all()
    assert legal_mask(instances, state)[..., 0].all()
    assert not legal_mask(instances, state)[..., 1:].any()


@given(games())
@settings(max_examples=120, deadline=None)
def test_random_legal_play_ends_in_legal_tours(game):
    """Within `max_steps`, something is always legal, and the judge finds no fault."""
    instances, actions = game  # `play` holds the first two
    check_tours(instances, actions)


@given(games())
@settings(max_examples=80, deadline=None)
def test_trace_equals_playing_step_by_step(game):
    """Seen before each step: what `reset`, `legal_mask` and `step` give one at a time."""
    instances, actions = game
    seen = seen_before_each_step(instances, actions)
    state = reset(instances, actions.shape[1])
    for t, action in enumerate(actions.unbind(-1)):
        assert torch.equal(seen.position[:, :, t], state.position)
        assert torch.equal(seen.load[:, :, t], state.load)
        assert torch.equal(seen.legal[:, :, t], legal_mask(instances, state))
        assert torch.equal(seen.open[:, :, t], ~finished(state))
        if instances.split_delivery:
            assert torch.equal(seen.remaining[:, :, t], state.remaining)
        state = step(instances, state, action)
    assert instances.split_delivery or seen.remaining is None


@given(games(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_renumbering_customers_leaves_the_cost(game, random):
    """The same drive under other numbers has the same length, and stays legal."""
    instances, actions = game
    order = list(range(instances.num_customers))
    random.shuffle(order)
    renumbered = replace(
        instances, customers=instances.customers[:, order], demand=instances.demand[:, order]
    )
    number = torch.zeros(instances.num_nodes, dtype=torch.int64)
    number[torch.tensor(order) + 1] = torch.arange(1, instances.num_nodes)
    check_tours(renumbered, number[actions])
    assert torch.equal(tour_length(renumbered, number[actions]), tour_length(instances, actions))


def test_one_customer_per_route_is_the_longest_tour(tiny_instances):
    """Four visits and four returns, which `max_steps` allows."""
    actions = torch.tensor([[[1, 0, 2, 0, 3, 0, 4, 0]]])
    check_tours(tiny_instances[:1], actions)
    assert max_steps(tiny_instances) >= 8


def test_max_steps_counts_the_most_loaded_instance_of_a_split_batch(tiny_instances):
    """Demand 40 in loads of 2: twenty visits that empty the vehicle, each with a way home."""
    demand = tiny_instances.demand.clone()
    demand[1] = 10
    instances = replace(tiny_instances, demand=demand, split_delivery=True)
    actions = play(instances, 8, seed=0)
    check_tours(instances, actions)
    assert 40 <= actions.shape[-1] <= max_steps(instances)
