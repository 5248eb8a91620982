"""How the tests try a search: its random numbers, what it says, how long a tour is."""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from vrp.policy.base import Policy
from vrp.problem import Instances
from vrp.search.base import Search
from vrp.search.solution import Progress


def stream(seed: int = 0) -> torch.Generator:
    """A generator of its own for each call."""
    return torch.Generator().manual_seed(seed)


def length(instances: Instances, n: int, tour: list[int]) -> float:
    """Length of a tour by Python's own arithmetic."""
    points = instances.coordinates()[n].tolist()
    path = [0, *tour, 0]
    return sum(math.dist(points[a], points[b]) for a, b in pairwise(path))


def pieces(search: Search, policy: Policy, instances: Instances) -> list[Progress]:
    """All that a search says of its progress."""
    with torch.no_grad():
        return list(search.solutions(policy, instances, stream()))
