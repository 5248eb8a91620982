"""The attention decoder, collapsed into tables.

The query of a step is linear in the node last visited and in the load, and everything it meets
is the same at all steps. So the heads' scores are a row of a table plus the load times a row,
and what follows the softmax (values, output projection, pointer keys) is one more table:

    scores_ahi = query_ah . key_hi / sqrt(D)            a: node last visited, h: head, i: node
    weights_hi = softmax_i(scores_ahi + load * per_load_hi), over the legal i
    logit_j    = c tanh(sum_hi weights_hi outputs_hij + bias_j)

No product with an M x M matrix is left in the loop over steps, and no exponential either: that of
a sum is the product of two factors, of which there is one for each node and one for each load.
The replay takes all steps at once in pieces over N; its backward pass computes the weights anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vrp.policy.record import BatchRecord

_CPU_PIECE = 1 << 20  # weights at a time: 4 MiB of float32
_GPU_PIECE = 1 << 28
# Scores are taken relative to the largest over all nodes. exp(-40) exp(-40) is above zero in
# float32, so the legal nodes always have a weight; only where an illegal node's score is 40 above
# theirs are their differences cut short.
_LIMIT = 40.0
_LOADS_PER_NODE = 4  # a table of all loads pays up to so many of them for each node


@dataclass(frozen=True)
class Tables(BatchRecord):
    """The decoder of N instances with H heads.

    Attributes:
        scores: (N, V, H V), for each node last visited a row of H x V.
        per_load: (N, H V), to be multiplied with the scaled load.
        outputs: (N, H V, V).
        bias: (N, V).
        scale: (N,), factor from goods to network input.
        clipping: c > 0 turns each logit into c tanh(logit); 0 leaves it.
        factors: the exponentials of the scores; no gradient, `glimpse_replay` supplies it.
    """

    scores: Tensor
    per_load: Tensor
    outputs: Tensor
    bias: Tensor
    scale: Tensor
    clipping: float
    factors: Factors


@dataclass(frozen=True)
class Factors(BatchRecord):
    """Exponentials, each row's largest being 1.

    Attributes:
        by_node: (N, V, H V), exp(scores) for each node last visited.
        by_load: (N, L, H V), exp(load * per_load) for each load from 0 to L - 1; None where loads
            are too many for a table.
        per_load: (N, H V), its largest over the nodes being 0.
    """

    by_node: Tensor
    by_load: Tensor | None
    per_load: Tensor


@torch.no_grad()
def make_factors(scores: Tensor, per_load: Tensor, scale: Tensor, most: int) -> Factors:
    """The factors of (N, V, H V) scores, for loads up to `most`."""
    n, v, width = scores.shape
    per_load = _below_zero(per_load.detach(), v)
    by_load = None
    if most < _LOADS_PER_NODE * v:
        loads = torch.arange(most + 1, device=scale.device) * scale[:, None]
        by_load = (loads[..., None] * per_load[:, None]).clamp_(min=-_LIMIT).exp_()
    by_node = _below_zero(scores.detach(), v).clamp_(min=-_LIMIT).exp_()
    return Factors(by_node.view(n, v, width), by_load, per_load)


def _below_zero(scores: Tensor, num_nodes: int) -> Tensor:
    """(..., H V) scores, less the largest of each head's."""
    by_head = scores.unflatten(-1, (-1, num_nodes))
    return (by_head - by_head.amax(-1, keepdim=True)).flatten(-2)


def glimpse_weights(tables: Tables, position: Tensor, load: Tensor, legal: Tensor) -> Tensor:
    """Attention weights of the heads, 0 where a node is not legal; no gradient.

    Args:
        tables: of N instances.
        position: (N, Q) int64, nodes last visited.
        load: (N, Q) int64, goods.
        legal: (N, Q, V) float, 1 where a node may be chosen and 0 elsewhere.

    Returns:
        (N, Q, H V).
    """
    factors = tables.factors
    weights = _rows(factors.by_node, position)
    if factors.by_load is None:
        scaled = (load * tables.scale[:, None])[..., None]
        weights *= (scaled * factors.per_load[:, None]).clamp_(min=-_LIMIT).exp_()
    else:
        weights *= _rows(factors.by_load, load)
    by_head = weights.unflatten(-1, (-1, legal.shape[-1]))
    by_head *= legal[:, :, None]
    by_head /= by_head.sum(-1, keepdim=True)
    return weights


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows (N, Q, W) of a table (N, R, W) at index (N, Q) int64."""
    n, rows, width = table.shape
    offsets = torch.arange(0, n * rows, rows, device=index.device)[:, None]
    found = table.reshape(n * rows, width).index_select(0, (index + offsets).view(-1))
    return found.view(*index.shape, width)


def glimpse_logits(tables: Tables, position: Tensor, load: Tensor, legal: Tensor) -> Tensor:
    """Logits (N, Q, V) of the next node, minus infinity where not legal; no gradient.

    Args:
        tables: of N instances.
        position: (N, Q) int64, nodes last visited.
        load: (N, Q) int64, goods.
        legal: (N, Q, V) bool.
    """
    logits = tables.bias.new_empty(legal.shape)
    for part in _pieces(tables, legal.shape[1]):
        some, is_legal = tables[part], legal[part].to(logits.dtype)
        weights = glimpse_weights(some, position[part], load[part], is_legal)
        torch.baddbmm(some.bias[:, None], weights, some.outputs, out=logits[part])
    if tables.clipping:
        logits.tanh_().mul_(tables.clipping)
    return logits.masked_fill_(~legal, -torch.inf)


def glimpse_replay(
    tables: Tables, position: Tensor, load: Tensor, legal: Tensor, actions: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-probability of each action and entropy of its distribution, (N, Q) each.

    Differentiable in scores, per_load, outputs and bias of the tables.

    Args:
        tables: of N instances.
        position: (N, Q) int64, nodes last visited.
        load: (N, Q) int64, goods.
        legal: (N, Q, V) bool.
        actions: (N, Q) int64.
    """
    learned = tables.scores, tables.per_load, tables.outputs, tables.bias
    return _GlimpseReplay.apply(tables.detach(), position, load, legal, actions, *learned)


def _pieces(tables: Tables, queries: int) -> Iterator[slice]:
    limit = _CPU_PIECE if tables.bias.device.type == "cpu" else _GPU_PIECE
    n, _, width = tables.scores.shape
    piece = max(1, limit // (queries * width))
    for start in range(0, n, piece):
        yield slice(start, min(start + piece, n))


@dataclass(frozen=True)
class _Part:
    """What the steps of some instances led to, n of them.

    Attributes:
        weights: (n, Q, H V).
        logits: (n, Q, V), finite everywhere.
        probs: (n, Q, V), 0 where not legal.
        log_total: (n, Q, 1), of the legal logits' exponentials.
    """

    weights: Tensor
    logits: Tensor
    probs: Tensor
    log_total: Tensor

    def entropy(self) -> Tensor:
        """(n, Q, 1), in nats."""
        return self.log_total - (self.probs * self.logits).sum(-1, keepdim=True)


def _play(tables: Tables, position: Tensor, load: Tensor, legal: Tensor) -> _Part:
    is_legal = legal.to(tables.bias.dtype)
    weights = glimpse_weights(tables, position, load, is_legal)
    logits = torch.baddbmm(tables.bias[:, None], weights, tables.outputs)
    if tables.clipping:
        logits.tanh_().mul_(tables.clipping)
    if not 0 < tables.clipping <= _LIMIT:
        logits -= logits.masked_fill(~legal, -torch.inf).amax(-1, keepdim=True)
        logits.clamp_(max=0.0)
    probs = logits.exp().mul_(is_legal)
    total = probs.sum(-1, keepdim=True)
    return _Part(weights, logits, probs.div_(total), total.log())


class _GlimpseReplay(torch.autograd.Function):
    """Nothing of size N Q H V is kept between the passes."""

    @staticmethod
    def forward(ctx, tables, position, load, legal, actions, *learned):
        ctx.set_materialize_grads(False)
        ctx.tables = tables
        ctx.save_for_backward(position, load, legal, actions)
        chosen, entropy = (tables.bias.new_empty(actions.shape) for _ in range(2))
        for part in _pieces(tables, actions.shape[1]):
            played = _play(tables[part], position[part], load[part], legal[part])
            at = played.logits.gather(-1, actions[part, :, None])
            chosen[part] = (at - played.log_total)[..., 0]
            entropy[part] = played.entropy()[..., 0]
        return chosen, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx, for_chosen, for_entropy):
        tables = ctx.tables
        position, load, legal, actions = ctx.saved_tensors
        parts = tables.scores, tables.per_load, tables.outputs, tables.bias
        for_scores, for_load, for_outputs, for_bias = map(torch.empty_like, parts)
        only_outputs = not any(ctx.needs_input_grad[5:7])
        nodes = torch.arange(legal.shape[-1], device=legal.device)
        for part in _pieces(tables, actions.shape[1]):
            some, played = (
                tables[part],
                _play(tables[part], position[part], load[part], legal[part]),
            )
            for_raw = _for_raw(
                played, some.clipping, actions[part],
                None if for_chosen is None else for_chosen[part, :, None],
                None if for_entropy is None else for_entropy[part, :, None],
            )  # fmt: skip
            torch.sum(for_raw, 1, out=for_bias[part])
            torch.bmm(played.weights.transpose(1, 2), for_raw, out=for_outputs[part])
            if only_outputs:
                continue
            rows = torch.bmm(for_raw, some.outputs.transpose(1, 2)).mul_(played.weights)
            by_head = rows.unflatten(-1, (-1, len(nodes)))
            total = by_head.sum(-1, keepdim=True)
            by_head.addcmul_(played.weights.view_as(by_head), total, value=-1)
            # Row a of the scores collects the steps that began at node a.
            at = (nodes == position[part, :, None]).to(rows.dtype)
            torch.bmm(at.transpose(1, 2), rows, out=for_scores[part])
            scaled = load[part] * some.scale[:, None]
            torch.bmm(scaled[:, None], rows, out=for_load[part, None])
        if only_outputs:
            for_scores = for_load = None
        return None, None, None, None, None, for_scores, for_load, for_outputs, for_bias


def _for_raw(
    played: _Part,
    clipping: float,
    actions: Tensor,
    for_chosen: Tensor | None,
    for_entropy: Tensor | None,
) -> Tensor:
    """The gradient of the pointer's scores before tanh, (n, Q, V), from (n, Q, 1) gradients."""
    grad = torch.zeros_like(played.probs)
    if for_chosen is not None:
        grad.addcmul_(played.probs, for_chosen, value=-1)
        grad.scatter_add_(-1, actions[..., None], for_chosen)
    if for_entropy is not None:
        log_probs = played.logits - played.log_total
        grad -= played.probs * (log_probs + played.entropy()) * for_entropy
    if clipping:
        grad *= clipping - played.logits.square() / clipping
    return grad
