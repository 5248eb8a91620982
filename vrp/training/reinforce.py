"""The REINFORCE loss: arithmetic only."""

from __future__ import annotations

from torch import Tensor


def advantage(cost: Tensor, baseline: Tensor) -> Tensor:
    """(N, K) `cost - baseline`, without gradient; negative is better than expected."""
    return (cost - baseline).detach()


def reinforce_loss(advantages: Tensor, log_prob: Tensor) -> Tensor:
    """Mean of advantage times log-probability of the tour, both (N, K).

    Its gradient is an unbiased estimate of that of the expected cost.

    Source: Williams (1992); Nazari et al. (2018), algorithm 2.
    """
    return (advantages * log_prob).mean()
