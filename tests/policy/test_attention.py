"""The attention policy against the published networks, a step at a time and all steps at once."""

from __future__ import annotations

import pytest
import torch
from published_networks import (
    kool_logits,
    kool_state,
    notebook_logits,
    notebook_state,
    pomo_logits,
    pomo_state,
)
from situations import SITUATIONS, uniform
from textbook import Play, random_play, textbook_log_prob
from torch import Tensor

from vrp.evaluation.trained import find_checkpoint, load_trained
from vrp.policy import AttentionPolicy, glimpse
from vrp.policy.choice import Choice
from vrp.policy.encoders import Conv1dEncoder, EmbeddingEncoder, LinearEncoder
from vrp.policy.normalisation import BatchNorm
from vrp.policy.trunk import attend
from vrp.problem import Instances
from vrp.problem.datasets import standard_set
from vrp.problem.environment import legal_mask, reset, seen_before_each_step, step
from vrp.search.rollout import rollout
from vrp.search.starts import each_customer

SIZE, HEADS = 16, 4
KOOL = {"normalization": "batch", "graph_context": True, "combine_bias": False,
        "pointer_projection": True}  # fmt: skip
VARIANTS = {
    "kool": KOOL,
    "kool, instance normalisation": KOOL | {"normalization": "instance"},
    "pomo": {},
    "pomo, batch normalisation": {"normalization": "batch"},
    "pomo, notebooks": {"normalization": "batch", "graph_context": True},
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)
every_situation = pytest.mark.parametrize("situation", SITUATIONS)


def make_policy(variant: str = "pomo", seed: int = 0, **changes) -> AttentionPolicy:
    """A small policy whose weights are drawn, norms too; their statistics are of instances."""
    arguments = {"num_layers": 2, "num_heads": HEADS, "feed_forward_dim": 24} | VARIANTS[variant]
    policy = AttentionPolicy(LinearEncoder(SIZE), SIZE, **(arguments | changes))
    policy.initialise(seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn(parameter.shape, generator=random) / 2)
            else:
                parameter.mul_(1.3)
    # Drawn statistics would make all nodes alike and every logit 10, whatever the weights.
    sample = policy.in_float32().train()
    for module in sample.modules():
        if isinstance(module, BatchNorm):
            module.momentum = 1.0
    sample.encode(uniform(6, 14, 50))
    for name, value in policy.named_buffers():
        if not name.endswith("num_batches_tracked"):
            value.copy_(sample.get_buffer(name))
    return policy.eval()


def published_logits(policy: AttentionPolicy, instances: Instances, play: Play) -> Tensor:
    """What the network that `policy` is should say, float64."""
    if policy.pointer is None and policy.graph is not None:
        return notebook_logits(notebook_state(policy), instances, play, HEADS, policy.training)
    if policy.graph is not None:
        return kool_logits(kool_state(policy), instances, play, policy.training)
    return pomo_logits(pomo_state(policy), instances, play, HEADS, policy.training)


def textbook_entropy(logits: Tensor, play: Play) -> Tensor:
    """(N, K, T) entropy of each step's distribution, 0 once the tour is closed."""
    log_probs = logits.log_softmax(-1)
    terms = log_probs.exp() * log_probs.masked_fill(~play.legal, 0.0)
    return torch.where(play.open, -terms.sum(-1), 0.0)


def step_through(policy: AttentionPolicy, instances: Instances, play: Play) -> Tensor:
    """(N, K, T, V) logits, one step after another along given tours."""
    encoding = policy.encode(instances).detach()
    k = play.actions.shape[1]
    state, memory, logits = reset(instances, k), policy.start(encoding, k), []
    for action in play.actions.unbind(-1):
        found, memory = policy.step(encoding, memory, state, legal_mask(instances, state))
        logits.append(found)
        state = step(instances, state, action)
    return torch.stack(logits, 2)


@pytest.mark.parametrize("name", ["cvrp20-attention", "cvrp100-attention"])
def test_trained_weights_give_the_published_logits(name):
    """Their scores are 40 and more apart, where small random ones say nothing of cutting them."""
    policy = load_trained(*find_checkpoint(name)).policy.in_float32().eval()
    instances = standard_set("kool100")[16:17]
    scores = policy.encode(instances).tables.scores.unflatten(-1, (-1, instances.num_nodes))
    assert (scores.amax(-1) - scores.amin(-1)).max() > 30
    play = random_play(instances, 4)
    expected = pomo_logits(pomo_state(policy), instances, play, policy.num_heads, False)
    found = step_through(policy, instances, play).double()
    apart = (found - expected).masked_fill(~play.legal, 0.0).abs().max()
    assert apart < 2e-3, apart


@every_situation
@every_variant
def test_step_is_the_published_network(variant, situation):
    """One step at a time gives the logits of the papers' equations."""
    policy, instances = make_policy(variant), SITUATIONS[situation]
    play = random_play(instances, 3)
    expected = published_logits(policy, instances, play).float()
    torch.testing.assert_close(
        step_through(policy, instances, play), expected, rtol=1e-4, atol=1e-4
    )


@every_situation
@every_variant
def test_replay_is_the_published_network(variant, situation):
    """All steps at once give its log-probabilities and entropies."""
    policy, instances = make_policy(variant), SITUATIONS[situation]
    play = random_play(instances, 3)
    logits = published_logits(policy, instances, play)
    found = policy.log_probs(policy.encode(instances), instances, play.actions)
    expected = textbook_log_prob(logits, play).float()
    torch.testing.assert_close(found.log_prob, expected, rtol=1e-4, atol=1e-4)
    expected = textbook_entropy(logits, play).float()
    torch.testing.assert_close(found.entropy, expected, rtol=1e-4, atol=1e-4)


@every_variant
@pytest.mark.parametrize("training", [False, True])
def test_gradient_is_the_published_networks(variant, training):
    """Of log-probability and entropy, in every parameter, with the batch's statistics too."""
    policy = make_policy(variant).train(training)
    instances = uniform(6, 14, 4)
    play = random_play(instances, 3)
    weights = torch.randn(play.actions.shape, generator=torch.Generator().manual_seed(5))

    def loss(log_prob: Tensor, entropy: Tensor) -> Tensor:
        return (weights * log_prob).sum() + 0.7 * (weights * entropy).sum()

    logits = published_logits(policy, instances, play)
    expected = loss(textbook_log_prob(logits, play), textbook_entropy(logits, play))
    replay = policy.log_probs(policy.encode(instances), instances, play.actions)
    parameters = dict(policy.named_parameters())
    ours = torch.autograd.grad(loss(replay.log_prob, replay.entropy), parameters.values())
    theirs = torch.autograd.grad(expected, parameters.values())
    # A bias before a normalisation has no gradient at all, so nothing to measure itself by.
    largest = max(gradient.abs().max() for gradient in theirs)
    for name, found, wanted in zip(parameters, ours, theirs, strict=True):
        scale = wanted.abs().max().clamp(min=0.01 * largest)
        torch.testing.assert_close(
            found / scale, wanted / scale, rtol=1e-3, atol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("nodes", [2, 64, 65, 101])
def test_attention_of_all_nodes_is_the_textbooks(nodes):
    """With its gradients: written out, and where PyTorch's fused call takes its place."""
    random = torch.Generator().manual_seed(nodes)
    shape = (3, 2, HEADS, nodes, 5)
    heads = torch.randn(shape, generator=random, dtype=torch.float64, requires_grad=True)
    queries, keys, values = heads
    scores = torch.einsum("nhid,nhjd->nhij", queries, keys) / 5**0.5
    expected = torch.einsum("nhij,nhjd->nhid", scores.softmax(-1), values)
    found = attend(queries, keys, values)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(found.shape, generator=random, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad(seen, heads, weights)[0] for seen in (found, expected))
    torch.testing.assert_close(ours, theirs)


@every_variant
def test_forced_steps_count_nothing(variant):
    """The first customer of a multi-start is no choice of the policy's."""
    policy, instances = make_policy(variant), uniform(5, 12, 3)
    encoding, first = policy.encode(instances), each_customer(instances)
    uniforms = torch.rand(11, 3, 5, generator=torch.Generator().manual_seed(0))
    choose = Choice(uniforms)
    actions = rollout(policy, instances, encoding.detach(), 5, choose, first)
    assert torch.equal(actions[..., 0], first)
    free = policy.log_probs(encoding, instances, actions)
    imposed = policy.log_probs(encoding, instances, actions, forced=1)
    assert (imposed.log_prob[..., 0] == 0).all()
    assert (imposed.entropy[..., 0] == 0).all()
    assert torch.equal(imposed.log_prob[..., 1:], free.log_prob[..., 1:])


@every_variant
def test_statistics_move_once_per_encoding(variant):
    """In training only, and a replay moves nothing."""
    policy, instances = make_policy(variant), uniform(5, 12, 3)
    buffers = {name: value.clone() for name, value in policy.named_buffers()}
    encoding = policy.encode(instances)
    policy.train().log_probs(encoding, instances, random_play(instances, 2).actions)
    assert all(torch.equal(value, buffers[name]) for name, value in policy.named_buffers())
    policy.encode(instances)
    steps = [value for name, value in policy.named_buffers() if name.endswith("tracked")]
    assert all(value == 1 for value in steps)
    assert bool(steps) == (VARIANTS[variant].get("normalization") == "batch")


def test_order_of_customers_does_not_matter():
    """Renumbered customers have the same logits under their new numbers."""
    policy, instances = make_policy(), uniform(6, 14, 3)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    moved = Instances(
        instances.depot, instances.customers[:, order], instances.demand[:, order],
        instances.capacity,
    )  # fmt: skip
    logits = []
    for x in (instances, moved):
        encoding, state = policy.encode(x).detach(), reset(x, 1)
        memory = policy.start(encoding, 1)
        logits.append(policy.step(encoding, memory, state, legal_mask(x, state))[0])
    torch.testing.assert_close(logits[1][..., 1:], logits[0][..., 1:][..., order])


@pytest.mark.parametrize("scheme", ["torch", "glorot"])
def test_encoders_share_their_start(scheme):
    """conv1d and linear from one seed are one function, the trunk's weights equal bit for bit."""
    instances, policies = uniform(5, 12, 2), []
    for encoder in (Conv1dEncoder, LinearEncoder, EmbeddingEncoder):
        policy = AttentionPolicy(encoder(SIZE), SIZE, 2, HEADS, 24, init=scheme)
        policy.initialise(3)
        policies.append(policy)
    conv1d, linear, embedding = policies
    found, expected = (p.encode(instances).nodes for p in (conv1d, linear))
    torch.testing.assert_close(found, expected)
    for name, value in linear.named_parameters():
        if "encoder" not in name:
            assert torch.equal(value, conv1d.get_parameter(name))
            assert torch.equal(value, embedding.get_parameter(name))


@pytest.mark.parametrize("scheme", ["torch", "glorot"])
def test_weights_start_as_in_the_published_layers(scheme):
    """Uniform up to the bound of the layer that each is a part of, for all but the encoders."""
    m = 64  # large enough for the largest of the weights to come near the bound
    policy = AttentionPolicy(LinearEncoder(m), m, 1, HEADS, 24, init=scheme, **KOOL)
    policy.initialise(0)
    fans = {
        "demand": (3, m),
        "query": (m + 1, m),
        "load": (m + 1, m),
        "graph": (m, m),
        "keys_values": (m, m),
        "combine": (m, m),
        "pointer": (m, m),
        "trunk.0.queries_keys_values": (m, m),
        "trunk.0.combine": (m, m),
        "trunk.0.expand": (m, 24),
        "trunk.0.contract": (24, m),
        "encoder.layer": (2, m),
    }
    for name, (fan_in, fan_out) in fans.items():
        share = (
            1 / fan_in if scheme == "torch" or name == "encoder.layer" else 6 / (fan_in + fan_out)
        )
        largest = policy.get_parameter(f"{name}.weight").abs().max().item()
        assert 0.9 * share**0.5 < largest <= share**0.5, name


def test_depot_and_customers_have_encoders_of_their_own():
    """Of the same kind, with weights drawn apart."""
    policy = AttentionPolicy(EmbeddingEncoder(SIZE, bins=8), SIZE, 1, HEADS, 8)
    policy.initialise(0)
    assert policy.depot_encoder.bins == 8
    assert not torch.equal(policy.depot_encoder.table.weight, policy.encoder.table.weight)


@pytest.mark.parametrize("normalization", ["instance", "batch", "rms"])
def test_every_normalisation_learns(normalization):
    """A few steps towards a tour make it likelier."""
    policy = AttentionPolicy(LinearEncoder(SIZE), SIZE, 2, HEADS, 24, normalization)
    policy.initialise(0)
    instances = uniform(5, 12, 8)
    actions = random_play(instances, 1).actions
    optimizer = torch.optim.Adam(policy.parameters(), 1e-2)
    likely = []
    for _ in range(12):
        log_prob = policy.log_probs(policy.encode(instances), instances, actions).log_prob
        likely.append(log_prob.sum().item())
        optimizer.zero_grad()
        (-log_prob.sum()).backward()
        optimizer.step()
    assert likely[-1] > likely[0] + 5


def test_added_keys_are_those_of_the_pointer():
    """Zeros change nothing; a move of one node's key changes that node's logit alone."""
    policy, instances = make_policy(tanh_clipping=0.0), uniform(5, 12, 2)
    encoding = policy.encode(instances).detach()
    state = reset(instances, 1)
    legal = legal_mask(instances, state)

    def logits(added: Tensor) -> Tensor:
        changed = policy.with_added(encoding, added).detach()
        return policy.step(changed, policy.start(changed, 1), state, legal)[0]

    nothing = policy.addable(encoding)
    before, _ = policy.step(encoding, policy.start(encoding, 1), state, legal)
    torch.testing.assert_close(logits(nothing), before)
    moved = nothing.clone()
    moved[:, 3] = 1.0
    changed = (logits(moved) - before).abs() > 1e-6
    assert changed[..., 3].all()
    assert not changed[..., [1, 2, 4, 5]].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embedding_dim": 8}, "embedding_dim is 16, the policy's 8"),
        ({"num_layers": 0}, "num_layers is 0; it must be at least 1"),
        ({"num_heads": 3}, "num_heads is 3; it must divide embedding_dim, which is 16"),
        ({"num_heads": 0}, "num_heads is 0"),
        ({"feed_forward_dim": 0}, "feed_forward_dim is 0"),
        ({"normalization": "layer"}, "normalization is 'layer'; allowed: instance, batch, rms"),
        ({"tanh_clipping": -1.0}, "tanh_clipping is -1.0"),
        ({"init": "zero"}, "init is 'zero'"),
        ({"precision": "half"}, "precision is 'half'; allowed: auto, float32, bfloat16"),
    ],
)
def test_bad_arguments(arguments, message):
    """Each is refused with its name, its value and what is allowed."""
    with pytest.raises(ValueError, match=message):
        AttentionPolicy(LinearEncoder(SIZE), **({"embedding_dim": SIZE} | arguments))


@every_variant
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("loads", ["a table", "computed"])
def test_replay_of_recorded_steps(variant, precision, loads, monkeypatch):
    """With the weights from the steps themselves the replay is the same, gradient too."""
    if loads == "computed":
        monkeypatch.setattr(glimpse, "_LOADS_PER_NODE", 0)
    policy, instances = make_policy(variant, precision=precision).train(), uniform(6, 14, 4)
    encoding = policy.encode(instances)
    fixed = encoding.detach()
    tape = policy.new_tape(fixed, 3, 13)
    choose = Choice(torch.rand(13, 4, 3, generator=torch.Generator().manual_seed(1)))
    actions = rollout(policy, instances, fixed, 3, choose, tape=tape)
    parameters, found = list(policy.parameters()), []
    for recorded in (None, tape):
        replay = policy.log_probs(encoding, instances, actions, tape=recorded)
        gradient = torch.autograd.grad(replay.log_prob.sum(), parameters, retain_graph=True)
        found.append([replay.log_prob, replay.entropy, *gradient])
    for computed, recorded in zip(*found, strict=True):
        torch.testing.assert_close(recorded, computed, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_tape_takes_what_it_may(precision, monkeypatch):
    """All that it holds counts against the limit, to the byte."""
    policy, instances = make_policy(precision=precision), uniform(6, 14, 4)
    encoding = policy.encode(instances).detach()
    tape = policy.new_tape(encoding, 3, 13)
    size = sum(x.numel() * x.element_size() for x in vars(tape).values())
    monkeypatch.setattr(glimpse, "_MOST_TAPE", size)
    assert policy.new_tape(encoding, 3, 13) is not None
    monkeypatch.setattr(glimpse, "_MOST_TAPE", size - 1)
    assert policy.new_tape(encoding, 3, 13) is None


def test_a_tape_serves_again_only_where_it_fits():
    """Its memory is that of the last pass; other sizes and types get their own."""
    policy, instances = make_policy(precision="float32"), uniform(6, 14, 4)
    encoding = policy.encode(instances).detach()
    tape = policy.new_tape(encoding, 3, 13)
    assert policy.new_tape(encoding, 3, 13, tape) is tape
    assert policy.new_tape(encoding, 3, 12, tape) is not tape
    assert policy.new_tape(encoding, 2, 13, tape) is not tape
    assert policy.new_tape(policy.encode(uniform(6, 14, 5)).detach(), 3, 13, tape) is not tape
    rounded = make_policy(precision="bfloat16").encode(instances).detach()
    assert policy.new_tape(rounded, 3, 13, tape).weights.dtype == torch.bfloat16


@every_variant
def test_without_gradient_nothing_is_kept_for_it(variant):
    """The same logits and log-probabilities, and added keys still have a gradient."""
    policy, instances = make_policy(variant), uniform(6, 14, 4)
    play, encoding = random_play(instances, 3), policy.encode(instances)
    with torch.no_grad():
        small = policy.encode(instances)
    tables = small.tables
    assert tables.scores is tables.per_load is tables.outputs is None
    torch.testing.assert_close(
        policy.log_probs(small, instances, play.actions).log_prob,
        policy.log_probs(encoding, instances, play.actions).log_prob,
    )
    found = []
    for known in (small, encoding.detach()):
        added = policy.addable(known).requires_grad_()
        replay = policy.log_probs(policy.with_added(known, added), instances, play.actions)
        found.append(torch.autograd.grad(replay.log_prob.sum(), added)[0])
    assert found[0].any()
    torch.testing.assert_close(*found)


@every_variant
def test_half_precision_is_near(variant):
    """The rounded network's log-probabilities of a tour differ little, in both views alike."""
    exact, rounded = (make_policy(variant, precision=p) for p in ("float32", "bfloat16"))
    instances = uniform(6, 14, 16)
    play = random_play(instances, 4)
    found = [p.log_probs(p.encode(instances), instances, play.actions).log_prob.sum(-1)
             for p in (exact, rounded)]  # fmt: skip
    assert not torch.equal(*found)
    assert (found[0] - found[1]).abs().mean() < 0.15
    logits = step_through(rounded, instances, play)
    replay = rounded.log_probs(rounded.encode(instances), instances, play.actions)
    expected = textbook_log_prob(logits, play)
    torch.testing.assert_close(replay.log_prob, expected, rtol=1e-4, atol=1e-4)


@every_variant
def test_gradient_in_half_precision_is_near(variant):
    """All in all it points where that of the exact network does."""
    instances, gradients = uniform(6, 14, 16), []
    play = random_play(instances, 4)
    weights = torch.randn(16, 4, generator=torch.Generator().manual_seed(5))
    for precision in ("float32", "bfloat16"):
        policy = make_policy(variant, precision=precision)
        replay = policy.log_probs(policy.encode(instances), instances, play.actions)
        loss = (weights * replay.log_prob.sum(-1)).sum()
        parts = torch.autograd.grad(loss, list(policy.parameters()))
        gradients.append(torch.cat([part.flatten() for part in parts]))
    assert not torch.equal(*gradients)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_large_scores_stay_finite():
    """Where an illegal node's score is so far above all legal ones that these are cut."""
    policy, instances = make_policy(), uniform(6, 14, 4)
    with torch.no_grad():
        policy.query.weight.mul_(300)
    play, encoding = random_play(instances, 4), policy.encode(instances)
    seen = seen_before_each_step(instances, play.actions)
    rows = encoding.tables.scores[torch.arange(4)[:, None, None], seen.position]
    by_head, legal = rows.unflatten(-1, (HEADS, -1)), seen.legal[..., None, :]
    gap = by_head.amax(-1) - by_head.masked_fill(~legal, -torch.inf).amax(-1)
    assert (gap > glimpse.LIMIT).float().mean() > 0.1
    replay = policy.log_probs(encoding, instances, play.actions)
    assert replay.log_prob.isfinite().all()
    gradient = torch.autograd.grad(replay.log_prob.sum(), list(policy.parameters()))
    assert all(g.isfinite().all() for g in gradient)
