"""The uniform generator: its distribution, its seed and what it refuses."""

from __future__ import annotations

import pytest
import torch

from vrp.problem import BandedGenerator, ClusteredGenerator, UniformGenerator


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_same_seed_same_instances():
    """The instances are a function of the generator's state alone."""
    generate = UniformGenerator(num_customers=10, capacity=20)
    first = generate(50, seeded(1))
    torch.rand(7)  # the global stream plays no part
    second = generate(50, seeded(1))
    other = generate(50, seeded(2))
    for name in ("depot", "customers", "demand", "capacity"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert not torch.equal(first.customers, other.customers)


def test_leaves_the_global_stream_alone():
    """Generating instances draws no number that anything else would have drawn."""
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    UniformGenerator(num_customers=5, capacity=20)(10, seeded(0))
    assert torch.equal(torch.rand(3), expected)


def test_every_demand_is_equally_frequent():
    """Demands are 1 to 9, both included, each within five standard errors of a ninth."""
    instances = UniformGenerator(num_customers=100, capacity=50)(2_000, seeded(0))
    counts = torch.bincount(instances.demand.flatten())
    assert len(counts) == 10
    assert counts[0] == 0
    total = 200_000
    error = (total * (1 / 9) * (8 / 9)) ** 0.5
    assert ((counts[1:] - total / 9).abs() < 5 * error).all()


def test_coordinates_are_uniform():
    """Mean and variance of all coordinates are those of the unit square: 1/2 and 1/12."""
    coordinates = UniformGenerator(num_customers=99, capacity=50)(2_000, seeded(0)).coordinates()
    assert coordinates.mean().item() == pytest.approx(1 / 2, abs=2e-3)
    assert coordinates.var().item() == pytest.approx(1 / 12, abs=1e-3)


def test_the_settings_are_used():
    """Sizes, demands, capacity and variant are those asked for."""
    generate = UniformGenerator(7, 3, min_demand=4, max_demand=4, split_delivery=True)
    instances = generate(3, seeded(0))
    assert (len(instances), instances.num_customers) == (3, 7)
    assert (instances.demand == 4).all()
    assert (instances.capacity == 3).all()
    assert instances.split_delivery


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_customers": 0, "capacity": 20}, "num_customers is 0"),
        ({"num_customers": 5, "capacity": 20, "min_demand": 0}, "min_demand is 0"),
        ({"num_customers": 5, "capacity": 20, "min_demand": 8, "max_demand": 7}, "max_demand 7"),
        ({"num_customers": 5, "capacity": 8}, "capacity 8 is below"),
        ({"num_customers": 5, "capacity": 0, "split_delivery": True}, "capacity is 0"),
    ],
)
def test_a_bad_setting_is_named(settings, words):
    """The error gives the setting and its value."""
    with pytest.raises(ValueError, match=words):
        UniformGenerator(**settings)


def test_no_instances_are_refused():
    """A batch holds at least one instance."""
    with pytest.raises(ValueError, match="num_instances is 0"):
        UniformGenerator(num_customers=5, capacity=20)(0, seeded(0))


def test_clusters_are_as_wide_as_asked():
    """Around its centre a customer strays by `spread` along each axis, and never leaves."""
    generate = ClusteredGenerator(400, 50, num_clusters=1, spread=0.03)
    customers = generate(200, seeded(0)).customers
    inner = (customers.mean(1) - 0.5).abs().amax(-1) < 0.35  # centres far from the edge
    assert inner.sum() > 50
    assert customers[inner].std(1).mean().item() == pytest.approx(0.03, rel=0.02)
    assert 0 <= customers.min() <= customers.max() <= 1


def test_clusters_are_as_many_as_asked():
    """Customers of tight clusters fall on as many places as there are centres."""
    customers = ClusteredGenerator(60, 50, num_clusters=4, spread=1e-6)(20, seeded(0)).customers
    for places in customers:
        assert len(torch.unique(places.mul(1000).round(), dim=0)) == 4


def test_the_edge_mirrors():
    """A wide spread still fills the square evenly at its edges, none of it clamped there."""
    customers = ClusteredGenerator(100, 50, num_clusters=1, spread=0.5)(100, seeded(0)).customers
    assert ((customers == 0) | (customers == 1)).float().mean() < 0.02


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_clusters": 0}, "num_clusters is 0"),
        ({"spread": 0.0}, "spread is 0.0"),
        ({"spread": 0.6}, "spread is 0.6"),
        ({"capacity": 8}, "capacity 8 is below"),
    ],
)
def test_a_bad_cluster_setting_is_named(settings, words):
    """The error gives the setting and its value."""
    with pytest.raises(ValueError, match=words):
        ClusteredGenerator(**({"num_customers": 5, "capacity": 20} | settings))


def test_the_band_is_as_rare_as_asked():
    """A share of the coordinates lies in the band, evenly there and evenly below."""
    generate = BandedGenerator(50, 50, band=0.2, share=0.05)
    coordinates = generate(2_000, seeded(0)).coordinates()
    rare = coordinates > 0.8
    assert rare.float().mean().item() == pytest.approx(0.05, abs=0.002)
    assert coordinates[rare].mean().item() == pytest.approx(0.9, abs=0.002)
    assert coordinates[~rare].mean().item() == pytest.approx(0.4, abs=0.002)
    assert 0 <= coordinates.min() <= coordinates.max() <= 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"band": 0.0}, "band is 0.0"),
        ({"band": 1.0}, "band is 1.0"),
        ({"share": -0.1}, "share is -0.1"),
        ({"share": 1.1}, "share is 1.1"),
    ],
)
def test_a_bad_band_is_named(settings, words):
    """The error gives the setting and its value."""
    with pytest.raises(ValueError, match=words):
        BandedGenerator(**({"num_customers": 5, "capacity": 20} | settings))
