"""REINFORCE against the gradient of the expected cost, which a tiny instance lets us compute."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from runs import small_config
from torch import Tensor

from vrp.policy import AttentionPolicy, PointerPolicy, glimpse
from vrp.policy.base import Policy
from vrp.policy.choice import Choice
from vrp.policy.encoders import LinearEncoder
from vrp.problem import Instances, UniformGenerator
from vrp.problem.environment import seen_before_each_step
from vrp.problem.tours import tour_length
from vrp.search.rollout import rollout
from vrp.training.baselines import (
    Baseline,
    CriticBaseline,
    ExponentialBaseline,
    RolloutBaseline,
    SharedBaseline,
)
from vrp.training.build import build_generator, build_learner
from vrp.training.learner import Learner
from vrp.training.reinforce import advantage, emphasise_leader, reinforce_loss

SIZE = 8


def stream(seed: int = 0) -> torch.Generator:
    """A generator of its own for each call."""
    return torch.Generator().manual_seed(seed)


POLICIES = {
    "pointer": lambda: PointerPolicy(LinearEncoder(SIZE), SIZE),
    "attention": lambda: AttentionPolicy(LinearEncoder(SIZE), SIZE, 1, 2, 12),
}


@pytest.fixture(params=POLICIES)
def policy(request: pytest.FixtureRequest) -> Policy:
    """A small policy with drawn weights, large enough to have opinions."""
    found = POLICIES[request.param]()
    found.initialise(0)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if "norm" not in name:
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


def probabilities(policy: Policy, instances: Instances, tours: Tensor, forced: int = 0) -> Tensor:
    """(K,) of all tours, with gradient; given their first `forced` steps."""
    replay = policy.log_probs(policy.encode(instances), instances, tours, forced)
    return replay.log_prob[0].sum(-1).exp()


def expected_cost(
    policy: Policy, instances: Instances, tours: Tensor, multistart: bool = False
) -> Tensor:
    """() of a tour that the policy samples, with gradient; the mean over all starts if told so."""
    cost = tour_length(instances, tours)[0].float()
    total = (probabilities(policy, instances, tours, int(multistart)) * cost).sum()
    return total / instances.num_customers if multistart else total


def gradient(loss: Tensor, policy: Policy) -> Tensor:
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
    reach, values = 1e-3, []
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


BASELINES = {
    "shared": SharedBaseline,
    "critic": lambda: CriticBaseline(SIZE),
    "exponential": lambda: ExponentialBaseline(0.9),
    "rollout": lambda: RolloutBaseline(eval_instances=100),
}


def copies(instances: Instances, number: int) -> Instances:
    """The same instance many times."""
    return Instances(
        instances.depot.expand(number, -1),
        instances.customers.expand(number, -1, -1),
        instances.demand.expand(number, -1),
        instances.capacity.expand(number),
    )


def begun(baseline: Baseline, policy: Policy) -> Baseline:
    """The baseline as training makes it, past any warm-up."""
    baseline.begin(policy, UniformGenerator(3, 9), 0)
    baseline.initialise(0, policy)
    baseline.end_warmup()
    return baseline


@pytest.mark.parametrize("instances", ["whole"], indirect=True)
@pytest.mark.parametrize(
    ("baseline", "multistart"),
    [*((name, False) for name in BASELINES), ("shared", True), ("rollout", True)],
)
def test_sampled_gradient_is_unbiased(baseline: str, multistart: bool, policy, instances):
    """Over many batches the learner's gradient is that of the expected cost."""
    learner = Learner(
        policy, begun(BASELINES[baseline](), policy), 3 if multistart else 2, multistart
    ).train()
    cost = expected_cost(policy, instances, every_tour(instances), multistart)
    exact = gradient(cost, policy)
    many, found = copies(instances, 300), []
    direction = exact / exact.norm()
    # The average's first batch is its own mean, which biases that batch alone.
    for seed in range(26):
        learned = learner(many, learner.draw(many, stream(seed)))
        found.append(gradient(learned.loss, policy) @ direction)
    found = torch.stack(found[1:])
    error = (found.std() / len(found) ** 0.5).item()
    assert error < 0.1 * exact.norm().item()
    assert found.mean().item() == pytest.approx(exact.norm().item(), abs=4 * error)


@pytest.mark.parametrize("policy", ["attention"], indirect=True)
@pytest.mark.parametrize("instances", ["whole"], indirect=True)
@pytest.mark.parametrize(
    ("limit", "value", "has_tape"),
    [("_CPU_PIECE", 1, True), ("_CPU_PIECE", 1000, True), ("_MOST_TAPE", 0, False)],
)
def test_memory_limits_change_nothing(limit, value, has_tape, policy, instances, monkeypatch):
    """In small pieces and without a tape the same tours are made and the same is learned."""
    learner = Learner(policy, SharedBaseline(), 3, multistart=True).train()
    many, found = copies(instances, 7), []
    draws = learner.draw(many, stream())
    for limited in (False, True):
        if limited:
            monkeypatch.setattr(glimpse, limit, value)
            tape = policy.new_tape(policy.encode(many).detach(), 3, len(draws.uniforms))
            assert (tape is not None) is has_tape
        learned = learner(many, draws)
        found.append([learned.cost, learned.entropy, gradient(learned.loss, policy)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_advantage_is_cost_above_expectation():
    """A tour better than expected has a negative advantage, and it carries no gradient."""
    cost = torch.tensor([[3.0, 5.0]], requires_grad=True)
    found = advantage(cost, torch.tensor([[4.0, 4.0]]))
    assert found.tolist() == [[-1, 1]]
    assert not found.requires_grad


def test_leader_by_hand():
    """The shortest tour's advantage counts more, the first of equals leads, weight 1 is nothing."""
    cost = torch.tensor([[5.0, 3.0, 4.0], [2.0, 6.0, 2.0]])
    advantages = torch.tensor([[1.5, -1.5, 0.0], [-2.0, 4.0, -2.0]])
    assert emphasise_leader(advantages, cost, 4).tolist() == [[1.5, -6, 0], [-8, 4, -2]]
    assert torch.equal(emphasise_leader(advantages, cost, 1), advantages)


@pytest.mark.parametrize("instances", ["whole"], indirect=True)
def test_leader_learns_more(policy, instances):
    """Each unit of weight adds the gradient that the shortest tour alone has."""
    many, slopes = copies(instances, 5), []
    for weight in (1, 2, 3):
        learner = Learner(policy, SharedBaseline(), 3, leader_weight=weight).train()
        learned = learner(many, learner.draw(many, stream()))
        slopes.append(gradient(learned.loss, policy))
    encoding = policy.encode(many)
    chosen = Choice(learner.draw(many, stream()).uniforms)
    actions = rollout(policy, many, encoding.detach(), 3, chosen)
    log_prob = policy.log_probs(encoding, many, actions).log_prob.sum(-1)
    leaders = [costs.index(min(costs)) for costs in learned.cost.tolist()]
    parts = [learned.advantages[n, k] * log_prob[n, k] for n, k in enumerate(leaders)]
    alone = gradient(sum(parts) / log_prob.numel(), policy)
    assert alone.norm() > 1e-3
    for lower, higher in pairwise(slopes):
        torch.testing.assert_close(higher - lower, alone, rtol=1e-3, atol=1e-5)


def test_weights_are_named(policy):
    """Two numbers by position are easily swapped; the config's reach their own places."""
    with pytest.raises(TypeError):
        Learner(policy, SharedBaseline(), 3, False, 2.0)
    config = small_config("leader_weight=3", "entropy_weight=0.1")
    learner = build_learner(config, build_generator(config))
    assert (learner.leader_weight, learner.entropy_weight) == (3, 0.1)


@pytest.mark.parametrize("name", ["critic", "exponential", "rollout"])
def test_no_leader_is_pushed_down(name, policy):
    """Where the shortest tour may be worse than expected, a weight for it is refused."""
    Learner(policy, BASELINES[name](), 3)
    with pytest.raises(ValueError, match="leader_weight is 2; it must be 1 unless baseline=shared"):
        Learner(policy, BASELINES[name](), 3, leader_weight=2)


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
    assert (
        Learner(policy, ExponentialBaseline(), 3).train().draw(instances, stream()).dropout_mask
        is None
    )


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
    actions = rollout(policy, instances, encoding, 3, Choice(draws.uniforms))
    replay = policy.log_probs(encoding, instances, actions)
    steps = seen_before_each_step(instances, actions).open.sum()
    torch.testing.assert_close(found, replay.entropy.sum() / steps)
