"""How a finished run does on test sets; results are kept in its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import torch

from vrp.evaluation.trained import load_trained
from vrp.problem import ClusteredGenerator, Instances
from vrp.problem.datasets import CAPACITY, STANDARD_SETS, gap_percent, reference, standard_set
from vrp.problem.random_numbers import named_generator
from vrp.search.deterministic import solve
from vrp.study.describe import CHECKPOINT, Planned, read_json
from vrp.study.records import Run
from vrp.whole_file import whole_file

_CACHE = "tests.json"  # in the run's folder
_CLUSTERED = "clustered"
_CLUSTERED_INSTANCES = 10_000


@dataclass(frozen=True)
class TestSet:
    """Instances that runs are tested on.

    Attributes:
        name: a standard set, or `clusteredC`.
        instances: on the CPU.
    """

    __test__ = False  # pytest shall not take it for one of its classes

    name: str
    instances: Instances


def size_of(name: str) -> int:
    """The number of customers of a test set.

    Raises:
        ValueError: for an unknown name; lists what there is.
    """
    size = name.removeprefix(_CLUSTERED)
    if size != name and size.isdigit() and int(size) in CAPACITY:
        return int(size)
    if name not in STANDARD_SETS:
        clustered = [f"{_CLUSTERED}{size}" for size in CAPACITY]
        raise ValueError(
            f"test set {name!r} is unknown; allowed: {', '.join([*STANDARD_SETS, *clustered])}"
        )
    return int("".join(filter(str.isdigit, name.removesuffix("-val"))))


def make_test_set(name: str, limit: int | None) -> TestSet:
    """The first `limit` instances of a set that `size_of` knows, or all."""
    if name in STANDARD_SETS:
        return TestSet(name, standard_set(name, limit))
    size = size_of(name)
    generate = ClusteredGenerator(size, CAPACITY[size])
    instances = generate(_CLUSTERED_INSTANCES, named_generator(0, f"test/{name}"))
    return TestSet(name, instances[:limit])


def decodings(config: dict) -> list[str]:
    """Greedy for all, and what a policy was made for."""
    return ["greedy", "multistart"] if config.get("multistart") else ["greedy"]


def tested(described: Run, run: Planned, test: TestSet, decode: str) -> Run:
    """The run with its cost on the test set, solved unless the run's folder has the result.

    Args:
        described: the run without a test.
        run: where it is.
        test: of its number of customers.
        decode: one of `decodings`.
    """
    instances = test.instances
    trained = load_trained(run.name, run.folder / CHECKPOINT)
    capacity = run.config["problem"]["capacity"]
    if capacity != int(instances.capacity[0]):
        # Tours for a smaller vehicle are legal for the larger one.
        instances = replace(instances, capacity=torch.full_like(instances.capacity, capacity))
    instances = replace(instances, split_delivery=described.split_delivery)
    key = f"{test.name} {decode} {len(instances)}"
    kept = read_json(run.folder / _CACHE) or {}
    if kept.get("checkpoint_sha256") != trained.sha256:
        kept = {"checkpoint_sha256": trained.sha256}
    if key not in kept:
        costs = solve(trained.policy, instances, decode).cost
        gap, count = None, None
        known = None
        if test.name in STANDARD_SETS and not described.split_delivery:
            known = reference(test.name, described.capacity)
        if known is not None:
            gap, count = gap_percent(costs.numpy(), known.cost)
        kept[key] = {"cost": costs.mean().item(), "gap": gap, "reference_instances": count}
        with whole_file(run.folder / _CACHE, "w") as file:
            file.write(json.dumps(kept, indent=2) + "\n")
    if set(kept[key]) != {"cost", "gap", "reference_instances"}:
        raise ValueError(f"{run.folder / _CACHE} is damaged: {key!r} is {kept[key]!r}")
    return replace(
        described,
        checkpoint="last",
        test_set=test.name,
        decode=decode,
        test_instances=len(instances),
        **kept[key],
    )
