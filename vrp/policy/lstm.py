"""One LSTM layer, a step at a time for search and over all steps at once for learning.

Both take the input's share of the gates ready-made, because the inputs are rows of a table with
one row per node. Gates stand in PyTorch's order: input, forget, cell, output.

Source: Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000).
"""

from __future__ import annotations

import torch
from torch import Tensor


def lstm_step(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The next hidden and cell state.

    Args:
        gates: (B, 4H) sums of all contributions, before their nonlinearities; overwritten.
        cell: (B, H).

    Returns:
        hidden (B, H) and cell (B, H).
    """
    into, forget, candidate, out = _activate(gates)
    cell = torch.addcmul(forget * cell, into, candidate)
    return out * cell.tanh(), cell


def lstm_sequence(gates: Tensor, weight_hh: Tensor) -> Tensor:
    """Hidden states over T steps from a zero start.

    Args:
        gates: (T, B, 4H), the inputs' share with both biases.
        weight_hh: (4H, H).

    Returns:
        (T, B, H), differentiable in both arguments.
    """
    return _LstmSequence.apply(gates, weight_hh)


def _activate(gates: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    into, forget, candidate, out = gates.chunk(4, -1)
    size = into.shape[-1]
    gates[..., : 2 * size].sigmoid_()
    candidate.tanh_()
    out.sigmoid_()
    return into, forget, candidate, out


class _LstmSequence(torch.autograd.Function):
    """Saves the activated gates; gathers the weight's gradient in one matrix product."""

    @staticmethod
    def forward(ctx, gates, weight_hh):
        steps, batch, width = gates.shape
        size = width // 4
        activated = gates.clone()
        hidden = gates.new_empty(steps, batch, size)
        cells = gates.new_empty(steps, batch, size)
        transposed = weight_hh.T.contiguous()
        for t in range(steps):
            if t:
                activated[t].addmm_(hidden[t - 1], transposed)
            into, forget, candidate, out = _activate(activated[t])
            torch.mul(into, candidate, out=cells[t])
            if t:
                cells[t].addcmul_(forget, cells[t - 1])
            torch.tanh(cells[t], out=hidden[t])
            hidden[t].mul_(out)
        ctx.save_for_backward(activated, cells, hidden, weight_hh)
        return hidden

    @staticmethod
    def backward(ctx, grad):
        activated, cells, hidden, weight_hh = ctx.saved_tensors
        steps, _, size = cells.shape
        grads = torch.empty_like(activated)
        for_hidden = grad[steps - 1]
        for_cell = torch.zeros_like(cells[0])
        for t in range(steps - 1, -1, -1):
            into, forget, candidate, out = activated[t].chunk(4, -1)
            to_into, to_forget, to_candidate, to_out = grads[t].chunk(4, -1)
            squashed = cells[t].tanh()
            # d out, before its sigmoid: out (1 - out) written as out - out^2.
            torch.mul(torch.addcmul(out, out, out, value=-1), squashed, out=to_out)
            to_out.mul_(for_hidden)
            through = torch.mul(for_hidden, out)
            for_cell.add_(torch.addcmul(through, through * squashed, squashed, value=-1))
            torch.mul(torch.addcmul(into, into, into, value=-1), candidate, out=to_into)
            to_into.mul_(for_cell)
            torch.mul(into, for_cell, out=to_candidate)
            to_candidate.addcmul_(to_candidate * candidate, candidate, value=-1)
            if t:
                torch.mul(
                    torch.addcmul(forget, forget, forget, value=-1), cells[t - 1], out=to_forget
                )
                to_forget.mul_(for_cell)
                for_cell.mul_(forget)
                for_hidden = torch.addmm(grad[t - 1], grads[t], weight_hh)
            else:
                to_forget.zero_()
        for_weight = grads[1:].reshape(-1, 4 * size).T @ hidden[:-1].reshape(-1, size)
        return grads, for_weight
