"""What the tests of the searches share."""

from __future__ import annotations

import pytest
import torch

from vrp.policy import AttentionPolicy, PointerPolicy
from vrp.policy.base import Policy
from vrp.policy.encoders import LinearEncoder
from vrp.problem import Instances, UniformGenerator


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Small tensors on one thread: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["pointer", "attention"])
def policy(request: pytest.FixtureRequest) -> Policy:
    """A small policy of each kind, large enough weights for choices to hang on its memory."""
    encoder = LinearEncoder(16)
    if request.param == "pointer":
        found = PointerPolicy(encoder, 16)
    else:
        found = AttentionPolicy(encoder, 16, num_layers=1, num_heads=2, feed_forward_dim=16)
    found.initialise(0)
    # No further for attention: where tanh is 1, logits are equal.
    scale = {"pointer": 2, "attention": 1}[request.param]
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            parameter.mul_(3 * scale if name.startswith(("lstm", "query")) else scale)
    return found.eval()


def _uniform(num_customers: int, capacity: int, num_instances: int, **changes) -> Instances:
    generator = UniformGenerator(num_customers, capacity, **changes)
    return generator(num_instances, torch.Generator().manual_seed(1))


def _with_goods(demand: list[list[int]], capacity: list[int], split: bool = False) -> Instances:
    places = _uniform(len(demand[0]), 9, len(demand))
    return Instances(
        places.depot, places.customers, torch.tensor(demand), torch.tensor(capacity), split
    )


# Everything that a search must cope with.
SITUATIONS = {
    "several trips": _uniform(7, 12, 5),
    "one trip is enough": _uniform(4, 36, 3),
    "a single customer": _uniform(1, 9, 3),
    "every customer fills the vehicle": _with_goods([[5] * 6, [2] * 6], [5, 2]),
    "demand equals what is left": _with_goods([[3, 2, 4, 1], [1, 1, 1, 1]], [5, 2]),
    "another capacity per instance": _with_goods([[3, 2, 4], [3, 2, 4], [3, 2, 4]], [4, 6, 90]),
    "some need nothing": _with_goods([[3, 0, 4, 0], [0, 1, 0, 0], [2, 2, 2, 2]], [5, 3, 4]),
    "one instance needs nothing": _with_goods([[0, 0, 0], [1, 2, 1]], [3, 3]),
    "split, demand above capacity": _with_goods([[9, 4, 1], [7, 7, 7]], [4, 5], split=True),
    "split, some need nothing": _with_goods([[9, 0, 3], [0, 6, 0]], [4, 5], split=True),
    "split, random": _uniform(5, 6, 3, split_delivery=True),
}


@pytest.fixture(params=SITUATIONS)
def situation(request: pytest.FixtureRequest) -> Instances:
    """Each of `SITUATIONS` in turn."""
    return SITUATIONS[request.param]


@pytest.fixture
def several_trips() -> Instances:
    """Five instances of seven customers that need about three trips."""
    return SITUATIONS["several trips"]
