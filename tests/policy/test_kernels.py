"""The inner loops against plain autograd, finite differences and `torch.nn.LSTM`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from vrp.policy import additive, lstm
from vrp.policy.additive import additive_scores, key_factors
from vrp.policy.kernels import EAGER, Fused, Kernels, compiled_kernels
from vrp.policy.lstm import lstm_sequence, lstm_step

# What `torch.compile` is given, run without it.
FUSED = Kernels(
    additive.factors,
    additive.scores_fused,
    additive.scores_fused_backward,
    lstm.lstm_step,
    lstm.lstm_step_saving,
    lstm.lstm_step_backward,
)
both_kernels = pytest.mark.parametrize("kernels", [EAGER, FUSED], ids=["eager", "fused"])
changing_demand = pytest.mark.parametrize("split", [False, True])


def scores(kernels: Kernels, keys: Tensor, queries: Tensor, vector: Tensor, *demand) -> Tensor:
    """`additive_scores` with the factors that belong to the keys."""
    shared = None if demand else key_factors(keys)
    return additive_scores(kernels, keys, shared, queries, vector, *demand)


def plain_scores(keys, queries, vector, demand=None, per_demand=None) -> Tensor:
    """The same by the formula, with every inner term stored."""
    inner = keys[:, None] + queries[:, :, None]
    if demand is not None:
        inner = inner + demand[..., None] * per_demand
    return inner.tanh() @ vector


def drawn(n: int, q: int, v: int, m: int, split: bool, dtype=torch.float32) -> list[Tensor]:
    """Keys, queries and vector, and for split deliveries demand and its direction."""
    random = torch.Generator().manual_seed(0)
    shapes = [(n, v, m), (n, q, m), (m,), (n, q, v), (m,)][: 5 if split else 3]
    found = [torch.randn(s, generator=random, dtype=dtype) for s in shapes]
    return [x.requires_grad_(i != 3) for i, x in enumerate(found)]


# The last two are worked on in several pieces of unequal size.
SIZES = [(1, 1, 2, 1), (3, 4, 5, 6), (100, 8, 21, 128), (3, 40, 70, 256)]


@both_kernels
@changing_demand
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_scores_are_the_formula(size, split, kernels):
    """The vector times tanh(key + query), whatever the sizes."""
    parts = drawn(*size, split)
    torch.testing.assert_close(scores(kernels, *parts), plain_scores(*parts), rtol=1e-4, atol=1e-4)


@both_kernels
@changing_demand
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gradient_of_the_scores(size, split, kernels):
    """The backward pass that recomputes is the one that stores."""
    parts = drawn(*size, split)
    learned = [part for part in parts if part.requires_grad]
    n, q, v, _ = size
    weight = torch.randn(n, q, v, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad(scores(kernels, *parts), learned, weight)
    expected = torch.autograd.grad(plain_scores(*parts), learned, weight)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


@both_kernels
@changing_demand
def test_gradient_of_the_scores_by_differences(split, kernels):
    """In float64, against finite differences."""
    parts = drawn(2, 3, 4, 3, split, torch.float64)
    assert torch.autograd.gradcheck(lambda *p: scores(kernels, *p), parts)


@both_kernels
@pytest.mark.parametrize("key", [-1e4, -39.0, -5.0, 0.0, 5.0, 39.0, 1e4])
@pytest.mark.parametrize("query", [-1e4, -39.0, -5.0, 0.0, 5.0, 39.0, 1e4])
def test_large_inputs(key, query, kernels):
    """Far out the scores saturate: finite and right, and so are their gradients."""
    keys = torch.full((1, 1, 1), key, requires_grad=True)
    queries = torch.full((1, 1, 1), query, requires_grad=True)
    vector = torch.ones(1, requires_grad=True)
    found = scores(kernels, keys, queries, vector)
    expected = torch.tensor(key + query).tanh()
    torch.testing.assert_close(found.squeeze(), expected, rtol=1e-4, atol=1e-4)
    for gradient in torch.autograd.grad(found.sum(), (keys, queries)):
        torch.testing.assert_close(gradient.squeeze(), 1 - expected**2, rtol=1e-4, atol=1e-4)


@both_kernels
def test_factors_are_finite(kernels):
    """Nothing that could meet its inverse is infinite or zero."""
    found = kernels.factors(torch.tensor([-1e30, -100.0, 0.0, 100.0, 1e30]), torch.zeros(()))
    assert found.isfinite().all()
    assert (found > 0).all()
    assert found[2] == 1


def lstm_parts(steps: int, batch: int, rows: int, size: int, dtype=torch.float32):
    """A table of inputs' shares, rows of it, and the recurrent weight."""
    random = torch.Generator().manual_seed(0)
    table = torch.randn(rows, 4 * size, generator=random, dtype=dtype).requires_grad_()
    weight = torch.randn(4 * size, size, generator=random, dtype=dtype).requires_grad_()
    return table, torch.randint(rows, (steps, batch), generator=random), weight


def torch_lstm(inputs: Tensor, layer: torch.nn.LSTM, weights: dict[str, Tensor]) -> Tensor:
    """(B, T, H) hidden states of PyTorch's own layer with given weights."""
    return functional_call(layer, weights, (inputs,))[0].transpose(0, 1)


@both_kernels
@pytest.mark.parametrize(("steps", "batch", "rows", "size"), [(1, 2, 3, 4), (9, 5, 4, 16)])
def test_sequence_is_the_lstm_of_torch(steps, batch, rows, size, kernels):
    """Hidden states and gradients are those of `torch.nn.LSTM`."""
    random = torch.Generator().manual_seed(0)
    layer = torch.nn.LSTM(7, size)
    weights = {
        name: torch.randn(value.shape, generator=random).mul_(0.5).requires_grad_()
        for name, value in layer.named_parameters()
    }
    inputs = torch.randn(rows, 7, generator=random).requires_grad_()
    index = torch.randint(rows, (steps, batch), generator=random)
    upstream = torch.randn(batch, steps, size, generator=random)
    learned = [inputs, *weights.values()]

    theirs = torch_lstm(inputs[index], layer, weights)
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    table = inputs @ weights["weight_ih_l0"].T + bias
    ours = lstm_sequence(kernels, table, index, weights["weight_hh_l0"])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    found = torch.autograd.grad(ours, learned, upstream)
    expected = torch.autograd.grad(theirs, learned, upstream)
    for mine, yours in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-4, atol=1e-4)


def test_gradient_of_the_sequence_by_differences():
    """In float64, against finite differences; rows that come often and never are among them."""
    table, rows, weight = lstm_parts(4, 3, 5, 2, torch.float64)
    assert len(rows.unique()) < 5
    assert torch.autograd.gradcheck(
        lambda table, weight: lstm_sequence(EAGER, table, rows, weight), (table, weight)
    )


def test_step_is_the_sequence():
    """One step after another gives the hidden states of the sequence."""
    table, rows, weight = lstm_parts(6, 3, 5, 4)
    with torch.no_grad():
        together = lstm_sequence(EAGER, table, rows, weight)
        hidden = cell = torch.zeros(3, 4)
        for t, row in enumerate(rows):
            hidden, cell = lstm_step(table[row] + hidden @ weight.T, cell)
            torch.testing.assert_close(hidden, together[:, t])


def test_gates_far_out():
    """Saturated gates neither overflow nor spoil the gradient."""
    table, rows, weight = lstm_parts(6, 3, 5, 4)
    hidden = lstm_sequence(EAGER, table * 1e4, rows, weight)
    assert hidden.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(hidden.sum(), (table, weight)))


def test_sequence_keeps_its_inputs():
    """Neither pass writes into what it was given."""
    table, rows, weight = lstm_parts(6, 3, 5, 4)
    before = table.detach().clone(), rows.clone(), weight.detach().clone()
    lstm_sequence(EAGER, table, rows, weight).sum().backward()
    assert torch.equal(table, before[0])
    assert torch.equal(rows, before[1])
    assert torch.equal(weight, before[2])


def test_a_compiler_that_fails(monkeypatch):
    """The function runs as it is, a warning says so, and nothing reads as compiled any more."""
    tried = []

    def broken(function, **_: object):
        def run(*arguments: Tensor):
            tried.append(function.__name__)
            raise RuntimeError("no such header\nand more")

        return run

    monkeypatch.setattr("torch.compile", broken)
    kernels = compiled_kernels()
    assert kernels.are_fused()
    gates, cell = torch.randn(3, 8), torch.randn(3, 2)
    with pytest.warns(UserWarning, match="lstm_step is not compiled: no such header; it runs"):
        first = kernels.lstm_step(gates.clone(), cell)
    second = kernels.lstm_step(gates.clone(), cell)
    assert tried == ["lstm_step"]
    for found, again, expected in zip(first, second, lstm_step(gates, cell), strict=True):
        assert torch.equal(found, expected)
        assert torch.equal(again, expected)
    assert not kernels.are_fused()
    assert not EAGER.are_fused()


def test_scores_without_a_compiler_are_taken_in_pieces(monkeypatch):
    """The form that is written for a compiler would store every inner term."""

    def broken(function, **_):
        def run(*_):
            raise RuntimeError("no such header")

        return run

    monkeypatch.setattr("torch.compile", broken)
    kernels = compiled_kernels()
    keys, queries, vector = torch.rand(4, 5, 8), torch.rand(4, 3, 8), torch.randn(8)
    given = keys, queries, vector, None, None, True
    grad = torch.randn(4, 3, 5)
    with pytest.warns(UserWarning, match="scores_fused is not compiled"):
        assert torch.equal(kernels.scores(*given), EAGER.scores(*given))
    with pytest.warns(UserWarning, match="scores_fused_backward is not compiled"):
        found = kernels.scores_backward(*given, grad)
    for ours, expected in zip(found, EAGER.scores_backward(*given, grad), strict=True):
        assert ours is expected is None or torch.equal(ours, expected)


def test_a_wrong_argument_is_no_failure_of_the_compiler(monkeypatch):
    """The function's own error is raised, and the next call is tried as before."""
    monkeypatch.setattr("torch.compile", lambda function, **_: function)
    fused = Fused(torch.neg)
    with pytest.raises(TypeError):
        fused("text")
    assert not fused.failed
