"""REINFORCE against the gradient of the expected cost, which a tiny instance lets us compute."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from vrp.policy import PointerPolicy
from vrp.policy.encoders import LinearEncoder
from vrp.problem import Instances, UniformGenerator
from vrp.problem.environment import trace
from vrp.problem.tours import tour_length
from vrp.search.rollout import rollout, sampled_choice
from vrp.training.baselines import (
    Baseline,
    CriticBaseline,
    ExponentialBaseline,
    SharedBaseline,
)
from vrp.training.learner import Learner
from vrp.training.reinforce import advantage, reinforce_loss

SIZE = 8


def stream(seed: int = 0) -> torch.Generator:
    """A generator of its own for each call."""
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def policy() -> PointerPolicy:
    """A small policy with drawn weights, large enough to have opinions."""
    found = PointerPolicy(LinearEncoder(SIZE), SIZE)
    found.initialise(0)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.mul_(2)
    return found


@pytest.fixture(params=["whole", "split"])
def instances(request: pytest.FixtureRequest) -> Instances:
    """One instance of three customers that no single trip can serve."""
    split = request.param == "split"
    return Instances(
        torch.tensor([[0.1, 0.2]]),
        torch.tensor([[[0.9, 0.1], [0.4, 0.8], [0.7, 0.6]]]),
        torch.tensor([[5, 2, 1] if split else [3, 2, 2]]),
        torch.tensor([4]),
        split_delivery=split,
    )


def every_tour(instances: Instances) -> Tensor:
    """(1, K, T) all tours that the rules allow, by recursion."""
    capacity, split = int(instances.capacity[0]), instances.split_delivery

    def extend(tour: list[int], load: int, owed: list[int]) -> Iterator[list[int]]:
        if tour and tour[-1] == 0 and not any(owed):
            yield tour
            return
        if tour and tour[-1] != 0:
            yield from extend([*tour, 0], capacity, owed)
        for c, d in enumerate(owed):
            if d and (load if split else d <= load):
                given = min(d, load)
                left = [*owed[:c], d - given, *owed[c + 1 :]]
                yield from extend([*tour, c + 1], load - given, left)

    tours = list(extend([], capacity, instances.demand[0].tolist()))
    longest = max(map(len, tours))
    return torch.tensor([[tour + [0] * (longest - len(tour)) for tour in tours]])


def probabilities(policy: PointerPolicy, instances: Instances, tours: Tensor) -> Tensor:
    """(K,) of all tours, with gradient."""
    replay = policy.log_probs(policy.encode(instances), instances, tours)
    return replay.log_prob[0].sum(-1).exp()


def expected_cost(policy: PointerPolicy, instances: Instances, tours: Tensor) -> Tensor:
    """() of a tour that the policy samples, with gradient."""
    cost = tour_length(instances, tours)[0].float()
    return (probabilities(policy, instances, tours) * cost).sum()


def gradient(loss: Tensor, policy: PointerPolicy) -> Tensor:
    """All of the policy's gradients in one row."""
    found = torch.autograd.grad(loss, list(policy.parameters()), materialize_grads=True)
    return torch.cat([part.flatten() for part in found])


def test_probabilities_of_all_tours_add_to_one(policy, instances):
    """Every tour that the rules allow is counted, and nothing else has any probability."""
    total = probabilities(policy, instances, every_tour(instances)).sum().item()
    assert total == pytest.approx(1, abs=1e-5)


def test_gradient_of_the_expected_cost(policy, instances):
    """Moving all weights a little changes the expected cost as the gradient says."""
    tours = every_tour(instances)
    slope = gradient(expected_cost(policy, instances, tours), policy)
    start = torch.nn.utils.parameters_to_vector(policy.parameters()).detach()
    direction = slope / slope.norm() + torch.randn(start.shape, generator=stream()) * 0.02
    reach, values = 5e-3, []
    for sign in (1, -1):
        moved = start + sign * reach * direction
        torch.nn.utils.vector_to_parameters(moved, policy.parameters())
        with torch.no_grad():
            values.append(expected_cost(policy, instances, tours).item())
    torch.nn.utils.vector_to_parameters(start, policy.parameters())
    measured = (values[0] - values[1]) / (2 * reach)
    assert measured == pytest.approx((slope @ direction).item(), rel=0.01)


def test_loss_over_all_tours_is_exact(policy, instances):
    """Tours weighted by their probability give the gradient of the expected cost, to rounding."""
    tours = every_tour(instances)
    exact = gradient(expected_cost(policy, instances, tours), policy)
    cost = tour_length(instances, tours).float()
    likely = probabilities(policy, instances, tours).detach()[None] * tours.shape[1]
    for constant in (0.0, 3.0):  # a baseline that knows no action changes nothing
        replay = policy.log_probs(policy.encode(instances), instances, tours)
        advantages = advantage(cost, torch.full_like(cost, constant)) * likely
        loss = reinforce_loss(advantages, replay.log_prob.sum(-1))
        torch.testing.assert_close(gradient(loss, policy), exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("instances", ["whole"], indirect=True)
@pytest.mark.parametrize(
    "baseline",
    [SharedBaseline(), CriticBaseline(SIZE), ExponentialBaseline(0.9)],
    ids=["shared", "critic", "exponential"],
)
def test_sampled_gradient_is_unbiased(baseline: Baseline, policy, instances):
    """Over many batches the learner's gradient is that of the expected cost."""
    baseline.initialise(0)
    exact = gradient(expected_cost(policy, instances, every_tour(instances)), policy)
    learner = Learner(policy, baseline, num_rollouts=2).train()
    many = Instances(
        instances.depot.expand(300, -1),
        instances.customers.expand(300, -1, -1),
        instances.demand.expand(300, -1),
        instances.capacity.expand(300),
    )
    direction = exact / exact.norm()
    found = []
    # The average's first batch is its own mean, which biases that batch alone.
    for seed in range(26):
        learned = learner(many, learner.draw(many, stream(seed)))
        found.append(gradient(learned.loss, policy) @ direction)
    found = torch.stack(found[1:])
    error = (found.std() / len(found) ** 0.5).item()
    assert error < 0.1 * exact.norm().item()
    assert found.mean().item() == pytest.approx(exact.norm().item(), abs=4 * error)


def test_advantage_is_cost_above_expectation():
    """A tour better than expected has a negative advantage, and it carries no gradient."""
    cost = torch.tensor([[3.0, 5.0]], requires_grad=True)
    found = advantage(cost, torch.tensor([[4.0, 4.0]]))
    assert found.tolist() == [[-1, 1]]
    assert not found.requires_grad


def test_loss_by_hand():
    """The mean of advantage times log-probability."""
    loss = reinforce_loss(torch.tensor([[-1.0, 2.0]]), torch.tensor([[-3.0, -5.0]]))
    assert loss.item() == -3.5


def test_better_tours_become_likelier(policy, instances):
    """A step against the gradient brings the expected cost down."""
    tours = every_tour(instances)
    before = expected_cost(policy, instances, tours)
    slope = gradient(before, policy)
    start = torch.nn.utils.parameters_to_vector(policy.parameters()).detach()
    moved = start - 0.02 * slope / slope.norm()
    torch.nn.utils.vector_to_parameters(moved, policy.parameters())
    assert expected_cost(policy, instances, tours) < before


def test_numbers_of_a_step(policy):
    """One uniform number per trajectory and step, and one dropout mask per trajectory."""
    instances = UniformGenerator(5, 15)(4, stream())
    dropping = PointerPolicy(LinearEncoder(SIZE), SIZE, dropout=0.3)
    draws = Learner(dropping, ExponentialBaseline(), 3).train().draw(instances, stream())
    assert draws.uniforms.shape[1:] == (4, 3)
    assert len(draws.uniforms) >= 10
    assert draws.dropout_mask.shape == (4, 3, SIZE)
    assert Learner(policy, ExponentialBaseline(), 3).draw(instances, stream()).dropout_mask is None


def test_equal_numbers_equal_step(policy):
    """A forward pass is a function of the instances and the drawn numbers alone."""
    instances = UniformGenerator(5, 15)(4, stream())
    learner = Learner(policy, SharedBaseline(), 3).train()
    first, second = (learner(instances, learner.draw(instances, stream(1))) for _ in range(2))
    assert torch.equal(first.cost, second.cost)
    assert torch.equal(first.loss, second.loss)


def test_learner_refuses_what_the_baseline_cannot():
    """`shared` with a single solution is refused when the learner is built."""
    policy = PointerPolicy(LinearEncoder(SIZE), SIZE)
    with pytest.raises(ValueError, match="num_rollouts is 1"):
        Learner(policy, SharedBaseline(), 1)


def test_entropy_is_the_mean_over_open_steps(policy):
    """Every step of an open tour counts, those without a choice too; waiting does not."""
    instances = UniformGenerator(5, 12)(4, stream())
    learner = Learner(policy, SharedBaseline(), 3).train()
    draws = learner.draw(instances, stream(1))
    found = learner(instances, draws).entropy
    encoding = policy.encode(instances).detach()
    actions = rollout(policy, instances, encoding, 3, sampled_choice(draws.uniforms))
    replay = policy.log_probs(encoding, instances, actions)
    steps = trace(instances, actions).open.sum()
    torch.testing.assert_close(found, replay.entropy.sum() / steps)
