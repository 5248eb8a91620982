"""What every search promises, and what they have in common."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from trials import length, pieces, stream

from vrp.policy import PointerPolicy
from vrp.policy.encoders import EmbeddingEncoder
from vrp.problem import Instances, UniformGenerator
from vrp.problem.environment import finished, legal_mask, reset, step
from vrp.problem.tours import check_tours
from vrp.search import Augment, Beam, Eas, Greedy, Multistart, Sampling, Sgbs
from vrp.search.rollout import greedy_choice, rollout
from vrp.search.solution import Progress, Solution, join, shortest

SEARCHES = [
    Greedy(),
    Sampling(20, temperature=2.0),
    Beam(4),
    Beam(30),
    Multistart(),
    Multistart(2),
    Augment(),
    Augment(3, multistart=True),
    Sgbs(symmetries=1),
    Sgbs(2, 2, symmetries=2),
    Eas(4),
]


every_search = pytest.mark.parametrize("search", SEARCHES, ids=str)


@every_search
def test_every_tour_is_legal(search, policy, situation):
    """The judge accepts what a search answers, in every situation."""
    solution = search(policy, situation, stream())
    check_tours(situation, solution.actions[:, None])


@every_search
def test_cost_is_that_of_the_tour(search, policy, situation):
    """The cost is the length of the tour that is answered, in float64."""
    solution = search(policy, situation, stream())
    assert solution.cost.dtype == torch.float64
    expected = [length(situation, n, tour) for n, tour in enumerate(solution.actions.tolist())]
    assert solution.cost.tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "search", [Greedy(), Beam(1), Beam(4), Multistart(), Augment(), Sgbs(symmetries=2)], ids=str
)
def test_a_batch_changes_nothing(search, policy, several_trips):
    """An instance has the same tour alone as in a batch."""
    together = search(policy, several_trips, stream())
    for n in range(len(several_trips)):
        alone = search(policy, several_trips[n : n + 1], stream())
        assert alone.cost[0].item() == pytest.approx(together.cost[n].item(), abs=1e-12)


@every_search
def test_policy_is_left_as_it_is(search, several_trips):
    """Searching changes no weight, not even where rows have a largest norm."""
    policy = PointerPolicy(EmbeddingEncoder(16, max_norm=0.1), 16)
    policy.initialise(0)
    policy.eval()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    search(policy, several_trips, stream())
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    assert all(parameter.grad is None for parameter in policy.parameters())


@pytest.mark.parametrize("search", [Greedy(), Beam(3), Augment(), Sgbs(symmetries=1)], ids=str)
def test_no_random_number(search, policy, several_trips):
    """Greedy and beam draw from no stream."""
    generator = stream()
    ours, everyones = generator.get_state(), torch.get_rng_state()
    search(policy, several_trips, generator)
    assert torch.equal(generator.get_state(), ours)
    assert torch.equal(torch.get_rng_state(), everyones)


def test_greedy_takes_the_likeliest(policy, situation):
    """Greedy is the argmax of the policy's own logits at every step."""
    solution = Greedy()(policy, situation, stream())
    encoding = policy.encode(situation).detach()
    state, decoder = reset(situation, 1), policy.start(encoding, 1)
    for action in solution.actions.unbind(-1):
        logits, decoder = policy.step(encoding, decoder, state, legal_mask(situation, state))
        assert torch.equal(logits.argmax(-1)[:, 0], action)
        state = step(situation, state, action[:, None])
    assert finished(state).all()


@pytest.mark.parametrize("search", [Greedy(), Sampling(2), Beam(2)], ids=str)
def test_open_tours_are_an_error(search, policy, several_trips, monkeypatch):
    """A tour that does not close is never measured: the search stops."""

    def never(state):
        return torch.zeros_like(state.position, dtype=torch.bool)

    monkeypatch.setattr("vrp.search.rollout.finished", never)
    monkeypatch.setattr("vrp.search.beam.finished", never)
    with pytest.raises(RuntimeError, match="not closed after 15 steps"):
        search(policy, several_trips, stream())


@pytest.mark.parametrize("search", [Greedy(), Sampling(2), Beam(2)], ids=str)
def test_logits_that_are_no_numbers_are_an_error(search, policy, several_trips, monkeypatch):
    """Each choice among them is the same node, and the error says why no tour closes."""
    before = type(policy).step

    def step(*arguments):
        logits, memory = before(*arguments)
        return logits * torch.nan, memory

    monkeypatch.setattr(type(policy), "step", step)
    with pytest.raises(FloatingPointError, match="logits are not numbers"):
        search(policy, several_trips, stream())


def test_rollout_is_padded_with_the_depot(policy, several_trips):
    """A tour shorter than the longest waits at the depot."""
    encoding = policy.encode(several_trips).detach()
    actions = rollout(policy, several_trips, encoding, 1, greedy_choice)[:, 0]
    ends = [np.flatnonzero(tour)[-1] for tour in actions.numpy()]
    assert max(ends) == actions.shape[1] - 2
    assert min(ends) < max(ends)


def test_shortest_of_several(tiny_instances, tiny_tours, tiny_cost):
    """Of several tours the shortest is answered, with its cost."""
    longer = torch.tensor([[1, 2, 0, 3, 0, 4, 0], [1, 4, 0, 2, 3, 0, 0]])[:, None]
    padded = torch.nn.functional.pad(tiny_tours, (0, 1))
    found = shortest(tiny_instances, torch.cat([longer, padded, longer], 1))
    assert torch.equal(found.actions, padded[:, 0])
    torch.testing.assert_close(found.cost, tiny_cost, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "tour",
    [
        [1, 2, 3, 0, 4, 0],  # too much on one trip
        [1, 2, 0, 3, 0, 0],  # customer 4 is left out
        [1, 2, 0, 3, 4, 1],  # does not end at the depot
    ],
)
def test_shortest_is_judged(tour, tiny_instances, tiny_tours):
    """An illegal tour is an error, not an answer."""
    actions = tiny_tours.clone()
    actions[0, 0] = torch.tensor(tour)
    with pytest.raises(ValueError, match="instance 0"):
        shortest(tiny_instances, actions)


def test_join_pads_to_the_longest():
    """Solutions of two batches become one, in order."""
    one = Solution(torch.tensor([[1, 0]]), torch.tensor([1.0]).double())
    two = Solution(torch.tensor([[1, 0, 2, 0]]), torch.tensor([2.0]).double())
    both = join([one, two])
    assert both.actions.tolist() == [[1, 0, 0, 0], [1, 0, 2, 0]]
    assert both.cost.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Beam(0), "width is 0"),
        (lambda: Sampling(0), "samples is 0"),
        (lambda: Sampling(1, temperature=0.0), "temperature is 0"),
        (lambda: Sampling(1, temperature=-1.0), "temperature is -1"),
        (lambda: Sampling(1, temperature=float("nan")), "temperature is nan"),
    ],
)
def test_refused_settings(make, said):
    """A setting out of range is named with its value."""
    with pytest.raises(ValueError, match=said):
        make()


@every_search
def test_nothing_to_do(search, policy):
    """Where no customer needs anything the vehicle stays, at no cost."""
    places = UniformGenerator(3, 9)(2, stream())
    instances = Instances(places.depot, places.customers, places.demand * 0, places.capacity)
    solution = search(policy, instances, stream())
    assert not solution.actions.any()
    assert solution.cost.tolist() == [0, 0]


@every_search
def test_no_instances(search, policy, several_trips):
    """Nothing is found for them, whatever the policy."""
    solution = search(policy, several_trips[:0], stream())
    assert len(solution.cost) == len(solution.actions) == 0


@every_search
def test_solutions_only_get_better(search, policy, situation):
    """Each is legal, no cost ever rises, and neither does what is left of the work."""
    best, share = None, 0.0
    for progress in search.solutions(policy, situation, stream()):
        solution = progress.solution
        check_tours(situation, solution.actions[:, None])
        is_beams_own = isinstance(search, Beam) and progress.share == 1
        assert best is None or is_beams_own or (solution.cost <= best).all()
        best = solution.cost
        assert progress.share >= share
        share = progress.share
    assert share == 1
    torch.testing.assert_close(search(policy, situation, stream()).cost, best)


@pytest.mark.parametrize("search", SEARCHES[4:], ids=str)
def test_never_worse_than_greedy(search, policy, situation):
    """Plain greedy's tour is always a candidate."""
    greedy = Greedy()(policy, situation, stream()).cost
    assert (search(policy, situation, stream()).cost <= greedy + 1e-12).all()


def test_a_time_limit_ends_a_search(policy, several_trips):
    """After the piece of work during which it passes."""
    begun = time.perf_counter()
    solution = Sampling(10**9, time_limit=0.2)(policy, several_trips, stream())
    assert 0.2 <= time.perf_counter() - begun < 2
    check_tours(several_trips, solution.actions[:, None])
    first = Sampling(16)(policy, several_trips, stream()).cost
    short = Sampling(10**9, time_limit=1e-9)(policy, several_trips, stream()).cost
    assert torch.equal(short, first)


def test_a_search_can_be_stopped(policy, several_trips):
    """It answers with the best so far."""
    seen = []

    def watch(progress: Progress) -> bool:
        seen.append(progress)
        return len(seen) == 3

    found = Sampling(10**9).run(policy, several_trips, stream(), watch=watch)
    assert torch.equal(found.solution.cost, Sampling(48)(policy, several_trips, stream()).cost)
    assert found is seen[-1]
    assert found.share == 48 / 10**9


@pytest.mark.parametrize("search", [Sgbs(2, 2), Eas(2)], ids=str)
def test_the_starts_can_be_stopped(search, policy, several_trips, monkeypatch):
    """A search that begins with all starts can be left after some of them."""
    monkeypatch.setattr("vrp.search.greedy._STARTS_AT_ONCE", 2)
    found = pieces(search, policy, several_trips)
    first = found[0].solution.cost
    assert (first >= Multistart(1)(policy, several_trips, stream()).cost - 1e-12).all()
    whole = Multistart()(policy, several_trips, stream()).cost
    assert (found[5].solution.cost <= whole + 1e-12).all()
    assert first.sum() > whole.sum()


def test_names_tell_results_apart():
    """All that changes a result is in the name, and is typed with the default left out."""
    assert str(Greedy()) == "greedy"
    assert str(Beam(5, time_limit=2.5)) == "beam(width=5, time_limit=2.5)"
    assert str(Sampling(8)) == "sampling(samples=8)"
    assert str(Sampling(8, 0.5)) == "sampling(samples=8, temperature=0.5)"
    assert str(Eas()) == "eas(iterations=200, symmetries=8)"
    assert "learning_rate=0.01, imitation=0, " in str(Eas(learning_rate=0.01, imitation=0.0))
    assert str(Augment(2, multistart=True)) == "augment(symmetries=2, multistart=true)"
    assert Beam(5).overrides() == ["decode=beam", "decode.width=5"]
    assert Augment(multistart=False).overrides() == ["decode=augment", "decode.multistart=false"]
    assert Sgbs().overrides() == ["decode=sgbs"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Greedy(time_limit=0.0), "time_limit is 0.0; it must be above 0"),
        (lambda: Multistart(0), "starts is 0; it must be at least 1"),
        (lambda: Augment(9), "symmetries is 9; it must be from 1 to 8"),
        (lambda: Sgbs(0), "width is 0"),
        (lambda: Sgbs(4, 0), "expansion is 0"),
        (lambda: Sgbs(symmetries=0), "symmetries is 0"),
        (lambda: Eas(0), "iterations is 0"),
        (lambda: Eas(learning_rate=0.0), "learning_rate is 0.0"),
        (lambda: Eas(imitation=-1.0), "imitation is -1.0"),
        (lambda: Eas(symmetries=9), "symmetries is 9"),
    ],
)
def test_arguments_of_the_other_searches(make, message):
    """Each is refused with its name, its value and what is allowed."""
    with pytest.raises(ValueError, match=message):
        make()
