"""The REINFORCE loss: arithmetic only."""

from __future__ import annotations

from torch import Tensor


def advantage(cost: Tensor, baseline: Tensor) -> Tensor:
    """(N, K) `cost - baseline`, without gradient; negative is better than expected."""
    return (cost - baseline).detach()


def emphasise_leader(advantages: Tensor, cost: Tensor, weight: float) -> Tensor:
    """(N, K) advantages, that of each instance's shortest tour times `weight`.

    With many tours of an instance only the shortest one is kept in the end, so a policy that is
    trained for it, and not for their mean, may vary the others. Of equal tours the first leads.

    Source: Wang et al. (2024), "Leader Reward for POMO-Based Neural Combinatorial Optimization".
    """
    leader = cost.argmin(1, keepdim=True)
    return advantages.scatter(1, leader, advantages.gather(1, leader) * weight)


def reinforce_loss(advantages: Tensor, log_prob: Tensor) -> Tensor:
    """Mean of advantage times log-probability of the tour, both (N, K).

    Its gradient is an unbiased estimate of that of the expected cost.

    Source: Williams (1992); Nazari et al. (2018), algorithm 2.
    """
    return (advantages * log_prob).mean()
