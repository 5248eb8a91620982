"""Simulation-guided beam search: children are judged by the greedy tours they lead to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vrp.policy.base import Encoding, Policy
from vrp.problem.environment import finished, legal_mask, reset, step
from vrp.problem.instances import Instances
from vrp.problem.tours import tour_length
from vrp.search.augmentation import check_symmetries, symmetric
from vrp.search.base import Search
from vrp.search.greedy import greedy_tours
from vrp.search.rollout import greedy_choice, play_on
from vrp.search.solution import Solution, improved, pad_tours
from vrp.search.starts import each_customer


@dataclass(frozen=True)
class Sgbs(Search):
    """Keeps the `width` partial tours whose greedy completions are shortest.

    The beam begins with the first customers of the best greedy tours. At each depth every partial
    tour has its `expansion` likeliest children; each child is completed greedily, and the
    children with the shortest completions are the next beam.

    Args:
        width: at least 1 (paper, CVRP: 4).
        expansion: at least 1 (paper, CVRP: 4).
        symmetries: of the square under which this is done, 1 to 8.

    Raises:
        ValueError: for a value out of range.

    Source: Choo et al. (2022), section 3.
    """

    width: int = 4
    expansion: int = 4
    symmetries: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1:
            raise ValueError(f"width is {self.width}; it must be at least 1")
        if self.expansion < 1:
            raise ValueError(f"expansion is {self.expansion}; it must be at least 1")
        check_symmetries(self.symmetries)

    def __str__(self) -> str:
        text = f"sgbs(width={self.width}, expansion={self.expansion}"
        return text + (f", symmetries={self.symmetries})" if self.symmetries > 1 else ")")

    def solutions(
        self, policy: Policy, instances: Instances, generator: torch.Generator
    ) -> Iterator[Solution]:
        """A piece of work for every depth of every symmetry; `generator` is not used."""
        best = None
        for number in range(self.symmetries):
            moved = symmetric(instances, number)
            encoding = policy.encode(moved).detach()
            greedy = pad_tours(list(greedy_tours(policy, moved, encoding, None)))
            best = improved(best, instances, greedy)
            yield best
            for tours in self._depths(policy, moved, encoding, greedy[:, 1:]):
                best = improved(best, instances, tours)
                yield best

    def _depths(
        self, policy: Policy, instances: Instances, encoding: Encoding, greedy: Tensor
    ) -> Iterator[Tensor]:
        """The completed tours (N, K, T) of each depth, from the greedy tours of all starts."""
        width = min(self.width, instances.num_customers)
        kept = tour_length(instances, greedy).topk(width, largest=False).indices
        action = each_customer(instances).gather(1, kept)
        state, memory = reset(instances, width), policy.start(encoding, width)
        _, memory = policy.step(encoding, memory, state, legal_mask(instances, state))
        state = step(instances, state, action)
        done = action[..., None]  # (N, width, depth)
        while not finished(state).all():
            logits, memory = policy.step(encoding, memory, state, legal_mask(instances, state))
            likely = logits.topk(min(self.expansion, instances.num_nodes))
            children = likely.indices.shape[-1]
            parent = torch.arange(width * children, device=done.device) // children
            parent = parent.expand(len(instances), -1)
            is_legal = ~likely.values.isneginf()
            # In the place of an illegal child stands the likeliest, which is always legal.
            action = torch.where(is_legal, likely.indices, likely.indices[..., :1]).flatten(1)
            memory = memory.select(parent)
            state = step(instances, state.select(parent), action)
            done = done.gather(1, parent[..., None].expand(-1, -1, done.shape[-1]))
            done = torch.cat([done, action[..., None]], -1)
            rest = play_on(
                policy, instances, encoding, state, memory, greedy_choice, done.shape[-1]
            )
            tours = torch.cat([done, rest], -1)
            yield tours
            cost = tour_length(instances, tours).masked_fill(~is_legal.flatten(1), torch.inf)
            kept = cost.topk(width, largest=False).indices
            state, memory = state.select(kept), memory.select(kept)
            done = done.gather(1, kept[..., None].expand(-1, -1, done.shape[-1]))
