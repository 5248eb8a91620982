"""What is expected of an instance, against values worked out by hand."""

from __future__ import annotations

import pytest
import scipy.stats
import torch

from vrp.policy import PointerPolicy
from vrp.policy.encoders import LinearEncoder
from vrp.problem import Instances, UniformGenerator
from vrp.problem.environment import legal_mask, reset
from vrp.search import Greedy
from vrp.training.baselines import (
    CriticBaseline,
    ExponentialBaseline,
    RolloutBaseline,
    SharedBaseline,
)

SIZE = 8
COST = torch.tensor([[1.0, 3.0, 8.0], [2.0, 2.0, 5.0]])


@pytest.fixture
def policy() -> PointerPolicy:
    """A small policy with drawn weights."""
    found = PointerPolicy(LinearEncoder(SIZE), SIZE)
    found.initialise(0)
    return found


@pytest.fixture
def instances() -> Instances:
    """Two instances of four customers."""
    return UniformGenerator(4, 12)(2, torch.Generator().manual_seed(0))


def expected(baseline, policy, instances, cost=COST):
    """Expected cost and the baseline's own loss."""
    return baseline(policy, policy.encode(instances).detach(), instances, cost)


def test_shared_is_the_mean_of_the_others(policy, instances):
    """Of costs 1, 3, 8 the others' means are 5.5, 4.5 and 2; of 2, 2, 5 they are 3.5, 3.5, 2."""
    found, loss = expected(SharedBaseline(), policy, instances)
    torch.testing.assert_close(found, torch.tensor([[5.5, 4.5, 2.0], [3.5, 3.5, 2.0]]))
    assert loss == 0


def test_shared_of_two():
    """With two solutions each is measured by the other."""
    found, _ = SharedBaseline()(None, None, None, torch.tensor([[1.0, 4.0]]))
    assert found.tolist() == [[4, 1]]


def test_shared_needs_two(policy):
    """One solution has no other; the error says what to do."""
    SharedBaseline().check(policy, 2)
    with pytest.raises(ValueError, match=r"num_rollouts is 1.*at least 2"):
        SharedBaseline().check(policy, 1)


@pytest.mark.parametrize("baseline", [ExponentialBaseline(), CriticBaseline(SIZE)])
def test_others_need_one(baseline, policy):
    """The critic and the average work with a single solution."""
    baseline.check(policy, 1)


def test_exponential_by_hand(policy, instances):
    """Means 4, 8 and 2 with decay 0.75: expected are 4, 4 and 0.75 * 4 + 0.25 * 8 = 5."""
    baseline = ExponentialBaseline(0.75)
    seen = []
    for mean in (4.0, 8.0, 2.0):
        cost = torch.tensor([[mean - 1, mean + 1]])
        found, loss = expected(baseline, policy, instances[:1], cost)
        assert found.shape == cost.shape
        assert loss == 0
        seen.append(found.unique().item())
    assert seen == pytest.approx([4, 4, 5])


def test_exponential_survives_a_checkpoint(policy, instances):
    """The average is part of what is saved."""
    one, two = ExponentialBaseline(0.5), ExponentialBaseline(0.5)
    expected(one, policy, instances, COST)
    two.load_state_dict(one.state_dict())
    for cost in (COST + 1, COST + 2):
        first, _ = expected(one, policy, instances, cost)
        second, _ = expected(two, policy, instances, cost)
        assert torch.equal(first, second)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_refused_decay(decay):
    """A decay out of range is named."""
    with pytest.raises(ValueError, match=f"decay is {decay}"):
        ExponentialBaseline(decay)


def critic() -> CriticBaseline:
    """A critic with drawn weights."""
    found = CriticBaseline(SIZE)
    found.initialise(0, None)
    return found


def test_critic_by_hand(policy, instances):
    """Embedded inputs weighted with the first step's probabilities, then two dense layers."""
    baseline = critic()
    found, loss = expected(baseline, policy, instances)
    with torch.no_grad():
        encoding, state = policy.encode(instances), reset(instances, 1)
        logits, _ = policy.step(
            encoding, policy.start(encoding, 1), state, legal_mask(instances, state)
        )
        embedded = policy.encoder(instances.coordinates())
        demand = instances.node_demand() / instances.capacity[:, None]
        inputs = torch.cat([embedded, demand[..., None]], -1)
        summary = (logits[:, 0].softmax(-1)[..., None] * inputs).sum(1)
        weight = dict(baseline.named_parameters())
        hidden = (summary @ weight["hidden.weight"].T + weight["hidden.bias"]).clamp(min=0)
        value = hidden @ weight["output.weight"].T + weight["output.bias"]
    torch.testing.assert_close(found.expand(2, 3), value.expand(2, 3))
    torch.testing.assert_close(loss, (value - COST).square().mean())


def test_critic_knows_no_action(policy, instances):
    """What it expects depends on the instance, not on what the tours cost."""
    baseline = critic()
    first, _ = expected(baseline, policy, instances, COST)
    second, _ = expected(baseline, policy, instances, COST * 10)
    assert torch.equal(first, second)


def test_critic_teaches_itself_only(policy, instances):
    """Its loss has a gradient for the critic and none for the policy."""
    baseline = critic()
    encoding = policy.encode(instances)
    found, loss = baseline(policy, encoding.detach(), instances, COST)
    assert not found.requires_grad
    loss.backward()
    assert all(parameter.grad is None for parameter in policy.parameters())
    assert all(parameter.grad.any() for parameter in baseline.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_critic_under_dropout(training, instances):
    """The critic sees the policy without dropout, in training too: nothing is left to chance."""
    policy = PointerPolicy(LinearEncoder(SIZE), SIZE, dropout=0.5)
    policy.initialise(0)
    plain = PointerPolicy(LinearEncoder(SIZE), SIZE)
    plain.initialise(0)
    first, _ = expected(critic(), policy.train(training), instances)
    second, _ = expected(critic(), plain, instances)
    torch.testing.assert_close(first, second)


def test_critic_learns(policy, instances):
    """Adam brings the loss down on costs that do not change."""
    baseline = critic()
    optimizer = torch.optim.Adam(baseline.parameters(), 0.03)
    losses = []
    for _ in range(150):
        _, loss = expected(baseline, policy, instances, torch.tensor([[2.0], [3.0]]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 < 1 < losses[0]


def test_critic_start():
    """Glorot's bounds and no bias, and another start for another seed."""
    one, two = critic(), CriticBaseline(SIZE)
    two.initialise(1, None)
    for name, value in one.named_parameters():
        if name.endswith("bias"):
            assert not value.any()
        else:
            assert value.abs().max() <= (6 / sum(value.shape)) ** 0.5
            assert not torch.equal(value, dict(two.named_parameters())[name])


@pytest.fixture
def rollout_baseline(policy) -> RolloutBaseline:
    """One whose epochs are 100 instances long."""
    found = RolloutBaseline(epoch_instances=100, eval_instances=200)
    found.begin(policy, UniformGenerator(4, 12), seed=1)
    found.initialise(0, policy)
    return found


def greedy_cost(policy, instances):
    """What plain greedy pays."""
    return Greedy()(policy.eval(), instances, torch.Generator()).cost


def test_rollout_warms_up_with_a_moving_average(rollout_baseline, policy, instances):
    """As `ExponentialBaseline` in the first epoch."""
    found, loss = expected(rollout_baseline, policy, instances)
    assert found.unique().tolist() == pytest.approx([3.5])
    assert loss == 0


def test_rollout_is_the_copys_greedy_cost(rollout_baseline, policy, instances):
    """Of the copy, whatever has become of the policy."""
    known = greedy_cost(policy, instances)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.neg_()
    rollout_baseline.end_warmup()
    found, loss = expected(rollout_baseline, policy, instances)
    assert found.shape == (2, 1)
    torch.testing.assert_close(found[:, 0].double(), known, rtol=1e-6, atol=1e-6)
    assert loss == 0


def test_rollout_goes_on_from_its_checkpoint(rollout_baseline, policy, instances):
    """A loaded baseline is in the epoch of the saved one."""
    rollout_baseline.after_step(policy, 100)
    rollout_baseline.is_better(*torch.rand(2, 200, generator=torch.Generator().manual_seed(0)))
    other = RolloutBaseline(epoch_instances=100, eval_instances=200)
    other.begin(policy, UniformGenerator(4, 12), seed=1)
    other.load_state_dict(rollout_baseline.state_dict())
    found, _ = expected(other, policy, instances)
    torch.testing.assert_close(found, expected(rollout_baseline, policy, instances)[0])
    assert found.shape == (2, 1)
    with torch.no_grad():
        policy.encoder.layer.bias.zero_()
    assert other.scalars() == rollout_baseline.scalars()
    assert "baseline/p" in other.scalars()
    before = other.costs.clone()
    other.after_step(policy, 199)
    assert torch.equal(other.costs, before)


def test_rollout_does_not_wait_for_the_device(rollout_baseline, policy, instances, monkeypatch):
    """Inside the warm-up epoch no tensor's value is asked for."""
    encoding = policy.encode(instances).detach()
    for name in ("__bool__", "__int__", "item"):
        monkeypatch.setattr(torch.Tensor, name, lambda _: pytest.fail("waited for the device"))
    rollout_baseline(policy, encoding, instances, COST)
    rollout_baseline.after_step(policy, 99)


def test_rollout_trains_nothing(rollout_baseline):
    """The copy has no parameter that an optimizer would take."""
    assert not any(parameter.requires_grad for parameter in rollout_baseline.parameters())


@pytest.mark.parametrize(("shift", "better"), [(-0.1, True), (0.0, False), (0.1, False)])
def test_the_better_policy_becomes_the_copy(rollout_baseline, policy, shift, better):
    """At the end of an epoch, and not before; then other instances are taken."""
    start = {name: value.clone() for name, value in rollout_baseline.copy.state_dict().items()}
    noise = torch.randn(200, generator=torch.Generator().manual_seed(0)).double() / 100
    assert rollout_baseline.costs.isnan().all()  # nothing is solved before it is needed
    assert "baseline/copy_cost" not in rollout_baseline.scalars()
    rollout_baseline._solve(rollout_baseline.copy, 0, rollout_baseline.costs, lambda: False)
    rollout_baseline.costs.add_(-shift + (noise - noise.mean() if shift else 0.0))
    before = rollout_baseline.costs.clone()
    rollout_baseline.after_step(policy, 99)
    assert torch.equal(rollout_baseline.costs, before)
    policy.encoder.layer.bias.data.add_(1e-5)  # changes every bias, and hardly a tour
    assert not any((policy.encoder.layer.bias == start["encoder.layer.bias"]).tolist())
    rollout_baseline.after_step(policy, 104)
    assert int(rollout_baseline.epochs) == 1
    assert int(rollout_baseline.replaced) == int(better)
    assert torch.equal(rollout_baseline.costs, before) is not better
    found, expected = rollout_baseline.copy.state_dict(), policy.state_dict() if better else start
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_comparison_in_pieces(rollout_baseline, policy, monkeypatch):
    """Each solves one batch and is stopped; none is solved twice, and the end is the same."""
    policy.encoder.layer.bias.data.add_(0.3)
    whole = RolloutBaseline(epoch_instances=100, eval_instances=200, significance=0.999)
    whole.begin(policy, UniformGenerator(4, 12), seed=1)
    whole.load_state_dict(rollout_baseline.state_dict())
    rollout_baseline.significance = 0.999
    monkeypatch.setattr("vrp.search.deterministic._MOST", 50)
    solved, solve = [], Greedy.__call__

    def counted(*arguments: object) -> object:
        solved.append(len(arguments[2]))
        return solve(*arguments)

    monkeypatch.setattr(Greedy, "__call__", counted)
    whole.after_step(policy, 100)
    needed = len(solved)
    assert needed == 4 * (3 if int(whole.replaced) else 2)
    pieces = 0
    while rollout_baseline.is_due(100):
        before = len(solved)
        state = rollout_baseline.state_dict()
        rollout_baseline = RolloutBaseline(100, 200, significance=0.999)
        rollout_baseline.begin(policy, UniformGenerator(4, 12), seed=1)
        rollout_baseline.load_state_dict(state)
        rollout_baseline.after_step(policy, 100, lambda before=before: len(solved) > before)
        assert len(solved) == before + 1
        pieces += 1
    assert pieces == needed
    assert len(solved) == 2 * needed
    ours, theirs = rollout_baseline.state_dict(), whole.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=0, equal_nan=True)


def test_the_paired_test_is_scipys(rollout_baseline):
    """The p-value that decides is that of a one-sided paired t-test."""
    random = torch.Generator().manual_seed(2)
    for shift in (-0.02, -0.012, -0.01, -0.004, 0.0, 0.01):
        old = torch.rand(2000, generator=random).double() + 4
        new = old + shift + torch.randn(2000, generator=random).double() / 4
        p_value = scipy.stats.ttest_rel(new, old, alternative="less").pvalue
        for level in (0.01, 0.05, 0.3):
            rollout_baseline.significance = level
            if abs(p_value - level) > 1e-3:
                assert rollout_baseline.is_better(new, old) == (p_value < level)
        assert rollout_baseline.scalars()["baseline/p"] == pytest.approx(p_value, abs=1e-3)


def test_equal_costs_are_no_improvement(rollout_baseline):
    """Not even though their difference has no spread."""
    costs = torch.ones(200).double()
    assert not rollout_baseline.is_better(costs, costs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epoch_instances": 0}, "epoch_instances is 0"),
        ({"eval_instances": 99}, "eval_instances is 99; it must be at least 100"),
        ({"significance": 1.0}, "significance is 1.0"),
        ({"warmup_epochs": -1}, "warmup_epochs is -1"),
        ({"decay": 1.0}, "decay is 1.0"),
    ],
)
def test_rollout_arguments(arguments, message):
    """Each is refused with its name, its value and what is allowed."""
    with pytest.raises(ValueError, match=message):
        RolloutBaseline(**arguments)
