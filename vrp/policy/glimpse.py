"""The attention decoder, collapsed into tables.

The query of a step is linear in the node last visited and in the load, and everything it meets
is the same at all steps. So the heads' scores are a row of a table plus the load times a row,
and what follows the softmax (values, output projection, pointer keys) is one more table:

    scores_ahi = query_ah . key_hi / sqrt(D)            a: node last visited, h: head, i: node
    weights_hi = softmax_i(scores_ahi + load * per_load_hi), over the legal i
    logit_j    = c tanh(sum_hi weights_hi outputs_hij + bias_j)

No product with an M x M matrix is left in the loop over steps. The replay takes all steps at once
in pieces over N; its backward pass computes the weights anew, or finds them on the tape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vrp.policy.record import TensorRecord

_CPU_PIECE = 1 << 20  # weights at a time: 4 MiB of float32
_GPU_PIECE = 1 << 28


@dataclass(frozen=True)
class Tables(TensorRecord):
    """The decoder of N instances with H heads.

    Attributes:
        scores: (N, V, H V), for each node last visited a row of H x V.
        per_load: (N, H V), to be multiplied with the load.
        outputs: (N, H V, V).
        bias: (N, V).
        clipping: c > 0 turns each logit into c tanh(logit); 0 leaves it.
    """

    scores: Tensor
    per_load: Tensor
    outputs: Tensor
    bias: Tensor
    clipping: float


def glimpse_weights(rows: Tensor, load: Tensor, per_load: Tensor, legal: Tensor) -> Tensor:
    """Attention weights of the heads, 0 where a node is not legal.

    Args:
        rows: (N, Q, H V), the scores' rows.
        load: (N, Q), scaled.
        per_load: (N, H V).
        legal: (N, Q, V) bool.

    Returns:
        (N, Q, H V).
    """
    n, q, v = legal.shape
    scores = (rows + load[..., None] * per_load[:, None]).view(n, q, -1, v)
    return scores.masked_fill(~legal[:, :, None], -torch.inf).softmax(-1).view(n, q, -1)


def glimpse_backward(weights: Tensor, for_weights: Tensor, num_nodes: int) -> Tensor:
    """The gradient of the scores, (N, Q, H V), from weights and their gradient."""
    n, q, _ = weights.shape
    shape = (n, q, -1, num_nodes)
    product = (weights * for_weights).view(shape)
    total = product.sum(-1, keepdim=True)
    return (product - weights.view(shape) * total).view(n, q, -1)


def pointer_log_probs(raw: Tensor, legal: Tensor, clipping: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities (N, Q, V) of raw scores, and tanh of these or themselves."""
    squashed = raw.tanh() if clipping else raw
    logits = clipping * squashed if clipping else raw
    return logits.masked_fill(~legal, -torch.inf).log_softmax(-1), squashed


def pointer_backward(
    log_probs: Tensor,
    squashed: Tensor,
    actions: Tensor,
    for_chosen: Tensor,
    for_entropy: Tensor,
    clipping: float,
) -> Tensor:
    """The gradient of the raw scores, (N, Q, V).

    Args:
        log_probs: (N, Q, V), minus infinity where not legal.
        squashed: (N, Q, V), as from `pointer_log_probs`.
        actions: (N, Q) int64.
        for_chosen: (N, Q), gradient of the chosen nodes' log-probabilities.
        for_entropy: (N, Q), gradient of the entropies.
        clipping: c.
    """
    probs = log_probs.exp()
    bounded = log_probs.clamp(min=-1e9)
    entropy = -(probs * bounded).sum(-1, keepdim=True)
    nodes = torch.arange(probs.shape[-1], device=probs.device)
    chosen = (nodes == actions[..., None]).to(probs.dtype)
    grad = (chosen - probs) * for_chosen[..., None]
    grad = grad - probs * (bounded + entropy) * for_entropy[..., None]
    return grad * (clipping * (1 - squashed * squashed)) if clipping else grad


@dataclass(frozen=True)
class GlimpseKernels:
    """How each inner loop is computed; the functions of this module say what it is."""

    weights: Callable[..., Tensor]
    weights_backward: Callable[..., Tensor]
    log_probs: Callable[..., tuple[Tensor, Tensor]]
    log_probs_backward: Callable[..., Tensor]


EAGER = GlimpseKernels(glimpse_weights, glimpse_backward, pointer_log_probs, pointer_backward)


def compiled_glimpse(fuse: Callable[[Callable], Callable]) -> GlimpseKernels:
    """Every loop as one fused pass."""
    return GlimpseKernels(
        fuse(glimpse_weights),
        fuse(glimpse_backward),
        fuse(pointer_log_probs),
        fuse(pointer_backward),
    )


def table_rows(tables: Tensor, position: Tensor) -> Tensor:
    """Rows (N, Q, W) of tables (N, V, W) at position (N, Q) int64."""
    n, v, width = tables.shape
    offsets = torch.arange(0, n * v, v, device=position.device)[:, None]
    rows = tables.reshape(n * v, width).index_select(0, (position + offsets).view(-1))
    return rows.view(*position.shape, width)


def glimpse_replay(
    kernels: GlimpseKernels,
    tables: Tables,
    position: Tensor,
    load: Tensor,
    legal: Tensor,
    actions: Tensor,
) -> tuple[Tensor, Tensor]:
    """Log-probability of each action and entropy of its distribution, (N, Q) each.

    Differentiable in the tables.

    Args:
        kernels: how the loops are computed.
        tables: of N instances.
        position: (N, Q) int64, nodes last visited.
        load: (N, Q) float, scaled.
        legal: (N, Q, V) bool.
        actions: (N, Q) int64.
    """
    return _GlimpseReplay.apply(
        kernels,
        tables.clipping,
        position,
        load,
        legal,
        actions,
        tables.scores,
        tables.per_load,
        tables.outputs,
        tables.bias,
    )


def _pieces(scores: Tensor, queries: int) -> Iterator[slice]:
    limit = _CPU_PIECE if scores.device.type == "cpu" else _GPU_PIECE
    n, _, width = scores.shape
    piece = max(1, limit // (queries * width))
    for start in range(0, n, piece):
        yield slice(start, min(start + piece, n))


class _GlimpseReplay(torch.autograd.Function):
    """Nothing of size N Q H V is kept between the passes."""

    @staticmethod
    def forward(
        ctx, kernels, clipping, position, load, legal, actions, scores, per_load, outputs, bias
    ):
        saved = position, load, legal, actions, scores, per_load, outputs, bias
        ctx.kernels, ctx.clipping = kernels, clipping
        ctx.save_for_backward(*saved)
        chosen, entropy = torch.empty_like(load), torch.empty_like(load)
        for part in _pieces(scores, position.shape[1]):
            _, log_probs, _ = _replay_part(kernels, clipping, saved, part)
            chosen[part] = log_probs.gather(-1, actions[part, :, None])[..., 0]
            torch.sum(log_probs.exp() * log_probs.clamp(min=-1e9), -1, out=entropy[part])
        return chosen, entropy.neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx, for_chosen, for_entropy):
        kernels, clipping, saved = ctx.kernels, ctx.clipping, ctx.saved_tensors
        position, load, _, actions, scores, per_load, outputs, bias = saved
        for_scores, for_load = torch.empty_like(scores), torch.empty_like(per_load)
        for_outputs, for_bias = torch.empty_like(outputs), torch.empty_like(bias)
        num_nodes = bias.shape[1]
        nodes = torch.arange(num_nodes, device=bias.device)
        only_outputs = not any(ctx.needs_input_grad[6:8])
        for part in _pieces(scores, position.shape[1]):
            weights, log_probs, squashed = _replay_part(kernels, clipping, saved, part)
            for_raw = kernels.log_probs_backward(
                log_probs, squashed, actions[part], for_chosen[part], for_entropy[part], clipping
            )
            torch.sum(for_raw, 1, out=for_bias[part])
            torch.bmm(weights.transpose(1, 2), for_raw, out=for_outputs[part])
            if only_outputs:
                continue
            for_weights = torch.bmm(for_raw, outputs[part].transpose(1, 2))
            rows = kernels.weights_backward(weights, for_weights, num_nodes)
            # Row a of the scores collects the steps that began at node a.
            at = (nodes == position[part, :, None]).to(rows.dtype)
            torch.bmm(at.transpose(1, 2), rows, out=for_scores[part])
            torch.bmm(load[part, None], rows, out=for_load[part, None])
        if only_outputs:
            for_scores = for_load = None
        return None, None, None, None, None, None, for_scores, for_load, for_outputs, for_bias


def _replay_part(
    kernels: GlimpseKernels, clipping: float, saved: tuple[Tensor, ...], part: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (n, Q, H V), log-probabilities (n, Q, V) and tanh of the raw scores of a piece."""
    position, load, legal, _, scores, per_load, outputs, bias = saved
    rows = table_rows(scores[part], position[part])
    weights = kernels.weights(rows, load[part], per_load[part], legal[part])
    raw = torch.baddbmm(bias[part, None], weights, outputs[part])
    return weights, *kernels.log_probs(raw, legal[part], clipping)
