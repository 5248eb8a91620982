"""Instances in which something may go wrong, for the tests of policies and of searches."""

from __future__ import annotations

import torch

from vrp.problem import Instances, UniformGenerator


def uniform(num_customers: int, capacity: int, num_instances: int, **changes) -> Instances:
    """Uniform instances of a fixed seed."""
    generator = UniformGenerator(num_customers, capacity, **changes)
    return generator(num_instances, torch.Generator().manual_seed(1))


def with_goods(demand: list[list[int]], capacity: list[int], split: bool = False) -> Instances:
    """Instances with given demands and capacities at random places."""
    places = uniform(len(demand[0]), 9, len(demand))
    return Instances(
        places.depot, places.customers, torch.tensor(demand), torch.tensor(capacity), split
    )


SITUATIONS = {
    "several trips": uniform(7, 12, 5),
    "one trip is enough": uniform(4, 36, 3),
    "a single customer": uniform(1, 9, 3),
    "every customer fills the vehicle": with_goods([[5] * 6, [2] * 6], [5, 2]),
    "demand equals what is left": with_goods([[3, 2, 4, 1], [1, 1, 1, 1]], [5, 2]),
    "another capacity per instance": with_goods([[3, 2, 4], [3, 2, 4], [3, 2, 4]], [4, 6, 90]),
    "some need nothing": with_goods([[3, 0, 4, 0], [0, 1, 0, 0], [2, 2, 2, 2]], [5, 3, 4]),
    "one instance needs nothing": with_goods([[0, 0, 0], [1, 2, 1]], [3, 3]),
    "split, demand above capacity": with_goods([[9, 4, 1], [7, 7, 7]], [4, 5], split=True),
    "split, some need nothing": with_goods([[9, 0, 3], [0, 6, 0]], [4, 5], split=True),
    "split, random": uniform(5, 6, 3, split_delivery=True),
}
