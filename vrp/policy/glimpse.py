"""The attention decoder, collapsed into tables.

The query of a step is linear in the node last visited and in the load, and everything it meets
is the same at all steps. So the heads' scores are a row of a table plus the load times a row,
and what follows the softmax (values, output projection, pointer keys) is one more table:

    scores_ahi = query_ah . key_hi / sqrt(D)            a: node last visited, h: head, i: node
    weights_hi = softmax_i(scores_ahi + load * per_load_hi), over the legal i
    logit_j    = c tanh(sum_hi weights_hi outputs_hij + bias_j)

No product with an M x M matrix is left in the loop over steps, and no exponential either: that of
a sum is the product of two factors, of which there is one for each node and one for each load.
The replay takes all steps at once, in pieces over N. It finds the weights on the tape of the
rollout, or computes them anew in each of its passes; either way nothing else of size N Q H V is
kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from vrp.policy.record import BatchRecord

_CPU_PIECE = 1 << 20  # weights at a time: 4 MiB of float32
_GPU_PIECE = 1 << 28
# Scores are taken relative to the largest over all nodes. exp(-40) exp(-40) is above zero in
# float32, so the legal nodes always have a weight; only where an illegal node's score is 40 above
# theirs are their differences cut short.
_LIMIT = 40.0
_LOADS_PER_NODE = 4  # a table of all loads pays up to so many of them for each node
_MOST_TAPE = 4 << 30  # bytes, of all that a tape holds


@dataclass(frozen=True)
class Tables(BatchRecord):
    """The decoder of N instances with H heads.

    The first three are what `factors` was made of. They take the gradient, and are None where none
    was asked for.

    Attributes:
        scores: (N, V, H V), for each node last visited a row of H x V.
        per_load: (N, H V), to be multiplied with the scaled load.
        outputs: (N, H V, V).
        bias: (N, V).
        scale: (N,), factor from goods to network input.
        clipping: c > 0 turns each logit into c tanh(logit); 0 leaves it.
        factors: what the steps compute with; no gradient, `glimpse_replay` supplies it.
    """

    scores: Tensor | None
    per_load: Tensor | None
    outputs: Tensor | None
    bias: Tensor
    scale: Tensor
    clipping: float
    factors: Factors


@dataclass(frozen=True)
class Factors(BatchRecord):
    """The tables in the form that steps take; exponentials have 1 as each row's largest.

    Attributes:
        by_node: (N, V, H V), exp(scores) for each node last visited.
        by_load: (N, L, H V), exp(load * per_load) for each load from 0 to L - 1; None where loads
            are too many for a table, or their number is not known.
        per_load: (N, H V), its largest over the nodes being 0.
        outputs: (N, H V, V), in the precision of the products with weights.
    """

    by_node: Tensor
    by_load: Tensor | None
    per_load: Tensor
    outputs: Tensor


@torch.no_grad()
def make_factors(
    scores: Tensor,
    per_load: Tensor,
    outputs: Tensor,
    scale: Tensor,
    most_load: int | None,
    dtype: torch.dtype,
) -> Factors:
    """What steps compute with.

    Args:
        scores: as in `Tables`, like the next three.
        per_load: (N, H V).
        outputs: (N, H V, V).
        scale: (N,).
        most_load: the largest load of all; None if it is not known.
        dtype: of the products with the weights.
    """
    n, v, width = scores.shape
    per_load = _below_zero(per_load.detach(), v)
    by_load = None
    if most_load is not None and most_load < _LOADS_PER_NODE * v:
        loads = torch.arange(most_load + 1, device=scale.device) * scale[:, None]
        by_load = (loads[..., None] * per_load[:, None]).clamp_(min=-_LIMIT).exp_()
    by_node = _below_zero(scores.detach(), v).clamp_(min=-_LIMIT).exp_()
    outputs = outputs.detach().to(dtype)
    return Factors(by_node.view(n, v, width), by_load, per_load, outputs)


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


@dataclass(frozen=True)
class GlimpseTape:
    """What `glimpse_logits` saw and found at each step; memory is taken only as steps are made.

    Attributes:
        position: (N, T, K) int64, nodes last visited.
        load: (N, T, K) int64, goods.
        legal: (N, T, K, V) bool.
        weights: (N, T, K, H V), in the precision of the products.
        logits: (N, T, K, V), before the mask.
    """

    position: Tensor
    load: Tensor
    legal: Tensor
    weights: Tensor
    logits: Tensor

    @classmethod
    def make(
        cls, tables: Tables, num_solutions: int, most: int, old: GlimpseTape | None = None
    ) -> GlimpseTape | None:
        """A tape of `most` steps of K solutions; None if it could grow too large.

        The old one, where it is of that size: a new one each time leaves holes in the heap, which
        then grows by several tapes.
        """
        n, v, width = tables.factors.by_node.shape
        outputs, shape = tables.factors.outputs, (n, most, num_solutions)
        sizes = (8, 8, v, width * outputs.element_size(), v * tables.bias.element_size())
        if math.prod(shape) * sum(sizes) > _MOST_TAPE:
            return None
        if old is not None and old.holds((*shape, width), outputs):
            return old
        return cls(
            torch.empty(shape, dtype=torch.int64, device=outputs.device),
            torch.empty(shape, dtype=torch.int64, device=outputs.device),
            torch.empty((*shape, v), dtype=torch.bool, device=outputs.device),
            outputs.new_empty(*shape, width),
            tables.bias.new_empty(*shape, v),
        )

    def holds(self, shape: tuple[int, ...], like: Tensor) -> bool:
        """Whether its weights are of that shape, and of the type and on the device of `like`."""
        mine = self.weights
        return mine.shape == shape and mine.dtype == like.dtype and mine.device == like.device


def glimpse_logits(
    tables: Tables,
    position: Tensor,
    load: Tensor,
    legal: Tensor,
    tape: GlimpseTape | None = None,
    t: int = 0,
) -> Tensor:
    """Logits (N, K, V) of the next node, minus infinity where not legal; no gradient.

    Args:
        tables: of N instances, detached.
        position: (N, K) int64, nodes last visited.
        load: (N, K) int64, goods.
        legal: (N, K, V) bool.
        tape: records the step.
        t: the step's number on the tape.
    """
    logits = tables.bias.new_empty(legal.shape)
    is_legal = legal.to(logits.dtype)
    for part in _pieces(tables, legal.shape[1]):
        some = tables[part]
        weights = glimpse_weights(some, position[part], load[part], is_legal[part])
        if tape is None:
            weights = weights.to(some.factors.outputs.dtype)
        else:
            weights = tape.weights[part, t].copy_(weights)
        _scores(some, weights, logits[part])
    _clip(logits, tables.clipping)
    if tape is not None:
        tape.position[:, t], tape.load[:, t] = position, load
        tape.legal[:, t], tape.logits[:, t] = legal, logits
    # Takes 0 where a node is legal and infinity elsewhere; filling under a mask takes longer.
    return logits.sub_(is_legal.reciprocal_().sub_(1))


def _scores(tables: Tables, weights: Tensor, out: Tensor) -> None:
    """The pointer's scores (N, Q, V), before tanh and mask."""
    if weights.dtype == out.dtype:
        torch.baddbmm(tables.bias[:, None], weights, tables.factors.outputs, out=out)
    else:
        torch.add(torch.bmm(weights, tables.factors.outputs), tables.bias[:, None], out=out)


def _clip(scores: Tensor, clipping: float) -> None:
    """In place c tanh(scores), as 2 c sigmoid(2 scores) - c: a quarter of the time."""
    if clipping:
        scores.mul_(2).sigmoid_().mul_(2 * clipping).sub_(clipping)


def glimpse_replay(
    tables: Tables,
    position: Tensor,
    load: Tensor,
    legal: Tensor,
    actions: Tensor,
    tape: GlimpseTape | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probability of each action and entropy of its distribution, (N, T, K) each.

    Differentiable in scores, per_load, outputs and bias of the tables.

    Args:
        tables: of N instances.
        position: (N, T, K) int64, nodes last visited.
        load: (N, T, K) int64, goods.
        legal: (N, T, K, V) bool.
        actions: (N, T, K) int64.
        tape: of just these steps or more.
    """
    n, steps, k = actions.shape
    weights = logits = None
    if tape is not None:
        weights = tape.weights[:, :steps].flatten(1, 2)
        logits = tape.logits[:, :steps].flatten(1, 2)
    seen = position.flatten(1), load.flatten(1), legal.flatten(1, 2), actions.flatten(1)
    learned = tables.scores, tables.per_load, tables.outputs, tables.bias
    found = _GlimpseReplay.apply(tables.detach(), weights, logits, *seen, *learned)
    return tuple(values.view(n, steps, k) for values in found)


def _pieces(tables: Tables, queries: int) -> Iterator[slice]:
    limit = _CPU_PIECE if tables.bias.device.type == "cpu" else _GPU_PIECE
    n, _, width = tables.factors.by_node.shape
    piece = max(1, limit // (queries * width))
    for start in range(0, n, piece):
        yield slice(start, min(start + piece, n))


@dataclass(frozen=True)
class _Distributions:
    """Of the next node at Q steps of n instances, with what they were made of.

    Attributes:
        weights: (n, Q, H V), in the precision of the products.
        logits: (n, Q, V), finite everywhere.
        relative: (n, Q, V), the logits, less the largest legal one where their exponentials could
            overflow.
        probs: (n, Q, V), 0 where not legal.
        log_total: (n, Q, 1), of the sum of the legal relative logits' exponentials.
    """

    weights: Tensor
    logits: Tensor
    relative: Tensor
    probs: Tensor
    log_total: Tensor

    def entropy(self) -> Tensor:
        """(n, Q, 1), in nats."""
        return self.log_total - (self.probs * self.relative).sum(-1, keepdim=True)


def _distributions(
    tables: Tables,
    weights: Tensor | None,
    logits: Tensor | None,
    position: Tensor,
    load: Tensor,
    legal: Tensor,
) -> _Distributions:
    """At given steps; of the tape's weights and logits if there are any."""
    is_legal = legal.to(tables.bias.dtype)
    if weights is None:
        weights = glimpse_weights(tables, position, load, is_legal)
        weights = weights.to(tables.factors.outputs.dtype)
        logits = torch.empty_like(is_legal)
        _scores(tables, weights, logits)
        _clip(logits, tables.clipping)
    relative = logits
    if not 0 < tables.clipping <= _LIMIT:
        largest = logits.masked_fill(~legal, -torch.inf).amax(-1, keepdim=True)
        relative = (logits - largest).clamp_(max=0.0)
    probs = relative.exp().mul_(is_legal)
    total = probs.sum(-1, keepdim=True)
    return _Distributions(weights, logits, relative, probs.div_(total), total.log())


class _GlimpseReplay(torch.autograd.Function):
    """The tables' gradients are gathered piece by piece."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        tables: Tables,
        weights: Tensor | None,
        logits: Tensor | None,
        position: Tensor,
        load: Tensor,
        legal: Tensor,
        actions: Tensor,
        *learned: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.tables = tables
        ctx.save_for_backward(weights, logits, position, load, legal, actions)
        chosen, entropy = (tables.bias.new_empty(actions.shape) for _ in range(2))
        for part in _pieces(tables, actions.shape[1]):
            found = _of_piece(tables, (weights, logits, position, load, legal), part)
            at = found.relative.gather(-1, actions[part, :, None])
            chosen[part] = (at - found.log_total)[..., 0]
            entropy[part] = found.entropy()[..., 0]
        return chosen, entropy

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, for_chosen: Tensor | None, for_entropy: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        tables = ctx.tables
        *seen, actions = ctx.saved_tensors
        position, load, legal = seen[2:]
        for_outputs, for_bias = torch.empty_like(tables.outputs), torch.empty_like(tables.bias)
        only_outputs = not any(ctx.needs_input_grad[7:9])
        for_scores = for_load = None
        if not only_outputs:
            for_scores = torch.empty_like(tables.scores)
            for_load = torch.empty_like(tables.per_load)
        nodes = torch.arange(legal.shape[-1], device=legal.device)
        dtype = tables.factors.outputs.dtype
        for part in _pieces(tables, actions.shape[1]):
            found, outputs = _of_piece(tables, seen, part), tables.factors.outputs[part]
            grad = _gradient_before_tanh(
                found, tables.clipping, actions[part],
                None if for_chosen is None else for_chosen[part, :, None],
                None if for_entropy is None else for_entropy[part, :, None],
            )  # fmt: skip
            torch.sum(grad, 1, out=for_bias[part])
            grad = grad.to(dtype)
            # The smaller factor is the one to be transposed: it may be copied for that.
            for_outputs[part] = torch.bmm(grad.transpose(1, 2), found.weights).transpose(1, 2)
            if only_outputs:
                continue
            rows = torch.bmm(grad, outputs.transpose(1, 2)).float()
            by_head = rows.unflatten(-1, (-1, len(nodes)))
            weights = found.weights.float().view_as(by_head)
            by_head -= (by_head * weights).sum(-1, keepdim=True)
            by_head *= weights
            rows = rows.to(dtype)
            # Row a of the scores collects the steps that began at node a.
            at = (nodes == position[part, :, None]).to(dtype)
            for_scores[part] = torch.bmm(at.transpose(1, 2), rows)
            scaled = (load[part] * tables.scale[part, None]).to(dtype)
            for_load[part] = torch.bmm(scaled[:, None], rows)[:, 0]
        return *[None] * 7, for_scores, for_load, for_outputs, for_bias


def _of_piece(tables: Tables, seen: Sequence[Tensor | None], part: slice) -> _Distributions:
    return _distributions(tables[part], *(None if x is None else x[part] for x in seen))


def _gradient_before_tanh(
    found: _Distributions,
    clipping: float,
    actions: Tensor,
    for_chosen: Tensor | None,
    for_entropy: Tensor | None,
) -> Tensor:
    """The gradient of the pointer's scores before tanh, (n, Q, V), from (n, Q, 1) gradients."""
    grad = torch.zeros_like(found.probs)
    if for_chosen is not None:
        grad.addcmul_(found.probs, for_chosen, value=-1)
        grad.scatter_add_(-1, actions[..., None], for_chosen)
    if for_entropy is not None:
        log_probs = found.relative - found.log_total
        grad -= found.probs * (log_probs + found.entropy()) * for_entropy
    if clipping:
        grad *= clipping - found.logits.square() / clipping
    return grad
