"""Additive attention scores, the inner loop of the pointer policy.

    score(q, i) = v . tanh(key_i + query_q [+ demand_qi * per_demand])

With tanh(a + b) = 1 - 2 / (1 + exp(2a) exp(2b)) the exponentials are taken once per key and once
per query, and each of the N Q V M inner terms costs a product and a reciprocal. The backward
pass recomputes them, so nothing of size N Q V M is ever stored: eagerly, work goes in pieces over
N that stay in a CPU's cache; compiled, each pass is one loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from vrp.policy.kernels import Kernels

# exp(2 * 40) is finite in float32, and so is its reciprocal: a product of two such factors may
# overflow to inf or vanish, which gives tanh = 1 or -1 as it should, but is never inf * 0.
_LIMIT = 40.0
_CPU_PIECE = 1 << 20  # inner terms at a time: 4 MiB of float32
_GPU_PIECE = 1 << 28


def factors(x: Tensor) -> Tensor:
    """exp(2x), kept finite and above zero. No gradient: `additive_scores` supplies its own."""
    return (2 * x.detach().clamp(-_LIMIT, _LIMIT)).exp()


def additive_scores(
    kernels: Kernels,
    keys: Tensor,
    key_factors: Tensor,
    queries: Tensor,
    vector: Tensor,
    demand: Tensor | None = None,
    per_demand: Tensor | None = None,
) -> Tensor:
    """Scores of V keys for each of Q queries, differentiable in all but `demand`.

    Args:
        kernels: how the two passes are computed.
        keys: (N, V, M).
        key_factors: (N, V, M), `factors(keys)`, handed in because steps share it.
        queries: (N, Q, M).
        vector: (M,), v above.
        demand: (N, Q, V) float, where it changes between queries (split deliveries).
        per_demand: (M,), with `demand`.

    Returns:
        (N, Q, V) scores.
    """
    return _AdditiveScores.apply(kernels, keys, key_factors, queries, vector, demand, per_demand)


def scores_fused(
    key_factors: Tensor,
    query_factors: Tensor,
    vector: Tensor,
    demand: Tensor | None,
    per_demand: Tensor | None,
) -> Tensor:
    """The scores (N, Q, V), written for a compiler that fuses it into one loop."""
    inner = _reciprocals(key_factors, query_factors, demand, per_demand)
    return vector.sum() - 2 * (inner * vector).sum(-1)


def scores_fused_backward(
    key_factors: Tensor,
    query_factors: Tensor,
    vector: Tensor,
    demand: Tensor | None,
    per_demand: Tensor | None,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients of keys (N, V, M), queries (N, Q, M), vector (M,) and per_demand (M,)."""
    inner = _reciprocals(key_factors, query_factors, demand, per_demand)
    # d tanh(x) = 4 r (1 - r) with r the reciprocal.
    slope = (inner - inner * inner) * grad[..., None]
    outer = 4 * vector
    for_vector = grad.sum() - 2 * (inner * grad[..., None]).sum((1, 2)).sum(0)
    for_demand = None
    if demand is not None:
        for_demand = (slope * demand[..., None]).sum((1, 2)).sum(0) * outer
    return slope.sum(1) * outer, slope.sum(2) * outer, for_vector, for_demand


def scores_in_pieces(
    key_factors: Tensor,
    query_factors: Tensor,
    vector: Tensor,
    demand: Tensor | None,
    per_demand: Tensor | None,
) -> Tensor:
    """As `scores_fused`, in pieces with a reused buffer."""
    n, v, m = key_factors.shape
    scores = key_factors.new_empty(n, query_factors.shape[1], v)
    for part, inner in _pieces(key_factors, query_factors, demand, per_demand):
        torch.mv(inner.view(-1, m), vector, out=scores[part].view(-1))
    return scores.mul_(-2).add_(vector.sum())


def scores_in_pieces_backward(
    key_factors: Tensor,
    query_factors: Tensor,
    vector: Tensor,
    demand: Tensor | None,
    per_demand: Tensor | None,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """As `scores_fused_backward`, in pieces with a reused buffer."""
    m = len(vector)
    keys, queries = torch.empty_like(key_factors), torch.empty_like(query_factors)
    for_vector = torch.zeros_like(vector)
    for_demand = None if demand is None else torch.zeros_like(vector)
    for part, inner in _pieces(key_factors, query_factors, demand, per_demand):
        upstream = grad[part]
        for_vector.addmv_(inner.view(-1, m).T, upstream.reshape(-1), alpha=-2)
        torch.addcmul(inner, inner, inner, value=-1, out=inner)
        inner.mul_(upstream[..., None])
        torch.sum(inner, 1, out=keys[part])
        torch.sum(inner, 2, out=queries[part])
        if demand is not None:
            for_demand.addmv_(inner.view(-1, m).T, demand[part].reshape(-1))
    outer = 4 * vector
    for_vector += grad.sum()
    if for_demand is not None:
        for_demand *= outer
    return keys.mul_(outer), queries.mul_(outer), for_vector, for_demand


def _pieces(key_factors, query_factors, demand, per_demand):
    """Slices of N with the reciprocals of each, (n, Q, V, M) in a buffer that is reused."""
    n, v, m = key_factors.shape
    q = query_factors.shape[1]
    limit = _CPU_PIECE if key_factors.device.type == "cpu" else _GPU_PIECE
    piece = max(1, min(n, limit // (q * v * m)))
    buffer = key_factors.new_empty(piece, q, v, m)
    for start in range(0, n, piece):
        part = slice(start, min(start + piece, n))
        inner = buffer[: part.stop - part.start]
        torch.mul(key_factors[part, None], query_factors[part, :, None], out=inner)
        if demand is not None:
            inner.mul_(factors(demand[part, ..., None] * per_demand))
        yield part, inner.add_(1).reciprocal_()


def _reciprocals(key_factors, query_factors, demand, per_demand):
    product = key_factors[:, None] * query_factors[:, :, None]
    if demand is not None:
        product = product * factors(demand[..., None] * per_demand)
    return 1 / (1 + product)


class _AdditiveScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernels, keys, key_factors, queries, vector, demand, per_demand):
        query_factors = kernels.factors(queries)
        ctx.kernels = kernels
        ctx.save_for_backward(key_factors, query_factors, vector, demand, per_demand)
        return kernels.scores(key_factors, query_factors, vector, demand, per_demand)

    @staticmethod
    def backward(ctx, grad):
        keys, queries, vector, per_demand = ctx.kernels.scores_backward(
            *ctx.saved_tensors, grad.contiguous()
        )
        return None, keys, None, queries, vector, None, per_demand
