"""The fixed instances that training is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from vrp.policy.base import Policy
from vrp.problem import InstanceGenerator, Instances, UniformGenerator
from vrp.problem.datasets import CAPACITY, gap_percent, reference, standard_set
from vrp.problem.random_numbers import named_generator
from vrp.search import Solution
from vrp.search.deterministic import solve
from vrp.training.rounding import rounding_error
from vrp.training.tour_figure import draw_tours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWN = 4  # instances in the figure
_ROUNDED = 64  # instances that the effect of rounding is measured on


@dataclass(frozen=True)
class Validation:
    """Instances, and near-optimal costs of the first of them where they are known.

    Attributes:
        name: of the standard set, or what was generated.
        instances: N problems on the CPU.
        reference_cost: (n,) float64, or None.
        decode: how they are solved, one of `vrp.search.deterministic.DETERMINISTIC`.
    """

    name: str
    instances: Instances
    reference_cost: np.ndarray | None
    decode: str

    def __call__(
        self,
        policy: Policy,
        device: torch.device,
        stopped: Callable[[], bool] = lambda: False,
        found: list[Solution] | None = None,
    ) -> Solution:
        """Tours of all instances; leaves the policy as it is.

        Args:
            policy: on `device`.
            device: where to solve them.
            stopped: as in `solve`, like `found`.
            found: of the first instances.

        Raises:
            Stopped: as `solve` does.
        """
        return solve(policy, self.instances, self.decode, device, stopped, found)

    def rounding(self, policy: Policy, device: torch.device, solution: Solution) -> float | None:
        """The `rounding_error` on the first of the instances, of tours that were found."""
        few = slice(0, _ROUNDED)
        tours = solution.actions[few].to(device)
        return rounding_error(policy, self.instances[few].to(device), tours)

    def figure(self, solution: Solution) -> Figure:
        """The tours of the first instances; needs matplotlib."""
        few = slice(0, _DRAWN)
        known = None if self.reference_cost is None else self.reference_cost[few].tolist()
        return draw_tours(self.instances[few], solution[few], known, columns=2)

    def gap(self, solution: Solution) -> float | None:
        """Percent above the reference, over the instances that have one."""
        if self.reference_cost is None:
            return None
        percent, _ = gap_percent(solution.cost.numpy(), self.reference_cost)
        return percent


def make_validation(generator: InstanceGenerator, name: str, limit: int, decode: str) -> Validation:
    """The validation set of a run.

    Args:
        generator: of the training instances.
        name: a standard set, solved with the problem's own capacity; or `auto`, the validation
            twin of the problem's size where it is one of the paper's, else `limit` instances of
            the generator itself, the same for every seed.
        limit: instances.
        decode: `greedy` or `multistart`.

    Raises:
        ValueError: for an unknown name or a limit out of range.
    """
    if name == "auto":
        if not _is_standard(generator):
            instances = generator(limit, named_generator(0, "validation"))
            return Validation("generated", instances, None, decode)
        name = f"kool{generator.num_customers}-val"
    instances = replace(standard_set(name, limit), split_delivery=generator.split_delivery)
    has_reference = not generator.split_delivery
    if bool((instances.capacity != generator.capacity).any()):
        has_reference = False
        capacity = torch.full_like(instances.capacity, generator.capacity)
        instances = replace(instances, capacity=capacity)
    known = reference(name) if has_reference else None
    return Validation(name, instances, None if known is None else known.cost, decode)


def _is_standard(generator: InstanceGenerator) -> bool:
    """Whether it draws the paper's problem of its size."""
    size = generator.num_customers
    return size in CAPACITY and generator == UniformGenerator(
        size, CAPACITY[size], split_delivery=generator.split_delivery
    )
