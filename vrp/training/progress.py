"""How far a run is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Progress:
    """How far a run is; a checkpoint holds it.

    Attributes:
        step: training steps done.
        instances: training instances seen.
        seconds: wall-clock of earlier pieces.
        train_seconds: time in training steps, without compilation, of all pieces.
        best_cost: lowest validation cost so far, of tours that `validation.decode` finds.
        best_step: where that was.
        validated_step: of the last validation; -1 before the first.
        cost_sum: of the mean training costs of the steps since the last row of metrics.csv.
        cost_count: number of these steps.
    """

    step: int = 0
    instances: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    best_cost: float = float("inf")
    best_step: int = 0
    validated_step: int = -1
    cost_sum: float = 0.0
    cost_count: int = 0
