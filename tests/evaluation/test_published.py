"""The published tour lengths: typing errors would show here."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest

from vrp.evaluation.published import PUBLISHED, Drawn, Entry
from vrp.problem.datasets import CAPACITY, reference


def cost(method: str, size: int, split: bool = False, drawn: str = "nazari") -> float:
    """The one entry's cost."""
    (found,) = (
        entry
        for entry in PUBLISHED
        if (entry.method, entry.num_customers, entry.split_delivery, entry.instances)
        == (method, size, split, drawn)
    )
    return found.cost


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda e: f"{e.method}-{e.num_customers}")
def test_an_entry_is_complete(entry: Entry):
    """Each entry has a size of the problem, a population, a source and positive numbers."""
    assert entry.num_customers in CAPACITY
    assert entry.instances in get_args(Drawn)
    assert entry.method
    assert entry.source
    assert entry.cost > 0
    assert entry.std is None or 0 < entry.std < entry.cost
    assert entry.seconds is None or entry.seconds > 0


def test_no_entry_is_there_twice():
    """A method has one number per size, population and kind of delivery."""
    keys = Counter((e.method, e.num_customers, e.instances, e.split_delivery) for e in PUBLISHED)
    assert keys.most_common(1)[0][1] == 1


@pytest.mark.parametrize("size", [10, 20])
def test_nothing_is_below_the_optimum(size):
    """No method beats Gurobi on Nazari's own instances."""
    for entry in PUBLISHED:
        if (entry.num_customers, entry.instances, entry.split_delivery) == (size, "nazari", False):
            assert entry.cost >= cost("optimal (Gurobi)", size)


@pytest.mark.parametrize("size", CAPACITY)
@pytest.mark.parametrize("split", [False, True])
def test_wider_beams_are_better(size, split):
    """Beam 10 is below beam 5, and that below greedy."""
    beams = [cost(f"RL {name}", size, split) for name in ("beam 10", "beam 5", "greedy")]
    assert beams == sorted(beams)


@pytest.mark.parametrize("size", CAPACITY)
@pytest.mark.parametrize("method", ["RL greedy", "RL beam 5", "RL beam 10"])
def test_splitting_deliveries_shortens(size, method):
    """The paper's split rows are below the rows of whole deliveries."""
    assert cost(method, size, split=True) < cost(method, size)


@pytest.mark.parametrize("size", [20, 50, 100])
def test_sampling_is_between_greedy_and_the_solver(size):
    """On Kool's instances: LKH3, then sampling, then greedy."""
    methods = ("LKH3", "AM sampling 1280", "AM greedy")
    costs = [cost(method, size, drawn="kool") for method in methods]
    assert costs == sorted(costs)


def test_more_customers_cost_more():
    """Each method's cost rises with the size."""
    rows: dict[tuple, list[tuple[int, float]]] = {}
    for e in PUBLISHED:
        key = (e.method, e.instances, e.split_delivery)
        rows.setdefault(key, []).append((e.num_customers, e.cost))
    for row in rows.values():
        costs = [length for _, length in sorted(row)]
        assert costs == sorted(costs)


@pytest.mark.parametrize("size", CAPACITY)
def test_kool_entries_are_above_our_references(size):
    """No number on Kool's instances is below the near-optimal costs, up to chance."""
    known = reference(f"kool{size}")
    if known is None:
        pytest.skip("no reference costs")
    least = known.cost.mean() - 4 * known.cost.std() / known.cost.size**0.5
    for entry in PUBLISHED:
        if (entry.num_customers, entry.instances, entry.split_delivery) == (size, "kool", False):
            assert entry.cost > least
