"""The fixed instances that a policy is measured on: standard sets and files."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vrp.problem import Instances
from vrp.problem.datasets import CAPACITY, STANDARD_SETS, Reference, reference, standard_set
from vrp.problem.files import load_instances
from vrp.problem.random_numbers import named_generator
from vrp.training.build import build_generator

_SAMPLE = 1000  # instances whose places are looked at, at most
_FEWEST = 30
_DISTANCES = 1 << 28  # that are looked at, at most: about a second
_DISTANCES_AT_ONCE = 1 << 24  # 64 MiB
_SIGMAS = 5


@dataclass(frozen=True)
class FixedInstances:
    """Instances to be solved, and where they are from.

    Attributes:
        name: as it was typed: a standard set or a file.
        instances: the first N of them, on the CPU.
        total: how many there are in the whole set or file.
        standard: the standard set that begins with them, or None.
    """

    name: str
    instances: Instances
    total: int
    standard: str | None

    def reference(self) -> Reference | None:
        """Near-optimal costs of the first of them, if any hold."""
        if self.standard is None or self.instances.split_delivery:
            return None
        return reference(self.standard)


def fixed_instances(
    name: str, limit: int | None, capacity: int | None, split_delivery: bool
) -> FixedInstances:
    """The first `limit` instances of a standard set or a file, or all.

    Args:
        name: one of `STANDARD_SETS`, or a file that `load_instances` reads.
        limit: from 1 to the size of the set.
        capacity: for a file that holds none.
        split_delivery: whether a customer may be served in several visits.

    Raises:
        FileNotFoundError: if it is neither; lists the sets.
        ValueError: for a limit or a capacity that does not fit, or an unusable file.
    """
    if name in STANDARD_SETS:
        instances = replace(standard_set(name), split_delivery=split_delivery)
        held = int(instances.capacity[0])
        if capacity not in (None, held):
            raise ValueError(f"capacity is {capacity}, but {name} has {held}; leave it out")
        standard = name
    elif Path(name).exists():
        instances = load_instances(name, capacity=capacity, split_delivery=split_delivery)
        standard = _standard_beginning(instances)
    else:
        raise FileNotFoundError(
            f"data: {name} is no file and no standard set; sets: {', '.join(STANDARD_SETS)}"
        )
    total = len(instances)
    if limit is not None and limit > total:
        raise ValueError(f"limit is {limit}; {name} holds {total} instances")
    return FixedInstances(name, instances[:limit], total, standard)


def _standard_beginning(instances: Instances) -> str | None:
    """The standard set that begins with these instances: files of such sets go round."""
    size, n = instances.num_customers, len(instances)
    if size not in CAPACITY:
        return None
    for name in STANDARD_SETS:
        if re.fullmatch(rf"[a-z]+{size}(-val)?", name) is None:
            continue
        whole = standard_set(name)[:n]
        fields = ("depot", "customers", "demand", "capacity")
        if all(torch.equal(getattr(whole, key), getattr(instances, key)) for key in fields):
            return name
    return None


def outside_training(problem: dict, instances: Instances) -> list[str]:
    """How instances differ from those of training, in words; empty if nothing is seen.

    Args:
        problem: the section of the training's config.
        instances: to be solved.
    """
    demand = instances.demand[instances.demand > 0]
    found = {
        "num_customers": (instances.num_customers, instances.num_customers),
        "capacity": (int(instances.capacity.min()), int(instances.capacity.max())),
        "split_delivery": (instances.split_delivery, instances.split_delivery),
    }
    differences = []
    for key, (low, high) in found.items():
        trained = problem.get(key, low)
        if (low, high) != (trained, trained):
            here = low if low == high else f"{low} to {high}"
            differences.append(f"{key} is {here}, in training {trained}".lower())
    least, most = problem.get("min_demand"), problem.get("max_demand")
    if None not in (least, most) and ((demand < least) | (demand > most)).any():
        here = f"{int(demand.min())} to {int(demand.max())}"
        differences.append(f"demand is {here}, in training {least} to {most}")
    return differences + _other_places(problem, instances)


def _other_places(problem: dict, instances: Instances) -> list[str]:
    """Whether the nodes lie otherwise than those of training, by means over the instances."""
    if "_target_" not in problem:
        return []
    section = problem | {"num_customers": instances.num_customers}
    sample = min(_SAMPLE, max(_FEWEST, _DISTANCES // instances.num_nodes**2))
    usual = build_generator({"problem": section})(sample, named_generator(0, "places"))
    found, known = (_place_statistics(x.coordinates()) for x in (instances[:sample], usual))
    n = len(instances[:sample])
    differences = []
    for name, values in found.items():
        error = known[name].std() * (1 / n + 1 / sample) ** 0.5
        means = values.mean(), known[name].mean()
        if abs(means[0] - means[1]) > _SIGMAS * error:
            differences.append(f"{name} is {means[0]:.3f}, in training {means[1]:.3f}")
    return differences


def _place_statistics(points: Tensor) -> dict[str, Tensor]:
    """Numbers (N,) that tell where the nodes (N, V, 2) of an instance lie."""
    piece = max(1, _DISTANCES_AT_ONCE // points.shape[1] ** 2)
    return {
        "the mean distance to the nearest node": torch.cat(
            [_nearest(some).mean(1) for some in points.split(piece)]
        ),
        "the mean x": points[..., 0].mean(1),
        "the mean y": points[..., 1].mean(1),
    }


def _nearest(points: Tensor) -> Tensor:
    """(N, V), from each of the points (N, V, 2) of an instance to the next one."""
    distance = torch.cdist(points, points)
    distance.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    return distance.amin(2)
