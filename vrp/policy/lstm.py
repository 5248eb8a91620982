"""One LSTM layer, a step at a time for search and over all steps at once for learning.

Both take the input's share of the gates ready-made, because the inputs are rows of a table with
one row per node. Gates stand in PyTorch's order: input, forget, cell, output.

Source: Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

if TYPE_CHECKING:
    from vrp.policy.kernels import Kernels

LstmTape = list[tuple[Tensor, ...]]  # what `lstm_step_saving` returned, a tuple per step
_PER_STEP = 6  # tensors of a step on the tape
# Adding the rows of several steps at once is several times faster than step by step; more than
# these would only leave the cache.
_STEPS_AT_ONCE = 8


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
    for_gates: Tensor,
) -> Tensor:
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
        for_gates: (B, 4H), where the gradient of the gates is written.

    Returns:
        The gradient of the cell state before, (B, H).
    """
    squashed = cell.tanh()
    total = for_cell + for_hidden * out * (1 - squashed * squashed)
    for_into, for_forget, for_candidate, for_out = for_gates.chunk(4, -1)
    for_into.copy_(total * candidate * into * (1 - into))
    for_forget.copy_(total * cell_before * forget * (1 - forget))
    for_candidate.copy_(total * into * (1 - candidate * candidate))
    for_out.copy_(for_hidden * squashed * out * (1 - out))
    return total * forget


def lstm_sequence(
    kernels: Kernels, table: Tensor, rows: Tensor, weight_hh: Tensor, tape: LstmTape | None = None
) -> Tensor:
    """Hidden states over T steps from a zero start.

    Args:
        kernels: how each step is computed.
        table: (R, 4H), the share in the gates, both biases included, of every input there is.
        rows: (T, B) int64, the row of `table` that each step takes as its input.
        weight_hh: (4H, H).
        tape: T or more steps of just this sequence, recorded as it was first played; it spares
            the forward pass.

    Returns:
        (B, T, H), differentiable in table and weight.
    """
    if tape is None:
        tape = _play(kernels, table, rows, weight_hh)
    flat = [tensor for step in tape[: len(rows)] for tensor in step]
    return _LstmSequence.apply(kernels, table, rows, weight_hh, *flat)


@torch.no_grad()
def _play(kernels: Kernels, table: Tensor, rows: Tensor, weight_hh: Tensor) -> LstmTape:
    hidden = cell = table.new_zeros(rows.shape[1], weight_hh.shape[1])
    tape = []
    for row in rows:
        gates = table.index_select(0, row).addmm_(hidden, weight_hh.T)
        hidden, cell, *activated = kernels.lstm_step_saving(gates, cell)
        tape.append((hidden, cell, *activated))
    return tape


class _LstmSequence(torch.autograd.Function):
    """The forward pass is the tape; only the backward pass computes."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        kernels: Kernels,
        table: Tensor,
        rows: Tensor,
        weight_hh: Tensor,
        *tape: Tensor,
    ) -> Tensor:
        ctx.kernels = kernels
        ctx.rows_of_table = len(table)
        ctx.save_for_backward(rows, weight_hh, *tape)
        return torch.stack(tape[::_PER_STEP], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight_hh, *tape = ctx.saved_tensors
        steps = [tape[i : i + _PER_STEP] for i in range(0, len(tape), _PER_STEP)]
        width = len(weight_hh)
        for_table = grad.new_zeros(ctx.rows_of_table, width)
        for_weight = torch.zeros_like(weight_hh)
        for_gates = grad.new_empty(_STEPS_AT_ONCE, rows.shape[1], width)
        nothing = torch.zeros_like(tape[0])
        for_hidden, for_cell = grad[:, -1], nothing
        for t in range(len(steps) - 1, -1, -1):
            _, cell, *activated = steps[t]
            hidden_before, cell_before = steps[t - 1][:2] if t else (nothing, nothing)
            gates = for_gates[t % _STEPS_AT_ONCE]
            for_cell = ctx.kernels.lstm_step_backward(
                for_hidden, for_cell, *activated, cell_before, cell, gates
            )
            if t:
                for_weight.addmm_(gates.T, hidden_before)
                for_hidden = torch.addmm(grad[:, t - 1], gates, weight_hh)
            if t % _STEPS_AT_ONCE == 0:
                row = rows[t : t + _STEPS_AT_ONCE]
                for_table.index_add_(0, row.reshape(-1), for_gates[: len(row)].view(-1, width))
        return None, for_table, None, for_weight, *([None] * len(tape))
