"""The attention decoder over all steps of given tours at once, with gradient.

It goes in pieces over N and, of large instances, over Q, finds the weights on the tape of the
rollout or computes them anew in each of its passes, and keeps nothing else of size N Q H V.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from vrp.policy.glimpse import (
    GlimpseTape,
    Tables,
    clip_scores,
    glimpse_weights,
    pieces,
    pointer_scores,
    query_pieces,
)
from vrp.problem.environment import seen_before_each_step
from vrp.problem.instances import Instances

# Of logits no further from zero than this, exponentials and their sums are normal float32 numbers.
_SAFE_CLIPPING = 40.0


def replay_tours(
    tables: Tables, instances: Instances, actions: Tensor, tape: GlimpseTape | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability of each action, entropy of its distribution, and whether the step counts.

    Args:
        tables: of N instances.
        instances: the same.
        actions: (N, K, T) int64, legal tours padded with 0.
        tape: recorded while they were made, or None.

    Returns:
        (N, T, K) each.
    """
    if tape is None:
        seen = seen_before_each_step(instances, actions)
        position = seen.position.transpose(1, 2)
        load, legal = seen.load.transpose(1, 2), seen.legal.transpose(1, 2)
    else:
        steps = actions.shape[-1]
        position = tape.position[:, :steps]
        load, legal = tape.load[:, :steps], tape.legal[:, :steps]
    log_prob, entropy = glimpse_replay(tables, position, load, legal, actions.transpose(1, 2), tape)
    # From the depot to the depot goes only who has served all.
    return log_prob, entropy, (position != 0) | ~legal[..., 0]


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
        pointer_scores(tables, weights, logits)
        clip_scores(logits, tables.clipping)
    relative = logits
    if not 0 < tables.clipping <= _SAFE_CLIPPING:
        largest = logits.masked_fill(~legal, -torch.inf).amax(-1, keepdim=True)
        relative = (logits - largest).clamp_(max=0.0)
    probs = relative.exp().mul_(is_legal)
    total = probs.sum(-1, keepdim=True)
    return _Distributions(weights, logits, relative, probs.div_(total), total.log())


class _GlimpseReplay(torch.autograd.Function):
    """The tables' gradients are gathered piece by piece.

    Time and solutions are one axis here: Q = T K steps of each of N instances.
    """

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
        """Log-probability of each action and entropy of its distribution, (N, Q) each.

        Args:
            ctx: keeps what `backward` needs.
            tables: of N instances, detached; the numbers are taken from them.
            weights: (N, Q, H V) of the tape, in the precision of the products; None without.
            logits: (N, Q, V) of the tape, before the mask; None without.
            position: (N, Q) int64, nodes last visited.
            load: (N, Q) int64, goods.
            legal: (N, Q, V) bool.
            actions: (N, Q) int64.
            learned: scores, per_load, outputs and bias of the tables, which only carry the
                gradient; the first three are None where there is none.
        """
        ctx.set_materialize_grads(False)
        ctx.tables = tables
        ctx.save_for_backward(weights, logits, position, load, legal, actions)
        chosen, entropy = (tables.bias.new_empty(actions.shape) for _ in range(2))
        for part, some in _parts(tables, actions.shape[1]):
            found = _of_piece(tables, (weights, logits, position, load, legal), part, some)
            at = found.relative.gather(-1, actions[part, some, None])
            chosen[part, some] = (at - found.log_total)[..., 0]
            entropy[part, some] = found.entropy()[..., 0]
        return chosen, entropy

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, for_chosen: Tensor | None, for_entropy: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Gradients of `forward`'s arguments: None for all but the learned tables.

        Args:
            ctx: as `forward` left it.
            for_chosen: (N, Q), the gradient of the log-probabilities; None where it is zero.
            for_entropy: (N, Q), that of the entropies, likewise.

        Returns:
            Seven times None, then those of scores (N, V, H V), per_load (N, H V), outputs
            (N, H V, V) and bias (N, V); None for the first two where nothing asks for them.
        """
        tables = ctx.tables
        *seen, actions = ctx.saved_tensors
        position, load, legal = seen[2:]
        for_outputs, for_bias = torch.zeros_like(tables.outputs), torch.zeros_like(tables.bias)
        only_outputs = not any(ctx.needs_input_grad[7:9])
        for_scores = for_load = None
        if not only_outputs:
            for_scores = torch.zeros_like(tables.scores)
            for_load = torch.zeros_like(tables.per_load)
        dtype, num_nodes = tables.factors.outputs.dtype, legal.shape[-1]
        for part, some in _parts(tables, actions.shape[1]):
            found, outputs = _of_piece(tables, seen, part, some), tables.factors.outputs[part]
            grad = _gradient_before_tanh(
                found, tables.clipping, actions[part, some],
                None if for_chosen is None else for_chosen[part, some, None],
                None if for_entropy is None else for_entropy[part, some, None],
            )  # fmt: skip
            for_bias[part] += grad.sum(1)
            grad = grad.to(dtype)
            # The smaller factor is the one to be transposed: it may be copied for that.
            for_outputs[part] += torch.bmm(grad.transpose(1, 2), found.weights).transpose(1, 2)
            if only_outputs:
                continue
            rows = torch.bmm(grad, outputs.transpose(1, 2)).float()
            by_head = rows.unflatten(-1, (-1, num_nodes))
            weights = found.weights.float().view_as(by_head)
            by_head *= weights
            by_head.addcmul_(by_head.sum(-1, keepdim=True), weights, value=-1)
            rows = rows.to(dtype)
            # Row a of the scores collects the steps that began at node a, `per_load` all by load.
            at = grad.new_zeros(*grad.shape[:2], num_nodes + 1)
            at.scatter_(-1, position[part, some, None], 1)
            at[..., num_nodes] = load[part, some] * tables.scale[part, None]
            collected = torch.bmm(at.transpose(1, 2), rows)
            for_scores[part] += collected[:, :num_nodes]
            for_load[part] += collected[:, num_nodes]
        return *[None] * 7, for_scores, for_load, for_outputs, for_bias


def _parts(tables: Tables, queries: int) -> Iterator[tuple[slice, slice]]:
    """Of N and of Q."""
    of_queries = query_pieces(tables, queries)
    for part in pieces(tables, queries):
        yield from ((part, some) for some in of_queries)


def _of_piece(
    tables: Tables, seen: Sequence[Tensor | None], part: slice, some: slice
) -> _Distributions:
    return _distributions(tables[part], *(None if x is None else x[part, some] for x in seen))


def _gradient_before_tanh(
    found: _Distributions,
    clipping: float,
    actions: Tensor,
    for_chosen: Tensor | None,
    for_entropy: Tensor | None,
) -> Tensor:
    """The gradient of the pointer's scores before tanh, (n, Q, V), from (n, Q, 1) gradients."""
    if for_chosen is None:
        grad = torch.zeros_like(found.probs)
    else:
        grad = found.probs * -for_chosen
        grad.scatter_add_(-1, actions[..., None], for_chosen)
    if for_entropy is not None:
        log_probs = found.relative - found.log_total
        grad -= found.probs * (log_probs + found.entropy()) * for_entropy
    if clipping:
        slope = torch.addcmul(
            grad.new_tensor(clipping), found.logits, found.logits, value=-1 / clipping
        )
        grad *= slope
    return grad
