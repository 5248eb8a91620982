"""The batch record: what it accepts, what it refuses, and how it is sliced."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from vrp.problem import Instances


def changed(instances: Instances, name: str, place: tuple[int, ...], value: float) -> Instances:
    """The same instances with one entry of one tensor replaced."""
    tensor = getattr(instances, name).clone()
    tensor[place] = value
    return replace(instances, **{name: tensor})


def test_counts(tiny_instances):
    """The depot is a node, but no customer."""
    assert len(tiny_instances) == tiny_instances.num_instances == 2
    assert tiny_instances.num_customers == 4
    assert tiny_instances.num_nodes == 5


def test_node_0_is_the_depot(tiny_instances):
    """Coordinates begin with the depot's, demands with its 0."""
    assert torch.equal(tiny_instances.coordinates()[:, 0], tiny_instances.depot)
    assert torch.equal(tiny_instances.coordinates()[:, 1:], tiny_instances.customers)
    assert tiny_instances.node_demand().tolist() == [[0, 3, 2, 4, 1], [0, 1, 1, 1, 1]]


@pytest.mark.parametrize(
    "index",
    [
        slice(1, 2),
        torch.tensor([1]),
        torch.tensor([False, True]),
    ],
    ids=["slice", "index", "mask"],
)
def test_slices_take_whole_instances(tiny_instances, index):
    """Each way of choosing instance 1 gives all four of its tensors, and keeps the variant."""
    chosen = replace(tiny_instances, split_delivery=True)[index]
    assert len(chosen) == 1
    assert chosen.capacity.tolist() == [2]
    assert torch.equal(chosen.depot, tiny_instances.depot[1:])
    assert torch.equal(chosen.customers, tiny_instances.customers[1:])
    assert torch.equal(chosen.demand, tiny_instances.demand[1:])
    assert chosen.split_delivery


def test_is_frozen(tiny_instances):
    """A tensor of the record cannot be exchanged unnoticed."""
    with pytest.raises(FrozenInstanceError):
        tiny_instances.demand = tiny_instances.demand + 1


@pytest.mark.parametrize(
    ("name", "place", "value", "words"),
    [
        ("customers", (1, 2, 1), float("nan"), ["customer 3", "instance 1", "y is nan", "[0, 1]"]),
        ("customers", (0, 0, 0), float("inf"), ["customer 1", "instance 0", "x is inf"]),
        ("customers", (0, 3, 0), 1.5, ["customer 4", "instance 0", "x is 1.5"]),
        ("depot", (1, 0), -0.25, ["depot", "instance 1", "x is -0.25", "[0, 1]"]),
        ("depot", (0, 1), float("nan"), ["depot", "instance 0", "y is nan"]),
        ("capacity", (1,), 0, ["capacity", "instance 1", "0", "at least 1"]),
        ("demand", (1, 3), -2, ["customer 4", "instance 1", "-2", "negative"]),
        ("demand", (0, 1), 6, ["customer 2", "instance 0", "demand 6", "capacity 5"]),
    ],
)
def test_a_bad_value_is_named(tiny_instances, name, place, value, words):
    """The error says which instance, which customer, which value and what is allowed."""
    with pytest.raises(ValueError) as caught:
        changed(tiny_instances, name, place, value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("demand", (0, 1), 0),  # no visit needed
        ("demand", (0, 1), 5),  # exactly the capacity
        ("customers", (0, 0, 0), 0.0),
        ("customers", (0, 0, 0), 1.0),
    ],
)
def test_the_ends_of_a_range_are_allowed(tiny_instances, name, place, value):
    """Limits are inclusive."""
    changed(tiny_instances, name, place, value)


def test_demand_above_the_capacity_may_be_split(tiny_instances):
    """With split deliveries one customer may need more than a vehicle holds."""
    changed(replace(tiny_instances, split_delivery=True), "demand", (0, 1), 60)


@pytest.mark.parametrize("name", ["depot", "customers", "demand", "capacity"])
def test_another_type_is_refused(tiny_instances, name):
    """The types are part of the record, so nothing is converted in silence."""
    with pytest.raises(TypeError, match=f"{name} must be"):
        replace(tiny_instances, **{name: getattr(tiny_instances, name).double()})


@pytest.mark.parametrize("name", ["depot", "customers", "demand", "capacity"])
def test_a_shape_that_does_not_fit_is_refused(tiny_instances, name):
    """Every tensor has the same N, C and number of axes as the others."""
    tensor = getattr(tiny_instances, name)
    for wrong in (tensor[:1], tensor[None], tensor[..., :1] if tensor.dim() > 1 else tensor[:0]):
        with pytest.raises(ValueError, match="must have shape"):
            replace(tiny_instances, **{name: wrong})


def test_no_customer_is_refused(tiny_instances):
    """An instance without customers is no problem."""
    with pytest.raises(ValueError, match="at least one customer"):
        replace(
            tiny_instances,
            customers=tiny_instances.customers[:, :0],
            demand=tiny_instances.demand[:, :0],
        )
