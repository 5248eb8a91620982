"""What a rollout in C++ records for its replay."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vrp.policy.glimpse import Tables


@dataclass(frozen=True)
class StepTape:
    """What was seen and chosen at each of S steps; memory is taken only as steps are made.

    Attributes:
        position: (N, S, K) int32, nodes last visited; -1 where a step was imposed, or its tour is
            closed. There only log-probability and entropy say something, which is 0.
        load: (N, S, K) int32, goods.
        action: (N, S, K) int32.
        logits: (N, S, K, V), minus infinity where not legal.
        log_prob: (N, S, K), of the action.
        entropy: (N, S, K), of its distribution, in nats.
    """

    position: Tensor
    load: Tensor
    action: Tensor
    logits: Tensor
    log_prob: Tensor
    entropy: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @classmethod
    def make(cls, tables: Tables, num_solutions: int, most: int, old: object = None) -> StepTape:
        """A tape of `most` steps of K solutions; the old one, if it is just that."""
        n, v = tables.bias.shape
        shape = (n, most, num_solutions)
        if isinstance(old, StepTape) and old.logits.shape == (*shape, v):
            return old
        whole = (torch.empty(shape, dtype=torch.int32) for _ in range(3))
        return cls(*whole, torch.empty(*shape, v), torch.empty(shape), torch.empty(shape))
