"""Where playing and replaying wait for the device; counted, so that a CPU shows it, too."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vrp.policy import PointerPolicy
from vrp.policy.choice import Choice
from vrp.policy.encoders import Conv1dEncoder, EmbeddingEncoder, LinearEncoder
from vrp.problem import Instances
from vrp.problem.environment import legal_mask, reset, step
from vrp.search.rollout import greedy_choice, rollout
from vrp.training.baselines import CriticBaseline, SharedBaseline
from vrp.training.learner import Learner

# Each of these needs a number from the device, or makes a tensor whose size depends on one.
WAITING = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "unique_consecutive",
    "unique_dim",
}
CUSTOMERS = 16


class Waits(TorchDispatchMode):
    """Counts what waits for the device while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if name in WAITING or masks:
            self.count[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=["whole", "split"])
def long_tours(request: pytest.FixtureRequest) -> Instances:
    """Customers that fill a vehicle each, so a tour has twice as many steps as customers."""
    random = torch.Generator().manual_seed(0)
    return Instances(
        torch.rand(3, 2, generator=random),
        torch.rand(3, CUSTOMERS, 2, generator=random),
        torch.full((3, CUSTOMERS), 5),
        torch.full((3,), 5),
        split_delivery=request.param == "split",
    )


def test_the_count_counts():
    """What waits is seen; what does not is not."""
    x = torch.arange(4)
    with Waits() as waits:
        x[x > 1]
        bool((x > 1).all())
        x.nonzero()
        x.max().item()
        x.gather(0, x).where(x > 1, 0).sum(0)
    assert waits.count["index"] == 1
    assert waits.count["nonzero"] == 1
    assert waits.count["is_nonzero"] + waits.count["_local_scalar_dense"] >= 2
    assert waits.count.total() <= 5


@pytest.mark.parametrize("choice", ["greedy", "sampled"])
def test_rollout_waits_every_few_steps(choice, policy, long_tours):
    """No wait before every customer can have been visited, then one in four steps, and a few."""
    encoding = policy.encode(long_tours).detach()
    uniforms = torch.rand(4 * CUSTOMERS, 3, 2, generator=torch.Generator().manual_seed(0))
    choose = greedy_choice if choice == "greedy" else Choice(uniforms)
    with Waits() as waits:
        actions = rollout(policy, long_tours, encoding, 2, choose)
    steps = actions.shape[-1]
    assert steps == 2 * CUSTOMERS
    assert waits.count.total() <= (steps - CUSTOMERS) // 4 + 5


def test_step_never_waits(policy, long_tours):
    """A step of decoding, its mask and the environment's step included."""
    encoding = policy.encode(long_tours).detach()
    state, decoder = reset(long_tours, 2), policy.start(encoding, 2)
    with Waits() as waits:
        for _ in range(10):
            legal = legal_mask(long_tours, state)
            logits, decoder = policy.step(encoding, decoder, state, legal)
            state = step(long_tours, state, logits.argmax(-1))
    assert not waits.count


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_replay_never_waits(dropout, long_tours):
    """Encoding, replaying and the backward pass ask the device for nothing."""
    policy = PointerPolicy(LinearEncoder(8), 8, dropout=dropout)
    policy.initialise(0)
    actions = torch.zeros(3, 2, 2 * CUSTOMERS, dtype=torch.int64)
    actions[..., ::2] = torch.arange(1, CUSTOMERS + 1)
    mask = policy.dropout_mask(3, 2, torch.Generator().manual_seed(0))
    with Waits() as waits:
        encoding = policy.encode(long_tours)
        replay = policy.log_probs(encoding, long_tours, actions, dropout_mask=mask)
        replay.log_prob.sum().backward()
    assert not waits.count


@pytest.mark.parametrize(
    "baseline", [SharedBaseline(), CriticBaseline(16)], ids=["shared", "critic"]
)
def test_learning_waits_no_more_than_playing(baseline, policy, long_tours):
    """A whole step of learning, backward pass included, waits only where its rollout does."""
    learner = Learner(policy, baseline, num_rollouts=2).train()
    draws = learner.draw(long_tours, torch.Generator().manual_seed(0))
    with Waits() as playing:
        encoding = policy.encode(long_tours).detach()
        rollout(policy, long_tours, encoding, 2, Choice(draws.uniforms))
    with Waits() as learning:
        learner(long_tours, draws).loss.backward()
    assert learning.count.total() <= playing.count.total()


@pytest.mark.parametrize("encoder", [Conv1dEncoder, LinearEncoder, EmbeddingEncoder])
def test_replay_needs_no_number(encoder, long_tours):
    """On the meta device, where no tensor has numbers, any wait is an error."""
    policy = PointerPolicy(encoder(8), 8).to("meta")
    instances = long_tours.to("meta")
    actions = torch.zeros(3, 2, 8, dtype=torch.int64, device="meta")
    encoding = policy.encode(instances)
    replay = policy.log_probs(encoding, instances, actions)
    replay.log_prob.sum().backward()
    assert replay.log_prob.shape == actions.shape
    state = reset(instances, 2)
    logits, _ = policy.step(
        encoding.detach(), policy.start(encoding, 2), state, legal_mask(instances, state)
    )
    assert logits.shape == (3, 2, CUSTOMERS + 1)
