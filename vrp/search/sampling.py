"""The best of several sampled tours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from vrp.policy.base import Policy
from vrp.policy.choice import Choice
from vrp.problem.environment import max_steps
from vrp.problem.instances import Instances
from vrp.search.base import ENCODING, Search
from vrp.search.rollout import rollout
from vrp.search.solution import Progress, improved

_SAMPLES_AT_ONCE = 16


@dataclass(frozen=True)
class Sampling(Search):
    """The shortest of several sampled tours.

    More samples from an equal generator repeat the fewer and add to them, so the cost never
    rises with `samples`.

    Args:
        samples: tours per instance, at least 1.
        temperature: divides the logits, above 0; below 1 keeps closer to greedy.

    Raises:
        ValueError: for a value out of range.
    """

    draws: ClassVar[bool] = True
    samples: int
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise ValueError(f"samples is {self.samples}; it must be at least 1")
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}; it must be above 0")

    def effort(self, num_customers: int, starts_anywhere: bool) -> float:
        """A tour for each sample, and for those that are played with the last ones."""
        return ENCODING + _SAMPLES_AT_ONCE * -(-self.samples // _SAMPLES_AT_ONCE)

    def solutions(
        self, policy: Policy, instances: Instances, generator: torch.Generator
    ) -> Iterator[Progress]:
        """A piece of work for every 16 samples, with uniform numbers from `generator`.

        The last one, too, plays 16, and takes as many of them as are asked for.
        """
        encoding = policy.encode(instances).detach()
        n, most = len(instances), max_steps(instances)
        best = None
        for first in range(0, self.samples, _SAMPLES_AT_ONCE):
            # Always as many, so that a policy that rounds its products rounds them alike.
            uniforms = torch.rand(_SAMPLES_AT_ONCE, most, n, generator=generator).permute(1, 2, 0)
            choose = Choice(uniforms.to(instances.device), self.temperature)
            tours = rollout(policy, instances, encoding, _SAMPLES_AT_ONCE, choose)
            count = min(_SAMPLES_AT_ONCE, self.samples - first)
            best = improved(best, instances, tours[:, :count])
            yield Progress(best, (first + count) / self.samples)
