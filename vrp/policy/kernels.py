"""The inner loops of the pointer policy, eager or fused by `torch.compile`.

Both give the same numbers up to rounding. Compiling needs a compiler and Python's headers on a
CPU, and happens at the first call of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vrp.policy import additive, lstm


@dataclass(frozen=True)
class Kernels:
    """How each inner loop is computed; the functions of `additive` and `lstm` say what it is."""

    factors: Callable[[Tensor, Tensor], Tensor]
    scores: Callable[..., Tensor]
    scores_backward: Callable[..., tuple[Tensor, ...]]
    lstm_step: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    lstm_step_saving: Callable[[Tensor, Tensor], tuple[Tensor, ...]]
    lstm_step_backward: Callable[..., Tensor]


EAGER = Kernels(
    additive.factors,
    additive.scores_in_pieces,
    additive.scores_in_pieces_backward,
    lstm.lstm_step,
    lstm.lstm_step_saving,
    lstm.lstm_step_backward,
)


def fuse(function: Callable) -> Callable:
    """The function as one fused pass for any sizes; as it is if the compiler fails on it."""
    torch._dynamo.config.suppress_errors = True
    return torch.compile(function, dynamic=True)


def compiled_kernels() -> Kernels:
    """Every loop as one fused pass."""
    return Kernels(
        fuse(additive.factors),
        fuse(additive.scores_fused),
        fuse(additive.scores_fused_backward),
        fuse(lstm.lstm_step),
        fuse(lstm.lstm_step_saving),
        fuse(lstm.lstm_step_backward),
    )
