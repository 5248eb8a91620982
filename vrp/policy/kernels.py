"""The inner loops of the pointer policy, eager or fused by `torch.compile`.

Both give the same numbers up to rounding. Compiling needs a compiler and Python's headers on a
CPU, and happens at the first call of each.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields

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

    def are_fused(self) -> bool:
        """Whether all are compiled, as far as they have been called."""
        parts = [getattr(self, field.name) for field in fields(self)]
        return all(isinstance(part, Fused) and not part.failed for part in parts)


EAGER = Kernels(
    additive.factors,
    additive.scores_in_pieces,
    additive.scores_in_pieces_backward,
    lstm.lstm_step,
    lstm.lstm_step_saving,
    lstm.lstm_step_backward,
)


class Fused:
    """A function as one fused pass for any sizes, or another in its place without a compiler.

    Args:
        function: to be compiled.
        eager: gives the same, and is used once the compiler has failed; `function` if None.

    Attributes:
        failed: whether it has.
    """

    def __init__(self, function: Callable, eager: Callable | None = None) -> None:
        self._name = function.__name__
        self._eager = eager or function
        self._compiled = torch.compile(function, dynamic=True)
        self.failed = False

    def __call__(self, *arguments: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What the function gives."""
        if self.failed:
            return self._eager(*arguments)
        try:
            return self._compiled(*arguments)
        except Exception as error:  # a compiler fails in every way
            found = self._eager(*arguments)  # fails again where the arguments are at fault
            self.failed = True
            reason = str(error).strip().partition("\n")[0]
            warnings.warn(
                f"{self._name} is not compiled: {reason}; it runs without",
                stacklevel=2,
            )
            return found


def compiled_kernels() -> Kernels:
    """Every loop as one fused pass."""
    return Kernels(
        Fused(additive.factors),
        # Eagerly, the fused forms would store every inner term.
        Fused(additive.scores_fused, additive.scores_in_pieces),
        Fused(additive.scores_fused_backward, additive.scores_in_pieces_backward),
        Fused(lstm.lstm_step),
        Fused(lstm.lstm_step_saving),
        Fused(lstm.lstm_step_backward),
    )
