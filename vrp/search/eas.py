"""Efficient active search: a few numbers of each instance go on learning while it is solved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vrp.policy.base import Encoding, Policy
from vrp.policy.choice import Choice
from vrp.problem.environment import max_steps
from vrp.problem.instances import Instances
from vrp.problem.tours import tour_length
from vrp.search.augmentation import check_symmetries, symmetric
from vrp.search.base import ENCODING, Search
from vrp.search.greedy import Greedy, count_pieces, greedy_tours
from vrp.search.rollout import rollout
from vrp.search.solution import Progress, Solution, improved, join, pad_tours
from vrp.search.starts import each_customer

_MOST_BYTES = 640 << 20  # that one replay takes, about
_ITERATION = 4  # an iteration takes about as long as so many rollouts


@dataclass(frozen=True)
class Eas(Search):
    """EAS-Emb: moves the pointer's keys of each instance by REINFORCE and towards its best tour.

    The policy's weights stay as they are; what is learned belongs to one instance under one
    symmetry and is forgotten with it. Each iteration samples a tour for every customer. A batch
    learns part by part where its replay would take too much memory, and a single instance from a
    few of its tours at a time; what it finds stays the same, rounding aside. The authors' Adam has
    a weight decay of 1e-6, and their first iteration imitates a tour that it has just sampled, for
    lack of a best one; here nothing decays, and the first iteration has one: the best of the greedy
    tours, from every start under every symmetry, and of its own.

    Args:
        iterations: at least 1 (paper: 200).
        learning_rate: of Adam, above 0 (authors' command for CVRP: 0.0049).
        imitation: weight of the best tour's log-probability, at least 0 (authors' command for
            CVRP: 0.0063).
        symmetries: of the square that are searched side by side, 1 to 8 (paper: 8).

    Raises:
        ValueError: for a value out of range.

    Source: Hottung et al. (2022), section 3.1 (embedding updates); the two settings of CVRP from
    the README of their code, ahottung/EAS. Their EAS-Lay and EAS-Tab are not here.
    """

    draws: ClassVar[bool] = True
    iterations: int = 200
    learning_rate: float = 0.0049
    imitation: float = 0.0063
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

    def effort(self, num_customers: int, starts_anywhere: bool) -> float:
        """The starts, then the iterations."""
        rounds = 1 + _ITERATION * self.iterations
        return self.symmetries * (ENCODING + (1 + num_customers) * rounds)

    def copies(self, num_nodes: int) -> int:
        """One for each symmetry: what is learned for them is kept to the end."""
        return self.symmetries

    def solutions(
        self, policy: Policy, instances: Instances, generator: torch.Generator
    ) -> Iterator[Progress]:
        """Plain greedy's tours, then those of the starts, and a piece of work for each iteration.

        Each of these again for every part of the batch.
        """
        (first,) = Greedy().solutions(policy, instances, generator)
        best = first.solution
        rows = self._rows(policy, instances)
        total = 1 + len(rows) * (count_pieces(instances, None) + self.iterations)
        done = 1
        yield Progress(best, done / total)
        parts = []
        for some in rows:
            part = _Part.make(policy, instances, some, self)
            parts.append(part)
            for tours in greedy_tours(policy, part.copies, part.encoding, None):
                best = part.improve(best, tours)
                done += 1
                yield Progress(best, done / total)
        steps, n, k = max_steps(instances), len(instances), instances.num_customers
        for _ in range(self.iterations):
            uniforms = torch.rand((steps, self.symmetries, n, k), generator=generator)
            for part in parts:
                mine = uniforms[:, :, part.rows].flatten(1, 2).to(instances.device)
                best = self._iterate(policy, part, mine, best)
                done += 1
                yield Progress(best, done / total)

    def _rows(self, policy: Policy, instances: Instances) -> list[slice]:
        """The batch in parts of which a replay keeps to `_MOST_BYTES`."""
        tours = self.symmetries * (instances.num_customers + 1)
        each = tours * max_steps(instances) * policy.replay_bytes(instances.num_nodes)
        size = max(1, _MOST_BYTES // each)
        return [slice(start, start + size) for start in range(0, len(instances), size)]

    def _iterate(self, policy: Policy, part: _Part, uniforms: Tensor, best: Solution) -> Solution:
        """Sample, then learn from the samples and from the best tours so far: the best so far."""
        copies, forced = part.copies, int(policy.starts_anywhere)
        first = each_customer(copies) if forced else None
        with torch.enable_grad():
            changed = policy.with_added(part.encoding, part.added)
        choose = Choice(uniforms)
        tours = rollout(policy, copies, changed.detach(), uniforms.shape[2], choose, first)
        best = part.improve(best, tours)
        incumbent = best[part.rows].actions.to(copies.device)
        incumbent = incumbent.repeat(self.symmetries, 1)[:, None]
        cost = tour_length(copies, tours).float()
        advantage = cost - cost.mean(1, keepdim=True)
        imitated = cost.new_full((len(copies), 1), -self.imitation)
        weights = torch.cat([advantage * (1 / cost.shape[1]), imitated], 1)
        part.added.grad = part.gradient(policy, changed, pad_tours([tours, incumbent]), weights)
        part.optimizer.step()
        return best


@dataclass(frozen=True)
class _Part:
    """Some instances of a batch, and what is learned for them.

    Attributes:
        rows: which of the batch.
        instances: these, n of them.
        copies: them under S symmetries, all of one symmetry in a row: S n.
        encoding: of the copies, detached.
        added: (S n, V, M), moves the pointer's keys.
        optimizer: of `added`.
    """

    rows: slice
    instances: Instances
    copies: Instances
    encoding: Encoding
    added: Tensor
    optimizer: torch.optim.Adam

    @classmethod
    def make(cls, policy: Policy, instances: Instances, rows: slice, search: Eas) -> _Part:
        """Nothing learned yet."""
        mine = instances[rows]
        copies = Instances.join([symmetric(mine, number) for number in range(search.symmetries)])
        encoding = policy.encode(copies).detach()
        added = policy.addable(encoding).requires_grad_()
        optimizer = torch.optim.Adam([added], search.learning_rate)
        return cls(rows, mine, copies, encoding, added, optimizer)

    def gradient(self, policy: Policy, changed: Encoding, tours: Tensor, weights: Tensor) -> Tensor:
        """The gradient (S n, V, M) in `added` of weighted log-probabilities of tours.

        Tours are replayed as many at once as keep to `_MOST_BYTES`, at least one of each copy.

        Args:
            policy: in evaluation mode.
            changed: encoding of the copies, made from `added` with gradient.
            tours: (S n, K, T) int64, legal tours padded with 0.
            weights: (S n, K), of the tours' log-probabilities in the sum.
        """
        forced, total = int(policy.starts_anywhere), tours.shape[1]
        steps = len(self.copies) * tours.shape[2]  # of one tour of each
        size = max(1, _MOST_BYTES // (steps * policy.replay_bytes(self.copies.num_nodes)))

        def of_some(start: int) -> Tensor:
            some = slice(start, start + size)
            with torch.enable_grad():
                replay = policy.log_probs(changed, self.copies, tours[:, some], forced)
                loss = (weights[:, some] * replay.log_prob.sum(-1)).sum()
            # What `changed` was made from is needed until the last.
            return torch.autograd.grad(loss, self.added, retain_graph=start + size < total)[0]

        return sum(of_some(start) for start in range(0, total, size))

    def improve(self, best: Solution, tours: Tensor) -> Solution:
        """The batch's best tours so far, after tours (S n, K, T) of the copies."""
        _, k, t = tours.shape
        by_instance = tours.view(-1, len(self.instances), k, t).transpose(0, 1).flatten(1, 2)
        mine = improved(best[self.rows], self.instances, by_instance)
        before, after = slice(0, self.rows.start), slice(self.rows.stop, None)
        return join([best[before], mine, best[after]])
