"""The pointer network against the paper's equations, a step at a time and all steps at once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from situations import SITUATIONS, uniform
from textbook import Play, random_play, textbook_log_prob, textbook_logits
from torch import Tensor

from vrp.policy import AttentionPolicy, PointerPolicy
from vrp.policy.choice import Choice
from vrp.policy.encoders import Conv1dEncoder, EmbeddingEncoder, LinearEncoder
from vrp.problem import Instances
from vrp.problem.environment import legal_mask, reset, step
from vrp.search.rollout import rollout

SIZE = 16
VARIANTS = {
    "paper": {"scale_demand": False, "init": "glorot"},
    "released code": {"glimpses": 0, "scale_demand": False, "init": "glorot"},
    "scaled": {},
    "scaled, no glimpse": {"glimpses": 0},
    "clipped": {"tanh_clipping": 10.0},
    "clipped, no glimpse": {"tanh_clipping": 10.0, "glimpses": 0},
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)
every_situation = pytest.mark.parametrize("situation", SITUATIONS)


def make_policy(variant: str = "scaled", seed: int = 0, **changes) -> PointerPolicy:
    """A small policy whose weights are drawn, large enough to have opinions."""
    arguments = VARIANTS[variant] | changes
    policy = PointerPolicy(LinearEncoder(SIZE), SIZE, **arguments)
    policy.initialise(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1.5)
    return policy.eval()


def step_through(
    policy: PointerPolicy, instances: Instances, play: Play, dropout_mask: Tensor | None = None
) -> Tensor:
    """(N, K, T, V) logits of the policy, one step after another along given tours."""
    encoding = policy.encode(instances).detach()
    state = reset(instances, play.actions.shape[1])
    decoder = policy.start(encoding, play.actions.shape[1], dropout_mask)
    logits = []
    for action in play.actions.unbind(-1):
        found, decoder = policy.step(encoding, decoder, state, legal_mask(instances, state))
        logits.append(found)
        state = step(instances, state, action)
    return torch.stack(logits, 2)


def entropy_of(logits: Tensor, play: Play) -> Tensor:
    """(N, K, T) entropy of each step's distribution, 0 once the tour is closed."""
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    return torch.where(play.open, entropy, 0.0)


@every_situation
@every_variant
def test_step_is_the_textbook(variant, situation):
    """One step at a time gives the logits of the paper's equations, to 1e-4."""
    policy, instances = make_policy(variant), SITUATIONS[situation]
    play = random_play(instances, 3)
    expected = textbook_logits(policy, instances, play).float()
    found = step_through(policy, instances, play)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@every_situation
@every_variant
def test_replay_is_the_textbook(variant, situation):
    """All steps at once give the log-probabilities of the paper's equations, to 1e-4."""
    policy, instances = make_policy(variant), SITUATIONS[situation]
    play = random_play(instances, 3)
    expected = textbook_log_prob(textbook_logits(policy, instances, play), play).float()
    found = policy.log_probs(policy.encode(instances), instances, play.actions)
    torch.testing.assert_close(found.log_prob, expected, rtol=1e-4, atol=1e-4)


@every_situation
@every_variant
def test_replay_is_the_steps(variant, situation):
    """Both views give one log-probability and one entropy."""
    policy, instances = make_policy(variant), SITUATIONS[situation]
    play = random_play(instances, 4, seed=1)
    logits = step_through(policy, instances, play)
    replay = policy.log_probs(policy.encode(instances), instances, play.actions)
    torch.testing.assert_close(
        replay.log_prob, textbook_log_prob(logits, play), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(replay.entropy, entropy_of(logits, play), rtol=1e-4, atol=1e-4)


@every_variant
@pytest.mark.parametrize("split", [False, True])
def test_dropout_is_one_mask_per_tour(variant, split):
    """Both views drop the same inputs at every step, as the textbook does with that mask."""
    policy = make_policy(variant, dropout=0.4).train()
    instances = uniform(5, 12, 3, split_delivery=split)
    play = random_play(instances, 3)
    mask = policy.dropout_mask(3, 3, torch.Generator().manual_seed(0))
    logits = textbook_logits(policy, instances, play, mask)
    torch.testing.assert_close(
        step_through(policy, instances, play, mask), logits.float(), rtol=1e-4, atol=1e-4
    )
    replay = policy.log_probs(policy.encode(instances), instances, play.actions, dropout_mask=mask)
    expected = textbook_log_prob(logits, play).float()
    torch.testing.assert_close(replay.log_prob, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("situation", ["several trips", "some need nothing", "split, random"])
def test_replay_of_recorded_steps(situation, dropout):
    """With the LSTM's states from the steps themselves the replay is the same, gradient too."""
    policy, instances = make_policy(dropout=dropout).train(), SITUATIONS[situation]
    n, k = len(instances), 3
    mask = policy.dropout_mask(n, k, torch.Generator().manual_seed(0))
    encoding, tape = policy.encode(instances), []
    uniforms = torch.rand(30, n, k, generator=torch.Generator().manual_seed(1))
    choose = Choice(uniforms)
    actions = rollout(policy, instances, encoding.detach(), k, choose, None, mask, tape)
    parameters = list(policy.parameters())
    found = []
    for recorded in (None, tape):
        replay = policy.log_probs(
            policy.encode(instances), instances, actions, dropout_mask=mask, tape=recorded
        )
        gradient = torch.autograd.grad(replay.log_prob.sum(), parameters, materialize_grads=True)
        found.append([replay.log_prob, replay.entropy, *gradient])
    for computed, recorded in zip(*found, strict=True):
        torch.testing.assert_close(recorded, computed, rtol=1e-4, atol=1e-5)


def test_dropout_mask_keeps_the_mean():
    """An input is dropped with the given chance, and scaled up where it is kept."""
    policy = make_policy(dropout=0.25).train()
    mask = policy.dropout_mask(100, 10, torch.Generator().manual_seed(0))
    assert mask.unique().tolist() == pytest.approx([0, 4 / 3])
    assert mask.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("dropout", "training"), [(0.0, True), (0.25, False)])
def test_no_dropout(dropout, training):
    """Nothing is dropped outside training, nor where dropout is 0."""
    policy = make_policy(dropout=dropout).train(training)
    assert policy.dropout_mask(2, 2, torch.Generator()) is None


@every_situation
def test_closed_tours_count_nothing(situation):
    """Waiting at the depot has log-probability 0 and entropy 0, exactly."""
    policy, instances = make_policy(), SITUATIONS[situation]
    play = random_play(instances, 3, padding=4)
    replay = policy.log_probs(policy.encode(instances), instances, play.actions)
    assert not play.open[..., -4:].any()
    assert (replay.log_prob[~play.open] == 0).all()
    assert (replay.entropy[~play.open] == 0).all()


def test_the_only_way_is_certain():
    """A step with a single legal node has log-probability and entropy 0."""
    policy = make_policy()
    instances = SITUATIONS["every customer fills the vehicle"]
    play = random_play(instances, 3)
    replay = policy.log_probs(policy.encode(instances), instances, play.actions)
    alone = play.legal.sum(-1) == 1
    assert (play.open & alone).any()
    assert (replay.log_prob[alone] == 0).all()
    assert (replay.entropy[alone].abs() < 1e-6).all()


@pytest.mark.parametrize("forced", [1, 2, 3])
def test_forced_steps_count_nothing(forced):
    """Imposed steps count 0 in log-probability and entropy; the later ones as ever."""
    policy, instances = make_policy(), SITUATIONS["several trips"]
    play = random_play(instances, 3)
    encoding = policy.encode(instances)
    free = policy.log_probs(encoding, instances, play.actions)
    imposed = policy.log_probs(encoding, instances, play.actions, forced)
    assert (imposed.log_prob[..., :forced] == 0).all()
    assert (imposed.entropy[..., :forced] == 0).all()
    assert torch.equal(imposed.log_prob[..., forced:], free.log_prob[..., forced:])
    assert torch.equal(imposed.entropy[..., forced:], free.entropy[..., forced:])


def test_forced_steps_teach_nothing():
    """A tour imposed in whole gives no gradient."""
    policy, instances = make_policy(), SITUATIONS["several trips"]
    play = random_play(instances, 2)
    encoding = policy.encode(instances)
    replay = policy.log_probs(encoding, instances, play.actions, play.actions.shape[-1])
    replay.log_prob.sum().backward()
    assert all(not p.grad.any() for p in policy.parameters() if p.grad is not None)


@pytest.mark.parametrize("situation", ["several trips", "some need nothing", "split, random"])
@every_variant
def test_gradient_is_the_textbook(variant, situation):
    """The replay's gradient is that of plain autograd through the paper's equations."""
    policy, instances = make_policy(variant), SITUATIONS[situation]
    play = random_play(instances, 3)
    weights = torch.linspace(-1, 1, len(instances) * 3).view(-1, 3)
    parameters = dict(policy.named_parameters())
    plain = textbook_log_prob(textbook_logits(policy, instances, play), play).sum(-1)
    expected = torch.autograd.grad((plain * weights).sum(), parameters.values())
    replay = policy.log_probs(policy.encode(instances), instances, play.actions)
    found = torch.autograd.grad(
        (replay.log_prob.sum(-1) * weights).sum(), parameters.values(), materialize_grads=True
    )
    for name, ours, theirs in zip(parameters, found, expected, strict=True):
        scale = theirs.abs().max().item()
        torch.testing.assert_close(
            ours, theirs, rtol=0, atol=1e-5 + 3e-4 * scale, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize("split", [False, True])
def test_gradient_under_dropout(split):
    """As `test_gradient_is_the_textbook`, with one mask per tour."""
    policy = make_policy(dropout=0.4).train()
    instances = uniform(5, 12, 3, split_delivery=split)
    play = random_play(instances, 2)
    mask = policy.dropout_mask(3, 2, torch.Generator().manual_seed(0))
    parameters = dict(policy.named_parameters())
    plain = textbook_log_prob(textbook_logits(policy, instances, play, mask), play).sum()
    expected = torch.autograd.grad(plain, parameters.values())
    replay = policy.log_probs(policy.encode(instances), instances, play.actions, dropout_mask=mask)
    found = torch.autograd.grad(replay.log_prob.sum(), parameters.values(), materialize_grads=True)
    for ours, theirs in zip(found, expected, strict=True):
        scale = theirs.abs().max().item()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 + 3e-4 * scale)


def test_gradient_reaches_the_embedding():
    """Through the table of the embedding encoder the gradient is the textbook's, too."""
    policy = PointerPolicy(EmbeddingEncoder(SIZE, bins=4), SIZE)
    policy.initialise(0)
    instances = SITUATIONS["several trips"]
    play = random_play(instances, 2)
    table = policy.encoder.table.weight
    plain = textbook_log_prob(textbook_logits(policy, instances, play), play).sum()
    (expected,) = torch.autograd.grad(plain, table)
    replay = policy.log_probs(policy.encode(instances), instances, play.actions)
    (found,) = torch.autograd.grad(replay.log_prob.sum(), table)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@every_situation
@every_variant
def test_renumbering_customers_permutes_logits(variant, situation):
    """The policy knows customers by place and demand, not by number."""
    policy, instances = make_policy(variant), SITUATIONS[situation]
    order = torch.randperm(instances.num_customers, generator=torch.Generator().manual_seed(0))
    renumbered = replace(
        instances, customers=instances.customers[:, order], demand=instances.demand[:, order]
    )
    nodes = torch.cat([torch.zeros(1, dtype=torch.int64), order + 1])
    play = random_play(instances, 2)
    renumbered_play = replace(play, actions=nodes.argsort()[play.actions])
    logits = step_through(policy, instances, play)
    permuted = step_through(policy, renumbered, renumbered_play)
    torch.testing.assert_close(permuted, logits[..., nodes], rtol=1e-4, atol=1e-5)


def test_solutions_side_by_side_do_not_meet():
    """The logits of one solution are the same whatever the others of its instance do."""
    policy, instances = make_policy(), SITUATIONS["several trips"]
    play = random_play(instances, 4)
    together = step_through(policy, instances, play)
    alone = step_through(policy, instances, replace(play, actions=play.actions[:, 2:3]))
    torch.testing.assert_close(alone[:, 0], together[:, 2], rtol=1e-5, atol=1e-6)


def test_instances_side_by_side_do_not_meet():
    """The logits of one instance are the same whatever else is in the batch."""
    policy, instances = make_policy(), SITUATIONS["several trips"]
    play = random_play(instances, 2)
    together = step_through(policy, instances, play)
    alone = step_through(policy, instances[1:2], replace(play, actions=play.actions[1:2]))
    torch.testing.assert_close(alone[0], together[1], rtol=1e-5, atol=1e-6)


def test_select_carries_the_memory_over():
    """A decoder's memory moved to another solution goes on there as it was."""
    policy, instances = make_policy(dropout=0.3).train(), SITUATIONS["several trips"]
    play = random_play(instances, 3)
    mask = policy.dropout_mask(len(instances), 3, torch.Generator().manual_seed(0))
    index = torch.tensor([[2, 0, 0]]).expand(len(instances), 3)
    encoding = policy.encode(instances).detach()
    state, decoder = reset(instances, 3), policy.start(encoding, 3, mask)
    for action in play.actions.unbind(-1)[:3]:
        _, decoder = policy.step(encoding, decoder, state, legal_mask(instances, state))
        state = step(instances, state, action)
    here, _ = policy.step(encoding, decoder, state, legal_mask(instances, state))
    moved = replace(
        state,
        position=state.position.gather(1, index),
        load=state.load.gather(1, index),
        remaining=state.remaining[:, [2, 0, 0]],
    )
    there, _ = policy.step(encoding, decoder.select(index), moved, legal_mask(instances, moved))
    torch.testing.assert_close(there, here[:, [2, 0, 0]], rtol=1e-5, atol=1e-6)


def test_step_keeps_what_it_is_given():
    """A step changes neither the encoding, nor the memory, nor the state before it."""
    policy, instances = make_policy(), SITUATIONS["several trips"]
    play = random_play(instances, 2)
    encoding = policy.encode(instances).detach()
    state, decoder = reset(instances, 2), policy.start(encoding, 2)
    _, decoder = policy.step(encoding, decoder, state, legal_mask(instances, state))
    state = step(instances, state, play.actions[..., 0])
    legal = legal_mask(instances, state)
    first, _ = policy.step(encoding, decoder, state, legal)
    second, _ = policy.step(encoding, decoder, state, legal)
    assert torch.equal(first, second)


@pytest.mark.parametrize("encoder", [Conv1dEncoder, LinearEncoder, EmbeddingEncoder])
def test_replay_keeps_every_weight(encoder):
    """Neither encoding nor a replay changes what the policy holds, outside training."""
    extra = {"max_norm": 0.1} if encoder is EmbeddingEncoder else {}
    policy = PointerPolicy(encoder(SIZE, **extra), SIZE, dropout=0.1)
    policy.initialise(0)
    policy.eval()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    instances = SITUATIONS["several trips"]
    play = random_play(instances, 2)
    policy.log_probs(policy.encode(instances), instances, play.actions)
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())


@pytest.mark.parametrize(
    "build", [PointerPolicy, partial(AttentionPolicy, num_layers=2, num_heads=2)]
)
def test_same_seed_same_decoder(build):
    """All but the encoder starts from the same numbers whichever encoder it is."""
    starts = []
    for encoder in (Conv1dEncoder(SIZE), LinearEncoder(SIZE), EmbeddingEncoder(SIZE)):
        policy = build(encoder, SIZE)
        policy.initialise(5)
        rest = {k: v for k, v in policy.state_dict().items() if "encoder." not in k}
        starts.append(rest)
    assert len(starts[0]) > 10
    for other in starts[1:]:
        assert other.keys() == starts[0].keys()
        assert all(torch.equal(other[name], value) for name, value in starts[0].items())


def test_another_seed_another_start():
    """Every drawn parameter depends on the seed."""
    one, two = (dict(make_policy(seed=seed).named_parameters()) for seed in (0, 1))
    assert all(not torch.equal(one[name], two[name]) for name in one)


def test_a_part_left_out_changes_no_other():
    """Without a glimpse the pointer starts as it does with one."""
    one = dict(make_policy(glimpses=1).named_parameters())
    two = dict(make_policy(glimpses=0).named_parameters())
    assert two.keys() < one.keys()
    assert all(torch.equal(one[name], value) for name, value in two.items())


def test_glorot_start():
    """TensorFlow's start: bounds by fan in and out, no bias but the forget gate's, which is 1."""
    policy = PointerPolicy(LinearEncoder(64, init="glorot"), 64, init="glorot")
    policy.initialise(0)
    for name, value in policy.named_parameters():
        if name == "lstm.bias_ih_l0":
            assert (value[64:128] == 1).all()
            assert not value[:64].any()
            assert not value[128:].any()
        elif "bias" in name:
            assert not value.any(), name
        else:
            # TensorFlow keeps both matrices of the LSTM in one kernel of (2M, 4M).
            fans = 64 + 5 * 64 if name.startswith("lstm.") else sum(value.shape)
            bound = (6 / fans) ** 0.5
            assert 0.9 * bound < value.abs().max() <= bound, name


def test_torch_start():
    """PyTorch's own start: bounds by fan in for weights and biases, by size for the LSTM."""
    policy = make_policy()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.div_(1.5)
    for name, value in policy.named_parameters():
        fan_in = {"encoder.layer.bias": 2, "demand_embedding.bias": 1, "load_embedding.bias": 1}
        if name.startswith("lstm."):
            bound = SIZE**-0.5
        else:
            bound = fan_in.get(name, value.shape[-1]) ** -0.5
        assert 0.6 * bound < value.abs().max() <= bound * 1.0001, name


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"embedding_dim": SIZE + 1}, f"{SIZE}.*{SIZE + 1}"),  # the encoder has another
        ({"glimpses": 2}, "glimpses is 2"),
        ({"dropout": 1.0}, "dropout is 1"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"tanh_clipping": -1.0}, "tanh_clipping is -1"),
        ({"init": "xavier"}, "init is 'xavier'"),
    ],
)
def test_refused_settings(arguments, named):
    """A setting out of range is named with its value."""
    with pytest.raises(ValueError, match=named):
        PointerPolicy(LinearEncoder(SIZE), **({"embedding_dim": SIZE} | arguments))


@pytest.mark.parametrize("init", ["torch", "glorot"])
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("capacity", [200, 1000])
def test_large_goods(capacity, split, init):
    """Whole demands up to 100 and loads up to the capacity, as CVRPLIB's X set has them."""
    instances = uniform(10, capacity, 20, max_demand=100, split_delivery=split)
    policy = PointerPolicy(LinearEncoder(128, init), scale_demand=False, init=init)
    policy.initialise(0)
    play = random_play(instances, 1)
    expected = textbook_logits(policy.eval(), instances, play).float()
    found = step_through(policy, instances, play)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
