"""What the tests share: instances small enough to be solved by hand."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch

from vrp.policy.native.library import NotBuilt, library
from vrp.problem import Instances

torch.set_num_threads(1)  # small tensors: more threads only wait for each other


@pytest.fixture(scope="session", autouse=True)
def native_libraries() -> None:
    """Built before any test, which may have to end in time."""
    with suppress(NotBuilt):
        for name in ("glimpse", "trunk"):
            library(name)


@pytest.fixture
def tiny_instances() -> Instances:
    """Two instances of four customers, solved by hand; `tiny_tours` and `tiny_cost` are optimal.

    Instance 0, capacity 5: two right triangles with sides 0.3, 0.4 and 0.5 meet at the depot.
    Customers 1 and 2 need 3 + 2 and customers 3 and 4 need 4 + 1, so both routes are exactly
    full, and no other two routes are possible.

                2
                |
        3---0---1
        |
        4

    Instance 1, capacity 2: the depot at one end of a line, customers each a quarter apart that
    need 1 each. The two far ones go together, and so do the two near ones.

        0--1--2--3--4
    """
    return Instances(
        depot=torch.tensor([[0.5, 0.5], [0.0, 0.0]]),
        customers=torch.tensor(
            [
                [[0.8, 0.5], [0.8, 0.9], [0.2, 0.5], [0.2, 0.1]],
                [[0.25, 0.0], [0.5, 0.0], [0.75, 0.0], [1.0, 0.0]],
            ]
        ),
        demand=torch.tensor([[3, 2, 4, 1], [1, 1, 1, 1]]),
        capacity=torch.tensor([5, 2]),
    )


@pytest.fixture
def tiny_tours() -> torch.Tensor:
    """(2, 1, 6) int64, an optimal tour of each of `tiny_instances`."""
    return torch.tensor([[[1, 2, 0, 3, 4, 0]], [[1, 2, 0, 3, 4, 0]]])


@pytest.fixture
def tiny_cost() -> torch.Tensor:
    """(2,) float64, the optimal costs of `tiny_instances`."""
    return torch.tensor([1.2 + 1.2, 1.0 + 2.0], dtype=torch.float64)
