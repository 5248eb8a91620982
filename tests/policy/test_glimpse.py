"""The collapsed decoder's replay against plain autograd on the same tables."""

from __future__ import annotations

import pytest
import torch
from situations import uniform
from textbook import random_play
from torch import Tensor

from vrp.policy import glimpse
from vrp.policy.glimpse import LIMIT, Tables, make_factors
from vrp.policy.glimpse_replay import glimpse_replay
from vrp.problem.environment import seen_before_each_step

HEADS, CAPACITY = 2, 14
INSTANCES = uniform(6, CAPACITY, 5)
PLAY = random_play(INSTANCES, 3)


def drawn(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Scores, per_load, outputs and bias of five instances with gradients."""
    random = torch.Generator().manual_seed(0)
    n, v = len(INSTANCES), INSTANCES.num_nodes
    shapes = (n, v, HEADS * v), (n, HEADS * v), (n, HEADS * v, v), (n, v)
    return [torch.randn(s, generator=random).to(dtype).requires_grad_() for s in shapes]


def seen() -> tuple[Tensor, ...]:
    """Position, load, legal nodes and actions, time before solutions."""
    found = seen_before_each_step(INSTANCES, PLAY.actions)
    parts = found.position, found.load, found.legal, PLAY.actions
    return tuple(x.transpose(1, 2) for x in parts)


def replayed(clipping: float, learned: list[Tensor]) -> tuple[Tensor, Tensor]:
    """What is tested."""
    scores, per_load, outputs, bias = learned
    scale = INSTANCES.capacity.float().reciprocal()
    by_head = (x.unflatten(-1, (HEADS, -1)) for x in (scores, per_load))
    factors = make_factors(*by_head, outputs, scale, CAPACITY, torch.float32)
    tables = Tables(scores, per_load, outputs, bias, scale, clipping, factors)
    return glimpse_replay(tables, *seen())


def plain(clipping: float, learned: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The same by the formulas, every weight stored."""
    scores, per_load, outputs, bias = learned
    position, load, legal, actions = seen()
    n, v = bias.shape
    goods = (load / CAPACITY).to(scores.dtype)
    rows = (
        scores[torch.arange(n)[:, None, None], position]
        + goods[..., None] * per_load[:, None, None]
    )  # (N, T, K, H V)
    by_head = rows.unflatten(-1, (HEADS, v)).masked_fill(~legal[..., None, :], -torch.inf)
    logits = torch.einsum("ntkw,nwv->ntkv", by_head.softmax(-1).flatten(-2), outputs)
    logits = logits + bias[:, None, None]
    if clipping:
        logits = clipping * logits.tanh()
    log_probs = logits.masked_fill(~legal, -torch.inf).log_softmax(-1)
    chosen = log_probs.gather(-1, actions[..., None])[..., 0]
    return chosen, -(log_probs.exp() * log_probs.masked_fill(~legal, 0.0)).sum(-1)


@pytest.mark.parametrize("pieces", ["one", "one for each instance", "of two instances"])
@pytest.mark.parametrize("clipping", [0.0, 10.0, 41.0, 100.0])
def test_replay_is_plain_autograd(clipping, pieces, monkeypatch):
    """Values and gradients of all tables, whatever the clipping and however it is cut."""
    width = PLAY.actions[0].numel() * HEADS * INSTANCES.num_nodes
    limit = {"one": 1 << 20, "one for each instance": 1, "of two instances": 2 * width}[pieces]
    monkeypatch.setattr(glimpse, "_CPU_PIECE", limit)
    learned, exact = drawn(), drawn(torch.float64)
    check_alike(replayed(clipping, learned), plain(clipping, exact), learned, exact)


@pytest.mark.parametrize("gap", [LIMIT - 1, LIMIT + 20], ids=["just inside", "beyond"])
@pytest.mark.parametrize("clipping", [0.0, 10.0])
def test_illegal_node_far_above_all_others(clipping, gap):
    """Values and gradients are the plain ones, of scores cut at `LIMIT` below each row's largest.

    The node last visited is never the next one, and here its score is the largest. Up to the limit
    nothing is cut.
    """
    learned = drawn()
    n, v = learned[3].shape
    here = torch.eye(v, dtype=torch.bool)[:, None]  # (V, 1, V)
    by_head = torch.rand(n, v, HEADS, v, generator=torch.Generator().manual_seed(2))
    by_head.masked_fill_(here, gap + 1)
    learned[0] = by_head.flatten(2).requires_grad_()
    cut = by_head.maximum(by_head.amax(-1, keepdim=True) - LIMIT).flatten(2)
    assert torch.equal(cut, learned[0]) == (gap < LIMIT)
    position, _, legal, _ = seen()
    rows = by_head[torch.arange(n)[:, None, None], position]  # (N, T, K, H, V)
    among_legal = rows.masked_fill(~legal[..., None, :], -torch.inf).amax(-1)
    above = (rows.amax(-1) - among_legal)[(position != 0) | ~legal[..., 0]]
    assert len(above)
    assert (above >= gap).all()
    exact = [x.detach().double().requires_grad_() for x in (cut, *learned[1:])]
    check_alike(replayed(clipping, learned), plain(clipping, exact), learned, exact)


def check_alike(
    found: tuple[Tensor, Tensor],
    expected: tuple[Tensor, Tensor],
    learned: list[Tensor],
    exact: list[Tensor],
) -> None:
    """Log-probabilities and entropies agree, and their gradients in all tables."""
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-4, atol=1e-4)
    weights = torch.randn(2, *seen()[0].shape, generator=torch.Generator().manual_seed(1))
    gradients = [
        torch.autograd.grad(sum((w * x).sum() for w, x in zip(weights, values, strict=True)), given)
        for values, given in ((found, learned), (expected, exact))
    ]
    for ours, theirs in zip(*gradients, strict=True):
        scale = theirs.abs().max()
        torch.testing.assert_close(ours / scale, (theirs / scale).float(), rtol=1e-3, atol=1e-4)
