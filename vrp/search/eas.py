"""Efficient active search: a few numbers of each instance go on learning while it is solved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vrp.policy.base import Policy
from vrp.problem.environment import max_steps
from vrp.problem.instances import Instances
from vrp.problem.tours import tour_length
from vrp.search.augmentation import check_symmetries, symmetric
from vrp.search.base import Search
from vrp.search.greedy import greedy_tours
from vrp.search.rollout import rollout, sampled_choice
from vrp.search.solution import Solution, improved, pad_tours
from vrp.search.starts import each_customer


@dataclass(frozen=True)
class Eas(Search):
    """Moves the pointer's keys of each instance by REINFORCE and towards its best tour so far.

    The policy's weights stay as they are; what is learned belongs to one instance under one
    symmetry and is forgotten with it. Each iteration samples a tour for every customer.

    Args:
        iterations: at least 1 (paper: 200).
        learning_rate: of Adam, above 0 (paper, CVRP: 0.0041).
        imitation: weight of the best tour's log-probability, at least 0 (paper, CVRP: 0.013).
        symmetries: of the square that are searched side by side, 1 to 8 (paper: 8).

    Raises:
        ValueError: for a value out of range.

    Source: Hottung et al. (2022), section 4.1 (EAS-Emb) and appendix A.
    """

    iterations: int = 200
    learning_rate: float = 0.0041
    imitation: float = 0.013
    symmetries: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.iterations < 1:
            raise ValueError(f"iterations is {self.iterations}; it must be at least 1")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be above 0")
        if not self.imitation >= 0:
            raise ValueError(f"imitation is {self.imitation}; it must not be negative")
        check_symmetries(self.symmetries)

    def __str__(self) -> str:
        return f"eas(iterations={self.iterations}, symmetries={self.symmetries})"

    def solutions(
        self, policy: Policy, instances: Instances, generator: torch.Generator
    ) -> Iterator[Solution]:
        """Greedy's tours first, then a piece of work for every iteration."""
        moved = [symmetric(instances, number) for number in range(self.symmetries)]
        copies = Instances.join(moved)  # (S N), all instances of one symmetry in a row
        encoding = policy.encode(copies).detach()
        greedy = pad_tours(list(greedy_tours(policy, copies, encoding, None)))
        best = improved(None, instances, self._of_instances(greedy))
        yield best
        forced = int(policy.starts_anywhere)
        first = each_customer(copies) if forced else None
        added = policy.addable(encoding).requires_grad_()
        optimizer = torch.optim.Adam([added], self.learning_rate)
        shape = (max_steps(copies), len(copies), copies.num_customers)
        for _ in range(self.iterations):
            with torch.enable_grad():
                changed = policy.with_added(encoding, added)
            uniforms = torch.rand(shape, generator=generator).to(copies.device)
            choose = sampled_choice(uniforms)
            tours = rollout(policy, copies, changed.detach(), shape[2], choose, first)
            best = improved(best, instances, self._of_instances(tours))
            yield best
            incumbent = best.actions.to(copies.device).repeat(self.symmetries, 1)[:, None]
            cost = tour_length(copies, tours).float()
            with torch.enable_grad():
                replay = policy.log_probs(changed, copies, pad_tours([tours, incumbent]), forced)
                log_prob = replay.log_prob.sum(-1)
                advantage = cost - cost.mean(1, keepdim=True)
                loss = (advantage * log_prob[:, :-1]).mean(1) - self.imitation * log_prob[:, -1]
                (added.grad,) = torch.autograd.grad(loss.sum(), added)
            optimizer.step()

    def _of_instances(self, tours: Tensor) -> Tensor:
        """Tours (S N, K, T) of the copies as tours (N, S K, T) of the instances."""
        _, k, t = tours.shape
        by_symmetry = tours.view(self.symmetries, -1, k, t)
        return by_symmetry.transpose(0, 1).flatten(1, 2)
