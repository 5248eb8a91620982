"""One LSTM layer, a step at a time for search and over all steps at once for learning.

Both take the input's share of the gates ready-made, because the inputs are rows of a table with
one row per node. Gates stand in PyTorch's order: input, forget, cell, output.

Source: Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from vrp.policy.kernels import Kernels


def lstm_step(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The next hidden and cell state.

    Args:
        gates: (B, 4H) sums of all contributions, before their nonlinearities.
        cell: (B, H).

    Returns:
        hidden (B, H) and cell (B, H).
    """
    into, forget, candidate, out = gates.chunk(4, -1)
    cell = forget.sigmoid() * cell + into.sigmoid() * candidate.tanh()
    return out.sigmoid() * cell.tanh(), cell


def lstm_step_saving(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `lstm_step`, with the factors of its own derivative.

    Returns:
        hidden (B, H), cell (B, H), and (B, 6H): d cell / d of the input, forget and cell gates,
        d hidden / d output gate, d hidden / d cell, and d cell / d last cell.
    """
    into, forget, candidate, out = gates.chunk(4, -1)
    into, forget, out = into.sigmoid(), forget.sigmoid(), out.sigmoid()
    candidate = candidate.tanh()
    new_cell = forget * cell + into * candidate
    squashed = new_cell.tanh()
    saved = torch.cat(
        [
            candidate * into * (1 - into),
            cell * forget * (1 - forget),
            into * (1 - candidate * candidate),
            squashed * out * (1 - out),
            out * (1 - squashed * squashed),
            forget,
        ],
        -1,
    )
    return out * squashed, new_cell, saved


def lstm_step_backward(
    for_hidden: Tensor, for_cell: Tensor, saved: Tensor
) -> tuple[Tensor, Tensor]:
    """The derivative of `lstm_step_saving`.

    Args:
        for_hidden: (B, H), gradient of the step's hidden state.
        for_cell: (B, H), gradient of its cell state from later steps.
        saved: (B, 6H), as the step left it.

    Returns:
        The gradient of the gates (B, 4H), and of the cell state before (B, H).
    """
    into, forget, candidate, out, through, keep = saved.chunk(6, -1)
    total = for_cell + for_hidden * through
    gates = torch.cat([into * total, forget * total, candidate * total, out * for_hidden], -1)
    return gates, total * keep


def lstm_sequence(kernels: Kernels, gates: Tensor, weight_hh: Tensor) -> Tensor:
    """Hidden states over T steps from a zero start.

    Args:
        kernels: how each step is computed.
        gates: (T, B, 4H), the inputs' share with both biases; overwritten.
        weight_hh: (4H, H).

    Returns:
        (T, B, H), differentiable in both arguments.
    """
    return _LstmSequence.apply(kernels, gates, weight_hh)


class _LstmSequence(torch.autograd.Function):
    """Gathers the weight's gradient of all steps in one matrix product."""

    @staticmethod
    def forward(ctx, kernels, gates, weight_hh):
        steps, batch, width = gates.shape
        hidden = gates.new_empty(steps, batch, width // 4)
        cell = gates.new_zeros(batch, width // 4)
        saved = []
        for t in range(steps):
            if t:
                gates[t].addmm_(hidden[t - 1], weight_hh.T)
            now, cell, factors = kernels.lstm_step_saving(gates[t], cell)
            hidden[t] = now
            saved.append(factors)
        ctx.kernels = kernels
        ctx.save_for_backward(weight_hh, hidden, *saved)
        return hidden

    @staticmethod
    def backward(ctx, grad):
        weight_hh, hidden, *saved = ctx.saved_tensors
        steps, batch, size = hidden.shape
        grads = hidden.new_empty(steps, batch, 4 * size)
        for_cell = torch.zeros_like(hidden[0])
        for_hidden = grad[steps - 1]
        for t in range(steps - 1, -1, -1):
            grads[t], for_cell = ctx.kernels.lstm_step_backward(for_hidden, for_cell, saved[t])
            if t:
                for_hidden = torch.addmm(grad[t - 1], grads[t], weight_hh)
        for_weight = grads[1:].reshape(-1, 4 * size).T @ hidden[:-1].reshape(-1, size)
        return None, grads, for_weight
