"""Beam search over the cumulated log-probability of a tour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from vrp.policy.base import Policy
from vrp.problem.environment import finished, legal_mask, max_steps, reset, step
from vrp.problem.instances import Instances
from vrp.search.base import ENCODING, Search
from vrp.search.rollout import greedy_choice, not_closed, rollout
from vrp.search.solution import Progress, improved, shortest


@dataclass(frozen=True)
class Beam(Search):
    """Keeps the `width` likeliest partial tours; answers with the shortest of the last ones.

    Width 1 is greedy decoding. A closed tour stays in the beam with the log-probability it has,
    until likelier ones displace it. Left before its end, a beam answers with the shortest tour that
    it has closed, or with plain greedy's. At its end neither that nor what was displaced is a
    candidate, as in the paper: the last answer may be longer than one before it.

    Args:
        width: at least 1 (paper: 5 and 10).

    Raises:
        ValueError: if width is below 1.

    Source: Nazari et al. (2018), section 4.3.
    """

    width: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1:
            raise ValueError(f"width is {self.width}; it must be at least 1")

    def effort(self, num_customers: int, starts_anywhere: bool) -> float:
        """The beams, and greedy's tour."""
        return ENCODING + 1 + self.width

    def copies(self, num_nodes: int) -> int:
        """More than one where there are more beams than nodes."""
        return -(-self.width // num_nodes)

    def solutions(
        self, policy: Policy, instances: Instances, generator: torch.Generator
    ) -> Iterator[Progress]:
        """A piece of work for each step; `generator` is not used.

        The shortest tours so far, plain greedy's among them, and after the last step the beam's.

        Raises:
            RuntimeError: if a beam is still open after the steps that no legal tour exceeds.
            FloatingPointError: if that is because the policy's logits are no numbers.
        """
        encoding = policy.encode(instances).detach()
        greedy = rollout(policy, instances, encoding, 1, greedy_choice)
        best, most = shortest(instances, greedy), max_steps(instances)
        yield Progress(best, 1 / (most + 1))
        state = reset(instances, self.width)
        memory = policy.start(encoding, self.width)
        n, width = len(instances), self.width
        # All beams start as the same empty tour; only the first may have children.
        score = encoding.nodes.new_full((n, width), -torch.inf)
        score[:, 0] = 0.0
        actions = torch.zeros(n, width, 0, dtype=torch.int64, device=instances.device)
        for t in range(most):
            logits, memory = policy.step(encoding, memory, state, legal_mask(instances, state))
            children = (score[..., None] + logits.log_softmax(-1)).flatten(1)  # (N, K V)
            score, index = children.topk(width)
            # Fewer children than beams: the rest repeat the best one and never have children.
            index = torch.where(score.isneginf(), index[:, :1], index)
            parent, action = index // instances.num_nodes, index % instances.num_nodes
            memory = memory.select(parent)
            state = step(instances, state.select(parent), action)
            actions = actions.gather(1, parent[..., None].expand_as(actions))
            actions = torch.cat([actions, action[..., None]], -1)
            closed = finished(state)
            if closed.all():
                yield Progress(shortest(instances, actions), 1.0)
                return
            if closed.any():
                longest = max(t + 1, greedy.shape[-1])
                tours, plain = (pad(x, (0, longest - x.shape[-1])) for x in (actions, greedy))
                best = improved(best, instances, torch.where(closed[..., None], tours, plain))
            yield Progress(best, (t + 2) / (most + 1))
        raise not_closed("a beam", most, logits)
