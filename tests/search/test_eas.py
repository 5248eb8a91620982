"""Efficient active search against autograd on each tour by itself."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor
from trials import length, pieces, stream

from vrp.policy.base import Policy
from vrp.policy.choice import Choice
from vrp.problem import Instances
from vrp.search import Eas, Sampling
from vrp.search.augmentation import symmetric
from vrp.search.rollout import rollout


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
        choose = Choice(uniforms[:, number])
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
