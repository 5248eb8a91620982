"""The collapsed decoder's replay against plain autograd on the same tables."""

from __future__ import annotations

import pytest
import torch
from textbook import random_play, uniform
from torch import Tensor

from vrp.policy import glimpse
from vrp.policy.glimpse import Tables, make_factors
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
    factors = make_factors(scores, per_load, outputs, scale, CAPACITY, torch.float32)
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
    weights = torch.randn(2, *seen()[0].shape, generator=torch.Generator().manual_seed(1))
    found, expected = replayed(clipping, learned), plain(clipping, exact)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-4, atol=1e-4)
    gradients = [
        torch.autograd.grad(sum((w * x).sum() for w, x in zip(weights, values, strict=True)), given)
        for values, given in ((found, learned), (expected, exact))
    ]
    for ours, theirs in zip(*gradients, strict=True):
        scale = theirs.abs().max()
        torch.testing.assert_close(ours / scale, (theirs / scale).float(), rtol=1e-3, atol=1e-4)
