"""The searches against brute force and plain versions of each."""

from __future__ import annotations

import math
import time
from itertools import pairwise, permutations, product
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from vrp.policy import AttentionPolicy, PointerPolicy
from vrp.policy.base import Policy
from vrp.policy.encoders import EmbeddingEncoder, LinearEncoder
from vrp.problem import Instances, UniformGenerator
from vrp.problem.environment import finished, legal_mask, reset, step
from vrp.problem.tours import check_tours, tour_length
from vrp.search import Augment, Beam, Eas, Greedy, Multistart, Sampling, Sgbs
from vrp.search.augmentation import symmetric
from vrp.search.base import ENCODING, Search
from vrp.search.greedy import count_pieces, greedy_tours
from vrp.search.rollout import greedy_choice, rollout, sampled_choice
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


def stream(seed: int = 0) -> torch.Generator:
    """A generator of its own for each call."""
    return torch.Generator().manual_seed(seed)


def length(instances: Instances, n: int, tour: list[int]) -> float:
    """Length of a tour by Python's own arithmetic."""
    points = instances.coordinates()[n].tolist()
    path = [0, *tour, 0]
    return sum(math.dist(points[a], points[b]) for a, b in pairwise(path))


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


def test_more_samples_never_cost_more(policy, several_trips):
    """Equal streams: the first samples are the same, so the best only improves."""
    costs = [Sampling(k)(policy, several_trips, stream()).cost for k in (1, 2, 15, 16, 17, 33, 70)]
    for few, many in pairwise(costs):
        assert (many <= few).all()
    assert (costs[-1] < costs[0]).any()


@pytest.mark.parametrize("samples", [1, 16, 17])
def test_effort_counts_what_is_played(samples, policy, several_trips, monkeypatch):
    """Sixteen samples at a time, however few of the last ones are asked for."""
    played = []

    def counting(policy, instances, encoding, num_solutions, choose):
        played.append(num_solutions)
        return rollout(policy, instances, encoding, num_solutions, choose)

    monkeypatch.setattr("vrp.search.sampling.rollout", counting)
    search = Sampling(samples)
    search(policy, several_trips, stream())
    assert search.effort(7, policy.starts_anywhere) == ENCODING + sum(played)


def test_samples_depend_on_the_stream(policy, several_trips):
    """Equal streams give equal tours, another stream others."""
    search = Sampling(1)
    one, again, other = (search(policy, several_trips, stream(s)).actions for s in (0, 0, 1))
    assert torch.equal(one, again)
    assert one.shape != other.shape or not torch.equal(one, other)


def test_cold_samples_are_greedy(policy, several_trips):
    """At a temperature near 0 every sample is the likeliest tour."""
    cold = Sampling(3, temperature=1e-4)(policy, several_trips, stream())
    assert torch.equal(cold.cost, Greedy()(policy, several_trips, stream()).cost)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_chosen_as_often_as_likely(temperature):
    """Evenly spread numbers choose each node as often as the tempered softmax says."""
    logits = torch.tensor([1.0, -torch.inf, 0.0, 2.0, -torch.inf, -1.0, -torch.inf])
    count = 20_000
    uniforms = ((torch.arange(count) + 0.5) / count).view(1, 1, count)
    chosen = sampled_choice(uniforms, temperature)(logits.expand(1, count, 7), 0)
    frequency = torch.bincount(chosen[0], minlength=7) / count
    expected = (logits / temperature).softmax(-1)
    torch.testing.assert_close(frequency, expected, rtol=0, atol=2 / count)


@pytest.mark.parametrize("uniform", [0.0, 2**-24, 0.5, 1 - 2**-24], ids=["0", "eps", "half", "1"])
def test_only_legal_nodes_are_sampled(uniform):
    """Whatever the number and however unequal the logits, the chosen node is legal."""
    random = stream()
    logits = torch.randn(1, 5000, 30, generator=random) * 10
    legal = torch.rand(1, 5000, 30, generator=random) < 0.2
    legal[..., 0] |= ~legal.any(-1)
    logits = logits.masked_fill(~legal, -torch.inf)
    choose = sampled_choice(torch.full((1, 1, 5000), uniform))
    chosen = choose(logits, 0)
    assert legal.gather(-1, chosen[..., None]).all()


def test_sampled_tours_are_as_frequent_as_likely(policy):
    """Over 20,000 samples each tour comes as often as its log-probability says."""
    instances = UniformGenerator(3, 12)(1, stream())
    count, steps = 20_000, 7
    encoding = policy.encode(instances).detach()
    uniforms = torch.rand(steps, 1, count, generator=stream())
    actions = rollout(policy, instances, encoding, count, sampled_choice(uniforms))
    tours, times = actions[0].unique(dim=0, return_counts=True)
    with torch.no_grad():
        likely = policy.log_probs(encoding, instances, tours[None]).log_prob[0].sum(-1).exp()
    assert likely.sum().item() == pytest.approx(1, abs=0.01)  # none that matters is missing
    error = (likely * (1 - likely) / count).sqrt()
    assert ((times / count - likely).abs() < 4.5 * error + 1e-4).all()


@pytest.mark.parametrize("search", [Greedy(), Sampling(2), Beam(2)], ids=str)
def test_open_tours_are_an_error(search, policy, several_trips, monkeypatch):
    """A tour that does not close is never measured: the search stops."""

    def never(state):
        return torch.zeros_like(state.position, dtype=torch.bool)

    monkeypatch.setattr("vrp.search.rollout.finished", never)
    monkeypatch.setattr("vrp.search.beam.finished", never)
    with pytest.raises(RuntimeError, match="not closed after 15 steps"):
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


def test_multistart_is_greedy_from_each_customer(policy, several_trips):
    """The best of a plain version that forces one first customer after the other."""
    encoding = policy.encode(several_trips).detach()
    costs = [Greedy()(policy, several_trips, stream()).cost]
    for customer in range(1, 8):
        first = torch.full((5, 1), customer)
        tours = rollout(policy, several_trips, encoding, 1, greedy_choice, first)
        assert (tours[:, 0, 0] == customer).all()
        costs.append(shortest(several_trips, tours).cost)
    found = Multistart()(policy, several_trips, stream()).cost
    torch.testing.assert_close(found, torch.stack(costs).amin(0))


def test_more_starts_are_never_worse(policy, situation):
    """The starts of fewer are the first of more."""
    costs = [Multistart(starts)(policy, situation, stream()).cost for starts in (1, 2, 3, None)]
    for fewer, more in pairwise(costs):
        assert (more <= fewer + 1e-12).all()


def test_no_start_is_played_for_nothing(policy, several_trips, monkeypatch):
    """Where no product is rounded, only those that are asked for."""
    played = []

    def counting(policy, instances, encoding, num_solutions, *rest):
        played.append(num_solutions)
        return rollout(policy, instances, encoding, num_solutions, *rest)

    monkeypatch.setattr("vrp.search.greedy.rollout", counting)
    Multistart(3)(policy, several_trips, stream())
    assert played == [1, 3]


class Rounded(AttentionPolicy):
    """Rounds by the number of tours that are decoded side by side, as products in bfloat16 may.

    It rounds more coarsely, so that a few small instances show what depends on it.
    """

    def step(self, encoding, memory, state, legal, tape=None):
        """As of the attention policy, moved by up to a half."""
        logits, memory = super().step(encoding, memory, state, legal, tape)
        moved = torch.rand(legal.shape[-1], generator=stream(state.position.numel())) / 2
        return logits + moved, memory


class TestRounded:
    """What searches promise where the tours beside it may change a tour."""

    instances = UniformGenerator(20, 30)(20, stream(1))

    @pytest.fixture
    def rounded(self) -> Policy:
        """A small one."""
        sizes = {"num_layers": 1, "num_heads": 2, "feed_forward_dim": 16}
        found = Rounded(LinearEncoder(16), 16, **sizes, precision="bfloat16")
        found.initialise(0)
        return found.eval()

    def test_shapes_change_tours(self, rounded):
        """Else the others would show nothing: a greedy tour is another beside a copy of it."""
        encoding = rounded.encode(self.instances).detach()
        alone, beside = (
            rollout(rounded, self.instances, encoding, k, greedy_choice)[:, 0] for k in (1, 2)
        )
        assert alone.shape != beside.shape or not torch.equal(alone, beside)

    @pytest.mark.parametrize(
        "search",
        [
            Multistart(1),
            Multistart(),
            Augment(1),
            Augment(2),
            Augment(2, multistart=False),
            Sgbs(2, 2, 1),
            Eas(1, symmetries=2),
        ],
        ids=str,
    )
    def test_no_search_is_worse_than_greedy(self, search, rounded):
        """Its tour is found again whatever is decoded beside it."""
        greedy = Greedy()(rounded, self.instances, stream()).cost
        found = search(rounded, self.instances, stream()).cost
        assert (found <= greedy + 1e-12).all()

    @pytest.mark.parametrize(
        "some",
        [
            [Sampling(count) for count in (1, 5, 16, 17, 33)],
            [Augment(count) for count in (1, 2, 8)],
            [Multistart(count) for count in (1, 5, 16, 17, None)],
        ],
        ids=["samples", "symmetries", "starts"],
    )
    def test_more_is_never_worse(self, some, rounded):
        """Fewer samples, symmetries or starts are the first of more."""
        costs = [search(rounded, self.instances, stream()).cost for search in some]
        assert all((more <= fewer + 1e-12).all() for fewer, more in pairwise(costs))

    def test_starts_are_always_played_beside_the_same(self, rounded, monkeypatch):
        """Piece by piece, bit by bit those of all starts."""
        monkeypatch.setattr("vrp.search.greedy._STARTS_AT_ONCE", 8)
        encoding = rounded.encode(self.instances).detach()

        def costs(starts: int | None) -> Tensor:
            played = list(greedy_tours(rounded, self.instances, encoding, starts))
            assert len(played) == count_pieces(self.instances, starts)
            return torch.cat([tour_length(self.instances, tours) for tours in played], 1)

        every = costs(None)
        assert every.shape[1] == 21
        for starts in (0, 1, 8, 13, 20, 25):
            assert torch.equal(costs(starts), every[:, : 1 + starts])


def test_symmetries_are_the_squares(several_trips):
    """Eight different ones, each keeping all distances and the unit square."""
    seen = set()
    points = several_trips.coordinates()
    for number in range(8):
        moved = symmetric(several_trips, number)
        torch.testing.assert_close(
            torch.cdist(moved.coordinates(), moved.coordinates()),
            torch.cdist(points, points), rtol=0, atol=1e-6,
        )  # fmt: skip
        seen.add(tuple(moved.customers[0, 0].tolist()))
    assert len(seen) == 8
    assert torch.equal(symmetric(several_trips, 0).customers, several_trips.customers)


def test_more_symmetries_are_never_worse(policy, situation):
    """The fewer are the first of the more."""
    for plain in (Augment, lambda s: Sgbs(2, 2, symmetries=s)):
        costs = [plain(count)(policy, situation, stream()).cost for count in (1, 3, 8)]
        for fewer, more in pairwise(costs):
            assert (more <= fewer + 1e-12).all()


def test_augment_takes_what_the_policy_is_made_for(policy, several_trips):
    """Greedy from every customer or plain greedy under each symmetry, unless asked otherwise."""
    auto = Augment()(policy, several_trips, stream()).cost
    greedy = Augment(multistart=False)(policy, several_trips, stream()).cost
    every = Augment(multistart=True)(policy, several_trips, stream()).cost
    assert torch.equal(auto, every if policy.starts_anywhere else greedy)
    assert (every <= greedy).all()
    assert every.sum() < greedy.sum()


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


class Recorder(torch.optim.Adam):
    """Adam that keeps what it moves, and each of its gradients."""

    made: ClassVar[list] = []

    def __init__(self, parameters, learning_rate):
        super().__init__(parameters, learning_rate)
        (self.moved,) = parameters
        self.gradients = []
        Recorder.made.append(self)

    def step(self):
        self.gradients.append(self.moved.grad.clone())
        super().step()


@pytest.fixture
def recorder(monkeypatch):
    """The optimizers that a search makes."""
    monkeypatch.setattr(torch.optim, "Adam", Recorder)
    monkeypatch.setattr(Recorder, "made", [])
    return Recorder.made


@pytest.mark.parametrize("imitation", [0.0, 0.7])
def test_eas_follows_the_papers_loss(imitation, policy, several_trips, recorder):
    """The gradient is autograd's, of each tour and each instance by itself."""
    search = Eas(1, imitation=imitation, symmetries=2)
    best = search(policy, several_trips, stream())
    ((found,),) = (each.gradients for each in recorder)
    n, k, forced = len(several_trips), several_trips.num_customers, int(policy.starts_anywhere)
    uniforms = torch.rand((2 * k + 1, 2, n, k), generator=stream())
    for number in range(2):
        moved = symmetric(several_trips, number)
        first = torch.arange(1, k + 1).expand(n, k) if forced else None
        choose = sampled_choice(uniforms[:, number])
        tours = rollout(policy, moved, policy.encode(moved).detach(), k, choose, first)
        for i in range(n):
            one = moved[i : i + 1]
            encoding = policy.encode(one).detach()
            added = policy.addable(encoding).requires_grad_()

            def likely(tour, one=one, encoding=encoding, added=added):
                changed = policy.with_added(encoding, added)
                return policy.log_probs(changed, one, tour[None, None], forced).log_prob.sum()

            costs = [length(one, 0, tour) for tour in tours[i].tolist()]
            mean = sum(costs) / k
            learned = sum(
                (cost - mean) * likely(tour) for cost, tour in zip(costs, tours[i], strict=True)
            )
            loss = learned / k - imitation * likely(best.actions[i])
            (expected,) = torch.autograd.grad(loss, added)
            assert expected.abs().max() > 1e-4
            torch.testing.assert_close(found[number * n + i], expected[0], rtol=1e-3, atol=1e-5)


def test_imitation_makes_the_best_tour_likelier(policy, several_trips, recorder):
    """That of each instance, its own."""
    best = Eas(20, learning_rate=0.05, imitation=100.0, symmetries=1)(
        policy, several_trips, stream()
    )
    (optimizer,) = recorder
    encoding = policy.encode(several_trips).detach()

    def likely(encoding) -> Tensor:
        actions = best.actions[:, None]
        forced = int(policy.starts_anywhere)
        with torch.no_grad():
            return policy.log_probs(encoding, several_trips, actions, forced).log_prob.sum((1, 2))

    assert (likely(policy.with_added(encoding, optimizer.moved)) > likely(encoding) + 0.5).all()


def replays_of(tours: int, policy: Policy, instances: Instances) -> int:
    """Bytes that EAS takes for replays of so many tours, as long as can be, at two symmetries."""
    steps = 2 * instances.num_customers + 1
    return 2 * tours * steps * policy.replay_bytes(instances.num_nodes)


# An instance has eight tours under each symmetry.
@pytest.mark.parametrize(("tours", "count"), [(0, 5), (4, 5), (20, 3)])
def test_eas_learns_the_same_in_parts(tours, count, policy, several_trips, monkeypatch):
    """However few instances, or tours of one, fit into memory at once."""
    search = Eas(3, symmetries=2, learning_rate=0.02)
    whole = search(policy, several_trips, stream())
    most = replays_of(tours, policy, several_trips)
    monkeypatch.setattr("vrp.search.eas._MOST_BYTES", most)
    assert len(search._rows(policy, several_trips)) == count
    parts = pieces(search, policy, several_trips)
    assert len(parts) == 1 + count * 5
    torch.testing.assert_close(parts[-1].solution.cost, whole.cost)


@pytest.mark.parametrize("tours", [1, 4, 20])
def test_replays_of_eas_are_bounded(tours, policy, several_trips, monkeypatch):
    """Where one instance is too large, a few of its tours are replayed at a time."""
    played, replayed = [], []
    log_probs, each = type(policy).log_probs, policy.replay_bytes(several_trips.num_nodes)

    def counting(policy, encoding, instances, actions, forced):
        played.append(actions.shape[1])
        replayed.append(actions.numel() * each)
        return log_probs(policy, encoding, instances, actions, forced)

    most = replays_of(tours, policy, several_trips)
    monkeypatch.setattr("vrp.search.eas._MOST_BYTES", most)
    monkeypatch.setattr(type(policy), "log_probs", counting)
    Eas(1, symmetries=2)(policy, several_trips, stream())
    assert max(replayed) <= most
    # The samples of seven starts and the best tour, of one instance after the other if need be.
    assert sum(played) == 8 * (3 if tours == 20 else 5)
    assert (min(played) < 8) == (tours < 20)


def test_eas_learns(policy, several_trips):
    """It finds shorter tours than as many samples of the policy as it is."""
    tours = 7 * 60
    samples = Sampling(tours)(policy, several_trips, stream()).cost
    searched = Eas(60, symmetries=1, learning_rate=0.05)(policy, several_trips, stream()).cost
    idle = Eas(60, symmetries=1, learning_rate=1e-9)(policy, several_trips, stream()).cost
    assert searched.mean() < idle.mean()
    assert searched.mean() < samples.mean()


def test_eas_repeats(policy, several_trips):
    """Equal generators give equal tours."""
    one, two = (Eas(5, symmetries=2)(policy, several_trips, stream(3)) for _ in range(2))
    assert torch.equal(one.actions, two.actions)


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


def pieces(search: Search, policy: Policy, instances: Instances) -> list[Progress]:
    """All that a search says of its progress."""
    with torch.no_grad():
        return list(search.solutions(policy, instances, stream()))


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


def test_augment_says_what_the_policy_decided(policy):
    """Its name tells whether it starts from every customer."""
    said = str(policy.starts_anywhere).lower()
    assert str(Augment().made_for(policy)) == f"augment(symmetries=8, multistart={said})"
    assert Augment(multistart=True).made_for(policy) == Augment(multistart=True)
    assert Beam(3).made_for(policy) == Beam(3)


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
