"""The attention decoder, collapsed into tables.

The query of a step is linear in the node last visited and in the load, and everything it meets
is the same at all steps. So the heads' scores are a row of a table plus the load times a row,
and what follows the softmax (values, output projection, pointer keys) is one more table:

    scores_ahi = query_ah . key_hi / sqrt(D)            a: node last visited, h: head, i: node
    weights_hi = softmax_i(scores_ahi + load * per_load_hi), over the legal i
    logit_j    = c tanh(sum_hi weights_hi outputs_hij + bias_j)

No product with an M x M matrix is left in the loop over steps, and no exponential either: that of
a sum is the product of two factors, of which there is one for each node and one for each load.
`glimpse_replay` takes the steps of whole tours at once, with gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vrp.policy.record import BatchRecord

_CPU_PIECE = 1 << 21  # weights at a time: 8 MiB of float32
_GPU_PIECE = 1 << 28
# Scores are taken relative to the largest over all nodes, legal or not, and cut off this far below
# it: only where an illegal node's score is 80 above the legal ones' are their differences cut short
# (trained models were seen to come to 45). Then a node's exponential times a load's, exp(-160),
# would be zero in float32. So those of nodes are lifted by a power of two, which rounds nothing.
LIMIT = 80.0
_LIFT = 2.0**110  # 2^110 exp(-160) and 2^110 times thousands of nodes are normal numbers
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
        is_native: whether whole tours are for `native.glimpse` to play and replay.
    """

    scores: Tensor | None
    per_load: Tensor | None
    outputs: Tensor | None
    bias: Tensor
    scale: Tensor
    clipping: float
    factors: Factors
    is_native: bool = False


@dataclass(frozen=True)
class Factors(BatchRecord):
    """The tables in the form that steps take; exponentials have 1 as each row's largest.

    Attributes:
        by_node: (N, V, H V), exp(scores) for each node last visited, times a power of two.
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
        scores: (N, V, H, V), those of `Tables`, of any strides.
        per_load: (N, H, V), likewise.
        outputs: (N, H V, V), as in `Tables`, like the next.
        scale: (N,).
        most_load: the largest load of all; None if it is not known.
        dtype: of the products with the weights.
    """
    v = scores.shape[1]
    per_load = _below_zero(per_load)
    by_load = None
    if most_load is not None and table_of_loads(most_load, v):
        loads = torch.arange(most_load + 1, device=scale.device) * scale[:, None]
        by_load = (loads[..., None] * per_load[:, None]).clamp_(min=-LIMIT).exp_()
    by_node = _below_zero(scores).clamp_(min=-LIMIT).exp_().mul_(_LIFT)
    return Factors(by_node, by_load, per_load, outputs.detach().to(dtype))


def table_of_loads(most_load: int, num_nodes: int) -> bool:
    """Whether a table of all loads pays."""
    return most_load < _LOADS_PER_NODE * num_nodes


def _below_zero(scores: Tensor) -> Tensor:
    """(..., H, V) scores, less the largest of each head's: (..., H V)."""
    in_order = torch.empty(scores.shape, dtype=scores.dtype, device=scores.device)
    return torch.sub(scores, scores.amax(-1, keepdim=True), out=in_order).flatten(-2)


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
        weights *= (scaled * factors.per_load[:, None]).clamp_(min=-LIMIT).exp_()
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
        cls, tables: Tables, num_solutions: int, most: int, old: object = None
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
        if isinstance(old, GlimpseTape) and old.holds((*shape, width), outputs):
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
    for part in pieces(tables, legal.shape[1]):
        some = tables[part]
        weights = glimpse_weights(some, position[part], load[part], is_legal[part])
        if tape is None:
            weights = weights.to(some.factors.outputs.dtype)
        else:
            weights = tape.weights[part, t].copy_(weights)
        pointer_scores(some, weights, logits[part])
    clip_scores(logits, tables.clipping)
    if tape is not None:
        tape.position[:, t], tape.load[:, t] = position, load
        tape.legal[:, t], tape.logits[:, t] = legal, logits
    # Takes 0 where a node is legal and infinity elsewhere; filling under a mask takes longer.
    return logits.sub_(is_legal.reciprocal_().sub_(1))


def pointer_scores(tables: Tables, weights: Tensor, out: Tensor) -> None:
    """The pointer's scores (N, Q, V), before tanh and mask."""
    if weights.dtype == out.dtype:
        torch.baddbmm(tables.bias[:, None], weights, tables.factors.outputs, out=out)
    else:
        torch.add(torch.bmm(weights, tables.factors.outputs), tables.bias[:, None], out=out)


def clip_scores(scores: Tensor, clipping: float) -> None:
    """In place c tanh(scores), as 2 c sigmoid(2 scores) - c: at most half of the time on a CPU."""
    if clipping:
        scores.mul_(2).sigmoid_().mul_(2 * clipping).sub_(clipping)


def pieces(tables: Tables, queries: int) -> Iterator[slice]:
    """Parts of N whose weights for so many queries stay in a CPU's cache, or in bounds on a GPU."""
    n, piece = len(tables.bias), max(1, _most_queries(tables) // queries)
    for start in range(0, n, piece):
        yield slice(start, min(start + piece, n))


def query_pieces(tables: Tables, queries: int) -> list[slice]:
    """Parts of Q, of about equal size, where the weights of a single instance are too many."""
    size = -(-queries // -(-queries // _most_queries(tables)))
    return [slice(start, min(start + size, queries)) for start in range(0, queries, size)]


def _most_queries(tables: Tables) -> int:
    """Whose weights are kept at a time."""
    limit = _CPU_PIECE if tables.bias.device.type == "cpu" else _GPU_PIECE
    return max(1, limit // tables.factors.by_node.shape[2])
