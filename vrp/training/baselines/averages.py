"""Means of costs, of past batches or of the other tours of an instance."""

from __future__ import annotations

import torch
from torch import Tensor

from vrp.policy.base import Encoding, Policy
from vrp.problem.instances import Instances
from vrp.training.baselines.base import Baseline


class ExponentialBaseline(Baseline):
    """A moving average of the mean cost of past batches; the first batch's own mean at first.

    The code of Kool et al. (2019) lets the batch itself into the average before it is subtracted,
    which biases the gradient a little.

    Args:
        decay: weight of the past, in [0, 1).

    Raises:
        ValueError: if decay is out of range.
    """

    def __init__(self, decay: float = 0.8) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}; it must be in [0, 1)")
        self.decay = decay
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def forward(
        self, policy: Policy, encoding: Encoding, instances: Instances, cost: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Baseline.forward`; no loss."""
        mean = cost.mean()
        expected = torch.where(self.started, self.average, mean)
        self.average.copy_(self.decay * expected + (1 - self.decay) * mean)
        self.started.fill_(True)
        return expected.expand_as(cost), cost.new_zeros(())


class SharedBaseline(Baseline):
    """The mean cost of the other K - 1 solutions of the same instance.

    POMO (Kwon et al. 2020) subtracts the mean of all K, itself included: its advantages, and so its
    gradients, are these times (K - 1) / K.

    Source: Kool et al. (2019b), "Buy 4 REINFORCE samples, get a baseline for free!".
    """

    allows_leader = True

    def check(self, policy: Policy, num_rollouts: int) -> None:
        """Raise a ValueError below 2 solutions per instance."""
        if num_rollouts < 2:
            raise ValueError(
                f"num_rollouts is {num_rollouts}; baseline=shared needs at least 2, "
                "or choose baseline=critic or baseline=exponential"
            )

    def forward(
        self, policy: Policy, encoding: Encoding, instances: Instances, cost: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Baseline.forward`; no loss."""
        others = (cost.sum(1, keepdim=True) - cost) / (cost.shape[1] - 1)
        return others, cost.new_zeros(())
