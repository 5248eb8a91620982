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


def lstm_step_saving(gates: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
    """As `lstm_step`, with what `lstm_step_backward` needs.

    Returns:
        hidden, cell, and the activated input, forget, cell and output gates, all (B, H).
    """
    into, forget, candidate, out = gates.chunk(4, -1)
    into, forget, out = into.sigmoid(), forget.sigmoid(), out.sigmoid()
    candidate = candidate.tanh()
    cell = forget * cell + into * candidate
    return out * cell.tanh(), cell, into, forget, candidate, out


def lstm_step_backward(
    for_hidden: Tensor,
    for_cell: Tensor,
    into: Tensor,
    forget: Tensor,
    candidate: Tensor,
    out: Tensor,
    cell_before: Tensor,
    cell: Tensor,
) -> tuple[Tensor, Tensor]:
    """The derivative of one step.

    Args:
        for_hidden: (B, H), gradient of the step's hidden state.
        for_cell: (B, H), gradient of its cell state from later steps.
        into: (B, H), activated input gate.
        forget: (B, H), activated forget gate.
        candidate: (B, H), activated cell gate.
        out: (B, H), activated output gate.
        cell_before: (B, H).
        cell: (B, H), after the step.

    Returns:
        The gradient of the gates (B, 4H), and of the cell state before (B, H).
    """
    squashed = cell.tanh()
    total = for_cell + for_hidden * out * (1 - squashed * squashed)
    gates = torch.cat(
        [
            total * candidate * into * (1 - into),
            total * cell_before * forget * (1 - forget),
            total * into * (1 - candidate * candidate),
            for_hidden * squashed * out * (1 - out),
        ],
        -1,
    )
    return gates, total * forget


def lstm_sequence(kernels: Kernels, table: Tensor, rows: Tensor, weight_hh: Tensor) -> Tensor:
    """Hidden states over T steps from a zero start.

    Args:
        kernels: how each step is computed.
        table: (R, 4H), the share in the gates, both biases included, of every input there is.
        rows: (T, B) int64, the row of `table` that each step takes as its input.
        weight_hh: (4H, H).

    Returns:
        (B, T, H), differentiable in table and weight.
    """
    return _LstmSequence.apply(kernels, table, rows, weight_hh)


class _LstmSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernels, table, rows, weight_hh):
        steps, batch = rows.shape
        size = weight_hh.shape[1]
        states = table.new_empty(batch, steps, size)
        hidden, cell = None, table.new_zeros(batch, size)
        saved = [cell]
        for t in range(steps):
            gates = table.index_select(0, rows[t])
            if t:
                gates.addmm_(hidden, weight_hh.T)
            hidden, cell, *activated = kernels.lstm_step_saving(gates, cell)
            states[:, t] = hidden
            saved += [hidden, *activated, cell]
        ctx.kernels = kernels
        ctx.rows_of_table = len(table)
        ctx.save_for_backward(rows, weight_hh, *saved)
        return states

    @staticmethod
    def backward(ctx, grad):
        rows, weight_hh, first_cell, *saved = ctx.saved_tensors
        steps = len(rows)
        for_table = grad.new_zeros(ctx.rows_of_table, len(weight_hh))
        for_weight = torch.zeros_like(weight_hh)
        for_cell = torch.zeros_like(first_cell)
        for_hidden = grad[:, steps - 1]
        for t in range(steps - 1, -1, -1):
            _, into, forget, candidate, out, cell = saved[6 * t : 6 * t + 6]
            cell_before = saved[6 * t - 1] if t else first_cell
            gates, for_cell = ctx.kernels.lstm_step_backward(
                for_hidden, for_cell, into, forget, candidate, out, cell_before, cell
            )
            for_table.index_add_(0, rows[t], gates)
            if t:
                for_weight.addmm_(gates.T, saved[6 * t - 6])
                for_hidden = torch.addmm(grad[:, t - 1], gates, weight_hh)
        return None, for_table, None, for_weight
