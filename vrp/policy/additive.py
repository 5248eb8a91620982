"""Additive attention scores, the inner loop of the pointer policy.

    score(q, i) = v . tanh(key_i + query_q [+ demand_qi * per_demand])

With tanh(a + b) = 1 - 2 / (1 + exp(2a) exp(2b)) the exponentials are taken once per key and once
per query, and each of the N Q V M inner terms costs a product and a reciprocal. The backward
pass recomputes them, so nothing of size N Q V M is ever stored: eagerly, work goes in pieces over
N that stay in a CPU's cache; compiled, each pass is one loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

if TYPE_CHECKING:
    from vrp.policy.kernels import Kernels

# exp(2 * 40) is finite in float32, and so is its reciprocal: a product of two such factors may
# overflow to inf or vanish, which gives tanh = 1 or -1 as it should, but is never inf * 0. Keys
# are centred first, so only a difference of more than 60 between two nodes can be cut short.
_LIMIT = 40.0
_CPU_PIECE = 1 << 20  # inner terms at a time: 4 MiB of float32
_GPU_PIECE = 1 << 28


@dataclass(frozen=True)
class KeyFactors:
    """What all queries share of the keys. No gradient: `additive_scores` supplies its own.

    Attributes:
        values: (N, V, M), exp(2 (key - centre)), finite and above zero.
        centre: (N, 1, M), the middle of each unit's range over the nodes.
    """

    values: Tensor
    centre: Tensor


def key_factors(keys: Tensor) -> KeyFactors:
    """Of (N, V, M) keys."""
    keys = keys.detach()
    centre = (keys.amax(1, keepdim=True) + keys.amin(1, keepdim=True)) / 2
    return KeyFactors(factors(keys, -centre), centre)


def factors(x: Tensor, shift: Tensor) -> Tensor:
    """exp(2 (x + shift)), kept finite and above zero."""
    return (2 * (x + shift).clamp(-_LIMIT, _LIMIT)).exp()


def additive_scores(
    kernels: Kernels,
    keys: Tensor,
    shared: KeyFactors | None,
    queries: Tensor,
    vector: Tensor,
    demand: Tensor | None = None,
    per_demand: Tensor | None = None,
) -> Tensor:
    """Scores of V keys for each of Q queries, differentiable in all but `demand`.

    Args:
        kernels: how the two passes are computed.
        keys: (N, V, M).
        shared: `key_factors(keys)`, handed in because all steps use it; None where keys may
            differ by more than 60 or `demand` is given: then each inner term takes an
            exponential.
        queries: (N, Q, M).
        vector: (M,), v above.
        demand: (N, Q, V) float, where it changes between queries (split deliveries).
        per_demand: (M,), with `demand`.

    Returns:
        (N, Q, V) scores.
    """
    if shared is None:
        parts = keys.detach(), queries.detach()
    else:
        parts = shared.values, kernels.factors(queries.detach(), shared.centre)
    factored = shared is not None
    return _AdditiveScores.apply(
        kernels, factored, *parts, keys, queries, vector, demand, per_demand
    )


def scores_fused(
    keys: Tensor,
    queries: Tensor,
    vector: Tensor,
    demand: Tensor | None,
    per_demand: Tensor | None,
    factored: bool,
) -> Tensor:
    """The scores (N, Q, V), written for a compiler that fuses it into one loop.

    Args:
        keys: (N, V, M), the factors of the keys if `factored`, else the keys themselves.
        queries: (N, Q, M), likewise.
        vector: (M,).
        demand: (N, Q, V), or None.
        per_demand: (M,), or None.
        factored: which of the two forms; not with `demand`.
    """
    inner = _reciprocals(keys, queries, demand, per_demand, factored)
    return vector.sum() - 2 * (inner * vector).sum(-1)


def scores_fused_backward(
    keys: Tensor,
    queries: Tensor,
    vector: Tensor,
    demand: Tensor | None,
    per_demand: Tensor | None,
    factored: bool,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients of keys (N, V, M), queries (N, Q, M), vector (M,) and per_demand (M,)."""
    inner = _reciprocals(keys, queries, demand, per_demand, factored)
    # d tanh(x) = 4 r (1 - r) with r the reciprocal.
    slope = (inner - inner * inner) * grad[..., None]
    outer = 4 * vector
    for_vector = grad.sum() - 2 * (inner * grad[..., None]).sum((1, 2)).sum(0)
    for_demand = None
    if demand is not None:
        for_demand = (slope * demand[..., None]).sum((1, 2)).sum(0) * outer
    return slope.sum(1) * outer, slope.sum(2) * outer, for_vector, for_demand


def scores_in_pieces(
    keys: Tensor,
    queries: Tensor,
    vector: Tensor,
    demand: Tensor | None,
    per_demand: Tensor | None,
    factored: bool,
) -> Tensor:
    """As `scores_fused`, in pieces with a reused buffer."""
    n, v, m = keys.shape
    scores = keys.new_empty(n, queries.shape[1], v)
    for part, inner in _pieces(keys, queries, demand, per_demand, factored):
        torch.mv(inner.view(-1, m), vector, out=scores[part].view(-1))
    return scores.mul_(-2).add_(vector.sum())


def scores_in_pieces_backward(
    keys: Tensor,
    queries: Tensor,
    vector: Tensor,
    demand: Tensor | None,
    per_demand: Tensor | None,
    factored: bool,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """As `scores_fused_backward`, in pieces with a reused buffer."""
    m = len(vector)
    for_keys, for_queries = torch.empty_like(keys), torch.empty_like(queries)
    for_vector = torch.zeros_like(vector)
    for_demand = None if demand is None else torch.zeros_like(vector)
    for part, inner in _pieces(keys, queries, demand, per_demand, factored):
        upstream = grad[part]
        for_vector.addmv_(inner.view(-1, m).T, upstream.reshape(-1), alpha=-2)
        torch.addcmul(inner, inner, inner, value=-1, out=inner)
        inner.mul_(upstream[..., None])
        torch.sum(inner, 1, out=for_keys[part])
        torch.sum(inner, 2, out=for_queries[part])
        if demand is not None:
            for_demand.addmv_(inner.view(-1, m).T, demand[part].reshape(-1))
    outer = 4 * vector
    for_vector += grad.sum()
    if for_demand is not None:
        for_demand *= outer
    return for_keys.mul_(outer), for_queries.mul_(outer), for_vector, for_demand


def _pieces(
    keys: Tensor,
    queries: Tensor,
    demand: Tensor | None,
    per_demand: Tensor | None,
    factored: bool,
) -> Iterator[tuple[slice, Tensor]]:
    """Slices of N with the reciprocals of each, (n, Q, V, M) in a buffer that is reused."""
    n, v, m = keys.shape
    q = queries.shape[1]
    limit = _CPU_PIECE if keys.device.type == "cpu" else _GPU_PIECE
    piece = max(1, min(n, limit // (q * v * m)))
    buffer = keys.new_empty(piece, q, v, m)
    for start in range(0, n, piece):
        part = slice(start, min(start + piece, n))
        inner = buffer[: part.stop - part.start]
        if not factored:
            torch.add(keys[part, None], queries[part, :, None], out=inner)
            if demand is not None:
                inner.addcmul_(demand[part, ..., None], per_demand)
            yield part, inner.mul_(-2).sigmoid_()
            continue
        torch.mul(keys[part, None], queries[part, :, None], out=inner)
        yield part, inner.add_(1).reciprocal_()


def _reciprocals(
    keys: Tensor,
    queries: Tensor,
    demand: Tensor | None,
    per_demand: Tensor | None,
    factored: bool,
) -> Tensor:
    if factored:
        return 1 / (1 + keys[:, None] * queries[:, :, None])
    inner = keys[:, None] + queries[:, :, None]
    if demand is not None:
        inner = inner + demand[..., None] * per_demand
    return (-2 * inner).sigmoid()


class _AdditiveScores(torch.autograd.Function):
    """`key_part` and `query_part` carry the numbers, `keys` and `queries` only the gradient."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        kernels: Kernels,
        factored: bool,
        key_part: Tensor,
        query_part: Tensor,
        keys: Tensor,
        queries: Tensor,
        vector: Tensor,
        demand: Tensor | None,
        per_demand: Tensor | None,
    ) -> Tensor:
        ctx.kernels, ctx.factored = kernels, factored
        ctx.save_for_backward(key_part, query_part, vector, demand, per_demand)
        return kernels.scores(key_part, query_part, vector, demand, per_demand, factored)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        keys, queries, vector, per_demand = ctx.kernels.scores_backward(
            *ctx.saved_tensors, ctx.factored, grad.contiguous()
        )
        return None, None, None, None, keys, queries, vector, None, per_demand
