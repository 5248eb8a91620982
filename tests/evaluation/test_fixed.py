"""Standard sets and files by name, and how they differ from training."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vrp.evaluation.fixed import fixed_instances, outside_training
from vrp.problem import BandedGenerator, ClusteredGenerator, UniformGenerator
from vrp.problem.datasets import standard_set
from vrp.problem.files import save_npz

PROBLEM = {
    "num_customers": 10,
    "capacity": 20,
    "min_demand": 1,
    "max_demand": 9,
    "split_delivery": False,
}


class Touch:
    """Makes a file when it is unpickled carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        """Say how the object is to be made again."""
        return (Path.touch, (self.path,))


def test_the_first_instances_of_a_set():
    """`limit` cuts, `total` says what there is."""
    fixed = fixed_instances("nazari10", 7, None, False)
    assert (len(fixed.instances), fixed.total, fixed.standard) == (7, 1000, "nazari10")


def test_a_set_knows_its_reference():
    """Only where deliveries are whole."""
    assert fixed_instances("kool10", 5, None, False).reference().name == "kool10"
    assert fixed_instances("kool10", 5, None, True).reference() is None


def test_an_unknown_name_lists_the_sets():
    """Neither a file nor a set."""
    with pytest.raises(FileNotFoundError, match=r"kool11 is no file and no standard set.*kool10,"):
        fixed_instances("kool11", None, None, False)


def test_a_limit_beyond_the_set_is_refused():
    """The message gives both numbers."""
    with pytest.raises(ValueError, match="limit is 1001; nazari10 holds 1000"):
        fixed_instances("nazari10", 1001, None, False)


def test_another_capacity_for_a_set_is_refused():
    """It would be silently ignored otherwise."""
    with pytest.raises(ValueError, match="capacity is 30, but kool10 has 20"):
        fixed_instances("kool10", 5, 30, False)


def test_a_file_that_begins_a_standard_set_is_recognised(tmp_path):
    """So it gets the references and the published numbers of that set."""
    file = tmp_path / "some.npz"
    save_npz(standard_set("kool10", 30), file)
    fixed = fixed_instances(str(file), 10, None, False)
    assert fixed.standard == "kool10"
    assert fixed.total == 30
    assert fixed.reference().name == "kool10"


def test_one_other_demand_makes_it_another_set(tmp_path):
    """Recognised is only what is equal in every number."""
    instances = standard_set("kool10", 30)
    demand = instances.demand.clone()
    demand[29, 9] = 10 - demand[29, 9] if demand[29, 9] != 5 else 6
    file = tmp_path / "some.npz"
    save_npz(replace(instances, demand=demand), file)
    fixed = fixed_instances(str(file), None, None, False)
    assert fixed.standard is None
    assert fixed.reference() is None


def test_a_file_of_another_size_has_no_standard_set(tmp_path, tiny_instances):
    """Four customers."""
    file = tmp_path / "tiny.npz"
    save_npz(tiny_instances, file)
    fixed = fixed_instances(str(file), None, None, True)
    assert fixed.standard is None
    assert fixed.instances.split_delivery


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".npz"])
def test_a_malicious_file_is_not_executed(tmp_path, suffix):
    """Whatever its suffix says."""
    victim, file = tmp_path / "victim", tmp_path / f"data{suffix}"
    file.write_bytes(pickle.dumps([Touch(victim)], protocol=2))
    with pytest.raises(ValueError, match=rf"data\{suffix}"):
        fixed_instances(str(file), None, 20, False)
    assert not victim.exists()


def test_the_training_distribution_is_recognised():
    """The test set of the same size is inside."""
    assert outside_training(PROBLEM, standard_set("kool10", 100)) == []


@pytest.mark.parametrize(
    ("generator", "said"),
    [
        (ClusteredGenerator(10, 20), ["the mean distance to the nearest node"]),
        (BandedGenerator(10, 20), ["the mean distance to the nearest node", "the mean x"]),
        (UniformGenerator(10, 20), []),
    ],
)
def test_other_places_are_outside(generator, said):
    """Customers around centres or off one side; what was trained on is inside for any draw."""
    problem = PROBLEM | {"_target_": "vrp.problem.UniformGenerator"}
    for seed in range(3):
        instances = generator(200, torch.Generator().manual_seed(seed))
        found = outside_training(problem, instances)
        assert [text.partition(" is ")[0] for text in found[: len(said)]] == said
        assert bool(found) == bool(said)


def test_large_instances_take_little_memory(monkeypatch):
    """Places are looked at a few instances at a time, and of fewer instances."""
    seen = []

    def counting(points, others):
        seen.append(points.shape[0] * points.shape[1] ** 2)
        return cdist(points, others)

    cdist = torch.cdist
    monkeypatch.setattr(torch, "cdist", counting)
    monkeypatch.setattr("vrp.evaluation.fixed._DISTANCES", 1 << 20)
    monkeypatch.setattr("vrp.evaluation.fixed._DISTANCES_AT_ONCE", 1 << 17)
    problem = PROBLEM | {"_target_": "vrp.problem.UniformGenerator"}
    instances = UniformGenerator(300, 50)(2, torch.Generator().manual_seed(0))
    found = outside_training(problem, instances)
    assert [text.partition(" is ")[0] for text in found] == ["num_customers", "capacity"]
    assert max(seen) <= 1 << 17
    assert sum(seen) <= (30 + 2) * 301**2


def test_pieces_change_no_statistic(monkeypatch):
    """What is said of clustered instances is the same."""
    problem = PROBLEM | {"_target_": "vrp.problem.UniformGenerator"}
    instances = ClusteredGenerator(10, 20)(200, torch.Generator().manual_seed(0))
    whole = outside_training(problem, instances)
    monkeypatch.setattr("vrp.evaluation.fixed._DISTANCES_AT_ONCE", 1000)
    assert outside_training(problem, instances) == whole


def test_another_size_is_outside():
    """Customers and capacity are named with both values."""
    assert outside_training(PROBLEM, standard_set("kool20", 5)) == [
        "num_customers is 20, in training 10",
        "capacity is 30, in training 20",
    ]


def test_mixed_capacities_and_other_demands_are_outside(tiny_instances):
    """A range is given as such."""
    assert outside_training({"capacity": 5, "min_demand": 2, "max_demand": 4}, tiny_instances) == [
        "capacity is 2 to 5, in training 5",
        "demand is 1 to 4, in training 2 to 4",
    ]


def test_split_deliveries_may_be_outside():
    """As in the paper's split rows."""
    instances = replace(standard_set("kool10", 5), split_delivery=True)
    assert outside_training(PROBLEM, instances) == ["split_delivery is true, in training false"]
