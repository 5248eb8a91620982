"""Multi-start and the symmetries of the square, rounded policies included."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from trials import stream

from vrp.policy import AttentionPolicy
from vrp.policy.base import Policy
from vrp.policy.encoders import LinearEncoder
from vrp.problem import UniformGenerator
from vrp.problem.tours import tour_length
from vrp.search import Augment, Beam, Eas, Greedy, Multistart, Sampling, Sgbs
from vrp.search.augmentation import symmetric
from vrp.search.greedy import count_pieces, greedy_tours
from vrp.search.rollout import greedy_choice, rollout
from vrp.search.solution import shortest


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


def test_augment_says_what_the_policy_decided(policy):
    """Its name tells whether it starts from every customer."""
    said = str(policy.starts_anywhere).lower()
    assert str(Augment().made_for(policy)) == f"augment(symmetries=8, multistart={said})"
    assert Augment(multistart=True).made_for(policy) == Augment(multistart=True)
    assert Beam(3).made_for(policy) == Beam(3)
