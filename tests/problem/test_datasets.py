"""Standard sets against published facts, reference costs and the gap."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from vrp.problem import datasets
from vrp.problem.datasets import (
    CAPACITY,
    STANDARD_SETS,
    Check,
    gap_percent,
    reference,
    standard_set,
)

RECORD = {
    "capacity": 20,
    "set": "kool10",
    "solver": "PyVRP",
    "version": "0.14.1",
    "seed": 3,
    "time_limit": 0.5,
    "check": None,
    "cost": [4.0, 5.0],
}


@pytest.fixture
def references(tmp_path, monkeypatch):
    """An empty folder in the place of the shipped reference costs."""
    monkeypatch.setattr(datasets, "REFERENCE_FOLDER", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", STANDARD_SETS)
def test_every_set_is_the_published_one(name):
    """Each is regenerated with the published SHA-256, and has its size and capacity."""
    instances = standard_set(name)
    size = int(name.removesuffix("-val").lstrip("kolnazri"))
    assert instances.num_customers == size
    assert len(instances) == (1_000 if name.startswith("nazari") else 10_000)
    assert (instances.capacity == CAPACITY[size]).all()
    assert set(instances.demand.unique().tolist()) == set(range(1, 10))
    assert not instances.split_delivery


@pytest.mark.parametrize("name", ["kool10", "kool100"])
def test_first_depot_of_kool(name):
    """The first depot is the same at every size, since depots are drawn first."""
    depot = standard_set(name, limit=1).depot
    assert torch.equal(depot, torch.tensor([[0.1915194503788923, 0.6221087710398319]]))


def test_nazari_depot_is_the_last_node_of_the_source():
    """Our node 0 is the source's last, and the customers keep their order."""
    random = np.random.RandomState(24602)
    source = torch.from_numpy(random.uniform(0, 1, (1000, 11, 2))).float()
    instances = standard_set("nazari10")
    assert torch.equal(instances.depot, source[:, 10])
    assert torch.equal(instances.customers, source[:, :10])


@pytest.mark.parametrize("name", ["kool20-val", "nazari20"])
def test_a_limit_takes_the_first(name):
    """A limited set is the beginning of the whole one."""
    whole, first = standard_set(name), standard_set(name, limit=7)
    assert len(first) == 7
    for part in ("depot", "customers", "demand", "capacity"):
        assert torch.equal(getattr(first, part), getattr(whole, part)[:7])


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_out_of_range_is_named(limit):
    """The error gives the value and the allowed range."""
    with pytest.raises(ValueError, match=f"limit is {limit}; nazari10 allows 1 to 1000"):
        standard_set("nazari10", limit)


@pytest.mark.parametrize("function", [standard_set, reference])
def test_an_unknown_name_lists_the_sets(function):
    """The error names all that there are."""
    with pytest.raises(ValueError, match=r"'kool30'; there are kool10, .*nazari100"):
        function("kool30")


def test_the_global_stream_is_left_alone():
    """Regenerating a set neither reads nor moves numpy's global stream."""
    np.random.seed(5)
    expected = np.random.uniform()
    np.random.seed(5)
    standard_set("nazari10")
    assert np.random.uniform() == expected


def test_another_stream_is_refused(monkeypatch):
    """A set that does not come out as published is an error, not a result."""
    protocol, size = datasets._SETS["nazari10"]
    broken = datasets._Protocol(
        draw=lambda seed, count: protocol.draw(seed + 1, count),
        seed=protocol.seed,
        depot=protocol.depot,
        float64=protocol.float64,
        float32=protocol.float32,
    )
    monkeypatch.setitem(datasets._SETS, "nazari10", (broken, size))
    with pytest.raises(RuntimeError, match=r"nazari10 as regenerated here .* has SHA-256"):
        standard_set("nazari10", limit=1)


def test_no_reference_costs(references):
    """A set without a file has no reference, which is no error."""
    assert reference("kool10") is None


def test_reference_costs_are_read(references):
    """Everything about where the costs come from is in the record."""
    check = Check(1, 5.0, 0, 0.0, 0.0)
    (references / "kool10.json").write_text(
        json.dumps({**RECORD, "check": {**asdict(check), "cost": [4.0]}})
    )
    found = reference("kool10")
    assert found.cost.dtype == np.float64
    assert found.cost.tolist() == [4.0, 5.0]
    assert (found.name, found.solver, found.version) == ("kool10", "PyVRP", "0.14.1")
    assert (found.seed, found.time_limit) == (3, 0.5)
    assert found.check == check


def test_reference_costs_cannot_be_changed(references):
    """They are shared by all who ask, so writing to them is an error."""
    (references / "kool10.json").write_text(json.dumps(RECORD))
    with pytest.raises(ValueError, match="read-only"):
        reference("kool10").cost[0] = 1.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps(RECORD)[:-10],  # truncated
        json.dumps({**RECORD, "set": "kool20"}),  # another set's file
        json.dumps({**RECORD, "cost": [4.0, -5.0]}),
        json.dumps({**RECORD, "cost": [4.0, "five"]}),
        json.dumps({**RECORD, "cost": [[4.0], [5.0]]}),
        json.dumps({**RECORD, "check": {"instances": 2}}),
    ],
)
def test_a_broken_reference_file_is_named(references, text):
    """Whatever is wrong with the file, the error begins with its path."""
    path = references / "kool10.json"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        reference("kool10")
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("name", STANDARD_SETS)
def test_shipped_reference_costs_are_sound(name):
    """None is below the radial bound of Haimovich and Rinnooy Kan (1985), and all were checked."""
    found = reference(name)
    if found is None:
        pytest.skip(f"no reference costs of {name}")
    instances = standard_set(name, limit=len(found.cost))
    radius = (instances.customers - instances.depot[:, None]).double().norm(dim=-1)  # (n, C)
    bound = (2 * radius * instances.demand).sum(-1) / instances.capacity
    bound = torch.maximum(bound, 2 * radius.amax(-1))
    assert (found.cost >= bound.numpy() - 1e-6).all()
    assert found.check is not None


def test_gap_is_that_of_the_mean_costs():
    """(4.4 + 6.6) / (4 + 6) - 1 is 10 percent, over 2 instances."""
    percent, count = gap_percent(np.array([4.4, 6.6]), np.array([4.0, 6.0]))
    assert percent == pytest.approx(10)
    assert count == 2
    percent, _ = gap_percent(np.array([2.0, 9.0]), np.array([1.0, 10.0]))
    assert percent == 0  # the mean of the single gaps would be 45


@pytest.mark.parametrize(
    ("cost", "reference_cost"),
    [
        ([4.4, 6.6, 100.0], [4.0, 6.0]),  # more tours than references
        ([4.4, 6.6], [4.0, 6.0, 100.0]),  # and fewer
    ],
)
def test_gap_uses_the_instances_that_have_both(cost, reference_cost):
    """The common beginning counts, and its length is told."""
    percent, count = gap_percent(np.array(cost), np.array(reference_cost))
    assert percent == pytest.approx(10)
    assert count == 2


def test_gap_takes_a_tensor():
    """Costs as the judge returns them need no conversion."""
    assert gap_percent(torch.tensor([5.0]), np.array([4.0])) == (25.0, 1)


@pytest.mark.parametrize("cost", [np.zeros(0), np.ones((2, 1))])
def test_gap_of_nothing_is_refused(cost):
    """Both must be (n,) with at least one entry; the shapes are in the error."""
    with pytest.raises(ValueError, match="n at least 1"):
        gap_percent(cost, np.ones(2))
