"""Loops in C++: the same tours, probabilities and gradients as PyTorch's operations give."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from vrp.policy.attention import AttentionEncoding, AttentionPolicy
from vrp.policy.base import Replay
from vrp.policy.choice import Choice
from vrp.policy.encoders import LinearEncoder
from vrp.policy.native import glimpse as native
from vrp.policy.native.compiler import find_compiler
from vrp.policy.native.trunk import attend
from vrp.policy.precision import product_dtype
from vrp.policy.trunk import TrunkLayer, TrunkShape
from vrp.problem import Instances, UniformGenerator
from vrp.problem.environment import legal_mask, max_steps, reset, step
from vrp.search import Beam, Eas, Sgbs
from vrp.search.rollout import greedy_choice, play_on, rollout
from vrp.search.starts import each_customer

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")
HAS_BFLOAT16 = product_dtype("auto", torch.device("cpu")) == torch.bfloat16
PRECISIONS = [
    "float32",
    pytest.param(
        "bfloat16",
        marks=pytest.mark.skipif(not HAS_BFLOAT16, reason="this processor has no bfloat16"),
    ),
]
# Nodes that fill vectors of 16 just so, one more and one less; the last is beyond the loops.
SIZES = [1, 6, 14, 15, 16, 20, 33, 100, 127, 128]


def numbers(seed: int) -> torch.Generator:
    """A stream of its own."""
    return torch.Generator().manual_seed(seed)


def make(precision: str = "float32", **options: object) -> tuple[AttentionPolicy, AttentionPolicy]:
    """A small policy in PyTorch, and the same one in C++; logits are far from equal."""
    policy = AttentionPolicy(
        LinearEncoder(16), 16, num_layers=2, num_heads=2, feed_forward_dim=32,
        precision=precision, **options,
    ).eval()  # fmt: skip
    policy.initialise(3)
    with torch.no_grad():
        for layer in (policy.query, policy.load, policy.keys_values, policy.combine):
            layer.weight *= 2
    fused = copy.deepcopy(policy)
    fused.compile_kernels()
    assert fused.is_compiled()
    assert not policy.is_compiled()
    return policy, fused


def problems(customers: int, capacity: int = 25, count: int = 5) -> Instances:
    """Some instances."""
    return UniformGenerator(customers, capacity)(count, numbers(customers))


def uniforms(instances: Instances, num_solutions: int) -> Tensor:
    """One number for each choice."""
    shape = max_steps(instances), len(instances), num_solutions
    return torch.rand(shape, generator=numbers(1))


@pytest.mark.parametrize("customers", SIZES)
@pytest.mark.parametrize("how", ["greedy", "sampled", "tempered", "starts", "some starts"])
def test_plays_the_same_tours(customers, how):
    """In float32 both choose alike, whatever the number of nodes."""
    policy, fused = make()
    instances = problems(customers)
    k = min(customers, 9)
    choice, first = greedy_choice, None
    if how in ("sampled", "tempered"):
        choice = Choice(uniforms(instances, k), 1.0 if how == "sampled" else 0.3)
    if "starts" in how:
        first = each_customer(instances)[:, :k].clone()
        if how == "some starts":
            first[:, ::2] = -1
    found = [
        rollout(each, instances, each.encode(instances).detach(), k, choice, first)
        for each in (policy, fused)
    ]
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("customers", "is_native"), [(127, True), (128, False)], ids=["most", "beyond"]
)
def test_takes_up_to_128_nodes(customers, is_native):
    """Larger instances are left to PyTorch."""
    _, fused = make()
    assert fused.encode(problems(customers)).tables.is_native is is_native


def test_split_deliveries_are_left_to_pytorch():
    """A node may then be visited again."""
    _, fused = make()
    instances = UniformGenerator(6, 25, split_delivery=True)(3, numbers(0))
    assert not fused.encode(instances).tables.is_native


def test_plays_on_from_any_state():
    """As simulations of a search do."""
    policy, fused = make()
    instances = problems(12)
    state = reset(instances, 4)
    for t in range(5):
        legal = legal_mask(instances, state).float()
        action = legal.flatten(0, 1).multinomial(1, generator=numbers(t)).view(len(instances), 4)
        state = step(instances, state, action)
    found = []
    for each in (policy, fused):
        encoding = each.encode(instances).detach()
        memory = each.start(encoding, 4)
        found.append(play_on(each, instances, encoding, state, memory, greedy_choice, 5))
    assert torch.equal(*found)


def replayed(
    policy: AttentionPolicy, instances: Instances, tours: Tensor, **options: object
) -> tuple[AttentionEncoding, Replay]:
    """The encoding with gradient, and what the policy says of the tours."""
    encoding = policy.encode(instances)
    return encoding, policy.log_probs(encoding, instances, tours, **options)


OPTIONS = {
    "as published": {},
    "no clipping": {"tanh_clipping": 0.0},
    "graph mean": {"graph_context": True, "pointer_projection": True, "combine_bias": False},
}


@pytest.mark.parametrize("customers", [1, 14, 15, 20, 33, 100])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("capacity", [25, 4000], ids=["table of loads", "no table"])
def test_replays_alike(customers, options, capacity):
    """Log-probabilities, entropies and the gradient of all weights, in float32."""
    policy, fused = make(**options)
    instances = problems(customers, capacity)
    k = min(customers, 7)
    tours = rollout(
        policy, instances, policy.encode(instances).detach(), k, Choice(uniforms(instances, k))
    )
    weights = torch.randn(2, *tours.shape, generator=numbers(2))
    gradients, replays = [], []
    for each in (policy, fused):
        _, replay = replayed(each, instances, tours, forced=1)
        loss = (weights[0] * replay.log_prob + 0.3 * weights[1] * replay.entropy).sum()
        gradients.append(torch.autograd.grad(loss, list(each.parameters())))
        replays.append(replay)
    ours, theirs = replays
    assert torch.equal(ours.counted, theirs.counted)
    torch.testing.assert_close(ours.log_prob, theirs.log_prob, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.entropy, theirs.entropy, rtol=1e-4, atol=1e-4)
    # Of some weights the gradient is a sum that comes to nothing but rounding.
    largest = max(one.abs().max().item() for one in gradients[0])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * largest)


@pytest.mark.parametrize("part", ["log_prob", "entropy"])
def test_gradient_of_one_alone(part):
    """Where the other takes no part in the loss."""
    policy, fused = make()
    instances = problems(9)
    tours = rollout(
        policy, instances, policy.encode(instances).detach(), 3, Choice(uniforms(instances, 3))
    )
    found = [
        torch.autograd.grad(
            getattr(replayed(each, instances, tours)[1], part).sum(), each.query.weight
        )[0]
        for each in (policy, fused)
    ]
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(not HAS_BFLOAT16, reason="this processor has no bfloat16")
@pytest.mark.parametrize("customers", [15, 20, 50])
def test_rounded_products_stay_near_the_exact_ones(customers):
    """The trunk in float32, the decoder in bfloat16: no further from float32 than PyTorch's."""
    policy, fused = make("bfloat16")
    exact = policy.in_float32()
    for each in (policy, fused):
        for layer in each.trunk:
            layer.precision = "float32"
    instances = problems(customers, count=20)
    tours = rollout(
        exact, instances, exact.encode(instances).detach(), 5, Choice(uniforms(instances, 5))
    )
    wanted, theirs, ours = (
        replayed(each, instances, tours)[1].log_prob for each in (exact, policy, fused)
    )
    error = (ours - wanted).abs()
    assert 0 < error.mean() <= 1.1 * (theirs - wanted).abs().mean()
    assert error.max() < 0.2


@pytest.mark.parametrize("precision", PRECISIONS)
def test_tape_holds_what_a_replay_finds(precision):
    """What was recorded in play is what following the same tours records, to the last bit."""
    _, fused = make(precision)
    instances, k = problems(20), 6
    encoding = fused.encode(instances)
    fixed = encoding.detach()
    tape = fused.new_tape(fixed, k, max_steps(instances))
    choice = Choice(uniforms(instances, k))
    first = each_customer(instances)[:, :k]
    tours = rollout(fused, instances, fixed, k, choice, first, tape=tape)
    found, grads = [], []
    for recorded in (tape, None):
        replay = fused.log_probs(encoding, instances, tours, 1, tape=recorded)
        found.append(replay)
        loss = replay.log_prob.sum()
        grads.append(torch.autograd.grad(loss, encoding.tables.outputs, retain_graph=True)[0])
    for field in ("log_prob", "entropy", "counted"):
        assert torch.equal(getattr(found[0], field), getattr(found[1], field))
    assert torch.equal(*grads)
    assert not found[0].counted[..., 0].any()


def test_a_tape_serves_again_only_where_it_fits():
    """Not one of another size, nor one that PyTorch's loops have made."""
    policy, fused = make()
    instances = problems(9)
    encoding = fused.encode(instances).detach()
    tape = fused.new_tape(encoding, 3, 19)
    assert fused.new_tape(encoding, 3, 19, tape) is tape
    assert fused.new_tape(encoding, 4, 19, tape) is not tape
    other = policy.new_tape(policy.encode(instances).detach(), 3, 19)
    assert isinstance(fused.new_tape(encoding, 3, 19, other), native.StepTape)
    assert policy.new_tape(policy.encode(instances).detach(), 3, 19, tape) is not tape


def test_gradient_of_what_active_search_adds():
    """The tables before the pointer's keys take no gradient there."""
    policy, fused = make()
    instances = problems(9)
    tours = rollout(
        policy, instances, policy.encode(instances).detach(), 3, Choice(uniforms(instances, 3))
    )
    found = []
    for each in (policy, fused):
        with torch.no_grad():
            encoding = each.encode(instances)
        added = (0.1 * torch.ones_like(each.addable(encoding))).requires_grad_()
        replay = each.log_probs(each.with_added(encoding, added), instances, tours)
        found.append(torch.autograd.grad(replay.log_prob.sum(), added)[0])
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("how", [greedy_choice, Choice(torch.full((13, 5, 2), 0.5))])
@pytest.mark.parametrize("capacity", [25, 4000], ids=["table of loads", "no table"])
@pytest.mark.parametrize("layer", ["combine", "load", "query", "queries", "keys", "values"])
def test_what_is_no_number_is_said(layer, capacity, how):
    """As step by step, wherever it comes in."""
    for policy in make():
        with torch.no_grad():
            if layer.endswith("s"):
                row = 16 * ["queries", "keys", "values"].index(layer)
                policy.trunk[0].queries_keys_values.weight[row, 0] = torch.nan
            else:
                getattr(policy, layer).weight[0, 0] = torch.nan
        instances = problems(6, capacity)
        encoding = policy.encode(instances).detach()
        with pytest.raises(FloatingPointError, match="the policy's logits are not numbers"):
            rollout(policy, instances, encoding, 2, how)


@pytest.mark.parametrize("node", [-1, 7])
def test_nodes_that_there_are_not(node):
    """Are refused before memory is read where nothing is."""
    _, fused = make()
    instances = problems(6)
    encoding = fused.encode(instances).detach()
    tours = rollout(fused, instances, encoding, 2, greedy_choice).clone()
    tours[3, 1, 2] = node
    with pytest.raises(IndexError, match=r"those of the instances are 0 to 6"):
        fused.log_probs(encoding, instances, tours)


def test_instances_without_any_need():
    """Their tours are closed before they begin."""
    policy, fused = make()
    instances = problems(6)
    instances = Instances(
        instances.depot, instances.customers, torch.zeros_like(instances.demand), instances.capacity
    )
    for each in (policy, fused):
        encoding = each.encode(instances).detach()
        tours = rollout(
            each, instances, encoding, 2, greedy_choice, each_customer(instances)[:, :2]
        )
        assert torch.equal(tours, torch.zeros(5, 2, 1, dtype=torch.int64))


def test_no_instances_are_left_to_pytorch():
    """Nothing is played."""
    _, fused = make()
    instances = problems(6)[:0]
    encoding = fused.encode(instances).detach()
    assert not encoding.tables.is_native
    assert rollout(fused, instances, encoding, 2, greedy_choice).shape[:2] == (0, 2)


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"choice": Choice(torch.rand(12, 5, 2))}, ValueError, "uniforms are .12, 5, 2.; they"),
        ({"choice": Choice(torch.rand(13, 5, 3))}, ValueError, "uniforms are .13, 5, 3.; they"),
        ({"first": torch.full((5, 2), 7)}, IndexError, "visit nodes 7 to 7"),
        ({"most": 12}, ValueError, "the tape is of .5, 13, 2. steps; it must be of .5, 12, 2."),
        ({"count": 4}, ValueError, "the tables are of 5 instances; they must be of 4"),
    ],
    ids=["few numbers", "other numbers", "no such node", "other tape", "other instances"],
)
def test_what_cpp_would_read_beyond_is_refused(wrong, error, said):
    """Memory that is not theirs."""
    _, fused = make()
    count, most = wrong.get("count", 5), wrong.get("most", 13)
    instances = problems(6)
    tables = fused.encode(instances).detach().tables
    instances = instances[:count]
    choice, first = wrong.get("choice", greedy_choice), wrong.get("first")
    tape = native.StepTape.make(tables[:count], 2, 13)
    with pytest.raises(error, match=said):
        native.play(tables, instances, reset(instances, 2), most, choice, first, tape)


def test_a_tape_that_was_used_again_gives_no_gradient():
    """It would be another one's."""
    _, fused = make()
    instances = problems(9)
    encoding = fused.encode(instances)
    fixed = encoding.detach()
    tape = fused.new_tape(fixed, 3, max_steps(instances))
    tours = rollout(fused, instances, fixed, 3, greedy_choice, tape=tape)
    loss = fused.log_probs(encoding, instances, tours, tape=tape).log_prob.sum()
    rollout(fused, instances, fixed, 3, greedy_choice, tape=tape)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("copied", [copy.deepcopy, AttentionPolicy.in_float32])
def test_a_copy_keeps_the_loops(copied):
    """The rollout baseline's, and the one that rounding is measured with."""
    _, fused = make()
    other = copied(fused)
    assert other.is_compiled()
    assert all(layer.is_native for layer in other.trunk)
    assert other.encode(problems(6)).tables.is_native


@pytest.mark.parametrize(
    "search", [Eas(2, symmetries=2), Sgbs(2, 2, symmetries=1), Beam(3)], ids=lambda s: s.name
)
def test_searches_find_the_same(search):
    """In float32, whichever parts of them are played in C++."""
    policy, fused = make()
    instances = problems(9)
    ours, theirs = (search(each, instances, numbers(4)).cost for each in (fused, policy))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=0)


@pytest.mark.skipif(not HAS_BFLOAT16, reason="this processor has no bfloat16")
@pytest.mark.parametrize("k", [1, 7])
def test_rounded_weights_in_pairs(k):
    """An odd number of heads and nodes, and a single tour: as in PyTorch, but for rounding."""
    policy = AttentionPolicy(
        LinearEncoder(24), 24, num_layers=1, num_heads=3, feed_forward_dim=32, precision="bfloat16"
    ).eval()
    policy.initialise(3)
    fused = copy.deepcopy(policy)
    fused.compile_kernels()
    instances = problems(20)
    tours = rollout(
        policy, instances, policy.encode(instances).detach(), k, Choice(uniforms(instances, k))
    )
    ours, theirs = (replayed(each, instances, tours)[1].log_prob for each in (fused, policy))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.05)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_threads_change_no_bit(precision):
    """Tours and gradients on one thread and on two."""
    _, fused = make(precision)
    instances, k, before = problems(20, count=7), 4, torch.get_num_threads()
    choice, found = Choice(uniforms(instances, k)), []
    # Encoded once: PyTorch's own products may round otherwise on another number of threads.
    encoding = fused.encode(instances)
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            tours = rollout(fused, instances, encoding.detach(), k, choice)
            replay = fused.log_probs(encoding, instances, tours)
            wanted = encoding.tables.scores, encoding.tables.outputs
            grads = torch.autograd.grad(replay.log_prob.sum(), wanted, retain_graph=True)
            found.append((tours, *grads))
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("nodes", [1, 2, 15, 16, 17, 21, 101, 128])
@pytest.mark.parametrize(("heads", "depth"), [(8, 16), (2, 8), (3, 24), (1, 5)])
def test_attention_of_the_trunk(nodes, heads, depth):
    """As written out in PyTorch, with its gradient."""
    width = heads * depth
    layer = TrunkLayer(TrunkShape(1, width, heads, 8, "rms", True, "float32"))
    projected = 2 * torch.randn(3, nodes, 3 * width, generator=numbers(nodes))
    grad = torch.randn(3, nodes, width, generator=numbers(0))
    projected.requires_grad_()
    ours, theirs = attend(projected, heads), layer._attend(projected)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    found = [torch.autograd.grad(seen, projected, grad)[0] for seen in (ours, theirs)]
    torch.testing.assert_close(*found, rtol=1e-4, atol=5e-5)


def test_attention_rounds_its_result_alone():
    """Of bfloat16 inputs: float32 within, so within one rounding of the exact one."""
    projected = torch.randn(3, 21, 3 * 128, generator=numbers(0)).bfloat16()
    exact = attend(projected.float(), 8)
    assert torch.equal(attend(projected, 8), exact.bfloat16())


def test_attention_takes_scores_of_any_size():
    """Of which only one node's matters in the end."""
    projected = 100 * torch.randn(2, 21, 3 * 16, generator=numbers(0))
    layer = TrunkLayer(TrunkShape(1, 16, 2, 8, "rms", True, "float32"))
    torch.testing.assert_close(attend(projected, 2), layer._attend(projected), rtol=1e-3, atol=1e-3)
