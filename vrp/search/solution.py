"""The best tour found for each instance, measured and judged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from vrp.problem.instances import Instances
from vrp.problem.tours import check_tours, tour_length


@dataclass(frozen=True)
class Solution:
    """One legal tour for each of N instances.

    Attributes:
        actions: (N, T) int64 on the CPU, nodes in visiting order; 0 is the depot and the padding.
        cost: (N,) float64 on the CPU, in the unit of the coordinates.
    """

    actions: Tensor
    cost: Tensor

    def __getitem__(self, part: slice) -> Solution:
        """The tours of some of the instances."""
        return Solution(self.actions[part], self.cost[part])


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
        solution: the best tours so far.
        share: of the search's work, above 0; 1 when nothing is left to do.
    """

    solution: Solution
    share: float


def shortest(instances: Instances, actions: Tensor) -> Solution:
    """The shortest of K tours of each instance, its legality checked by the judge.

    Args:
        instances: N problems.
        actions: (N, K, T) int64, complete tours padded with 0.

    Raises:
        ValueError: if a chosen tour is not legal.
    """
    cost, best = tour_length(instances, actions).min(1)
    rows = torch.arange(len(instances), device=actions.device)
    chosen = actions[rows, best]
    check_tours(instances, chosen[:, None])
    return Solution(chosen.cpu(), cost.cpu())


def join(solutions: list[Solution]) -> Solution:
    """The solutions of several batches as one, padded to the longest tour."""
    longest = max(part.actions.shape[1] for part in solutions)
    padded = [pad(part.actions, (0, longest - part.actions.shape[1])) for part in solutions]
    return Solution(torch.cat(padded), torch.cat([part.cost for part in solutions]))


def improved(best: Solution | None, instances: Instances, actions: Tensor) -> Solution:
    """The best tours so far and K new ones of each instance: the shortest; the old if equal.

    Args:
        best: of the same instances, or None if there are none yet.
        instances: N problems.
        actions: (N, K, T) int64, complete tours padded with 0.

    Raises:
        ValueError: if a chosen tour is not legal.
    """
    if best is None:
        return shortest(instances, actions)
    better = tour_length(instances, actions).amin(1).cpu() < best.cost
    if not better.any():
        return best
    chosen = better.to(actions.device)
    both = join([best, shortest(instances[chosen], actions[chosen])])
    rows = torch.arange(len(instances))
    rows[better] = torch.arange(len(instances), len(both.cost))
    return Solution(both.actions[rows], both.cost[rows])


def pad_tours(parts: list[Tensor]) -> Tensor:
    """Tours (N, K_i, T_i) of the same instances side by side, (N, sum of K_i, longest T_i)."""
    longest = max(part.shape[-1] for part in parts)
    return torch.cat([pad(part, (0, longest - part.shape[-1])) for part in parts], 1)
