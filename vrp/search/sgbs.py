"""Simulation-guided beam search: children are judged by the greedy tours they lead to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from vrp.policy.base import Encoding, Memory, Policy
from vrp.problem.environment import State, finished, legal_mask, max_steps, reset, step
from vrp.problem.instances import Instances
from vrp.problem.tours import tour_length
from vrp.search.augmentation import check_symmetries, symmetric
from vrp.search.base import ENCODING, Search
from vrp.search.greedy import count_pieces, greedy_tours
from vrp.search.rollout import greedy_choice, play_on
from vrp.search.solution import Progress, improved, pad_tours
from vrp.search.starts import each_customer, repeated_starts


@dataclass(frozen=True)
class Sgbs(Search):
    """Keeps the `width` partial tours whose greedy completions are shortest.

    The beam begins with the first customers of the best greedy tours. At each depth every partial
    tour has its `expansion` likeliest children; each child is completed greedily, and the
    children with the shortest completions are the next beam. The likeliest child's completion is
    its parent's, so only the others are played.

    The authors' code has one child fewer of each start at the first depth, and answers with its
    last beam; here all depths are alike, and the answer is the shortest of all tours played.

    Args:
        width: at least 1 (paper, CVRP: 4).
        expansion: at least 1 (paper, CVRP: 4).
        symmetries: of the square under which this is done, 1 to 8 (paper: 8).

    Raises:
        ValueError: for a value out of range.

    Source: Choo et al. (2022), section 3.
    """

    width: int = 4
    expansion: int = 4
    symmetries: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1:
            raise ValueError(f"width is {self.width}; it must be at least 1")
        if self.expansion < 1:
            raise ValueError(f"expansion is {self.expansion}; it must be at least 1")
        check_symmetries(self.symmetries)

    def effort(self, num_customers: int, starts_anywhere: bool) -> float:
        """The starts, then what is left of the children's tours, half a tour on average."""
        steps = 1.2 * num_customers  # about one return to the depot for five customers
        children = self.width * (self.expansion - 1)
        return self.symmetries * (ENCODING + 1 + num_customers + steps * children / 2)

    def copies(self, num_nodes: int) -> int:
        """More than one where a beam has more children than there are nodes."""
        return -(-self.width * self.expansion // num_nodes)

    def solutions(
        self, policy: Policy, instances: Instances, generator: torch.Generator
    ) -> Iterator[Progress]:
        """Plain greedy, every 64 starts and every depth, under every symmetry.

        `generator` is not used.
        """
        best, pieces = None, count_pieces(instances, None)
        total = pieces + max_steps(instances)
        for number in range(self.symmetries):
            moved = symmetric(instances, number)
            encoding = policy.encode(moved).detach()
            found = []
            for tours in greedy_tours(policy, moved, encoding, None):
                found.append(tours)
                best = improved(best, instances, tours)
                yield Progress(best, (number + len(found) / total) / self.symmetries)
            greedy = pad_tours(found[1:])
            for depth, tours in enumerate(self._depths(policy, moved, encoding, greedy), 1):
                best = improved(best, instances, tours)
                yield Progress(best, (number + (pieces + depth) / total) / self.symmetries)
            yield Progress(best, (number + 1) / self.symmetries)

    def _depths(
        self, policy: Policy, instances: Instances, encoding: Encoding, greedy: Tensor
    ) -> Iterator[Tensor]:
        """The new completed tours (N, K, T) of each depth, from the greedy tours of all starts."""
        others = min(self.expansion, instances.num_nodes) - 1
        if not others:
            return  # every child's completion is its parent's
        width = min(self.width, instances.num_customers)
        # A beam of infinite cost is empty: its children never displace another's.
        cost = tour_length(instances, greedy).masked_fill(repeated_starts(instances), torch.inf)
        cost, kept = cost.topk(width, largest=False)
        tours = _take(greedy, kept)  # the beam's tours, complete: (N, width, T)
        action = each_customer(instances).gather(1, kept)
        state, memory = reset(instances, width), policy.start(encoding, width)
        _, memory = policy.step(encoding, memory, state, legal_mask(instances, state))
        state = step(instances, state, action)
        # Of the beam's tours with the new ones behind them: each parent, then its other children.
        new_ones = torch.arange(width, width * (1 + others), device=tours.device)
        family = torch.cat(
            [torch.arange(width, device=tours.device)[:, None], new_ones.view(width, others)], 1
        ).flatten()
        depth = 1
        while not finished(state).all():
            logits, memory = policy.step(encoding, memory, state, legal_mask(instances, state))
            tours = pad(tours, (0, max(0, depth + 1 - tours.shape[-1])))
            likeliest = tours[..., depth]  # (N, width)
            rest = logits.scatter(-1, likeliest[..., None], -torch.inf).topk(others)
            is_child = ~rest.values.isneginf() & ~cost.isinf()[..., None]
            # In the place of an illegal child stands the likeliest, which is always legal.
            action = torch.where(is_child, rest.indices, likeliest[..., None]).flatten(1)
            new = self._completed(policy, instances, encoding, state, memory, action, tours, depth)
            yield new
            length = tour_length(instances, new).masked_fill(~is_child.flatten(1), torch.inf)
            cost, kept = torch.cat([cost, length], 1)[:, family].topk(width, largest=False)
            tours = _take(pad_tours([tours, new]), family[kept])
            parent = kept // (1 + others)
            memory = memory.select(parent)
            state = step(instances, state.select(parent), tours[..., depth])
            depth += 1

    def _completed(
        self,
        policy: Policy,
        instances: Instances,
        encoding: Encoding,
        state: State,
        memory: Memory,
        action: Tensor,
        tours: Tensor,
        depth: int,
    ) -> Tensor:
        """The greedy tours (N, K, T) after `action` (N, K), K / width for each of the beam.

        `state` and `memory` are those of the beam after `depth` steps of its `tours`.
        """
        n, count = action.shape
        parent = torch.arange(tours.shape[1], device=action.device)
        parent = parent.repeat_interleave(count // tours.shape[1]).expand(n, -1)
        state = step(instances, state.select(parent), action)
        memory = memory.select(parent)
        rest = play_on(policy, instances, encoding, state, memory, greedy_choice, depth + 1)
        return torch.cat([_take(tours, parent)[..., :depth], action[..., None], rest], -1)


def _take(tours: Tensor, index: Tensor) -> Tensor:
    """The tours (N, J, T) at index (N, J) of (N, K, T)."""
    return tours.gather(1, index[..., None].expand(-1, -1, tours.shape[-1]))
