"""Networks trained side by side: the distances, and that processes change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vrp.study.facts import divergence, many_steps
from vrp.study.facts.divergence import Course, Runner, apart, hundredths, networks, powers, trained


@pytest.fixture
def two_threads():
    """For one test."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("steps", "expected"), [(1, [1]), (20, [1, 10, 20]), (100, [1, 10, 100])])
def test_powers(steps, expected):
    """The last step is always among them."""
    assert powers(steps) == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, [1]), (3, [1, 2, 3]), (100, [*range(1, 101)]), (10_000, [*range(100, 10_001, 100)])],
)
def test_hundredths(steps, expected):
    """Never a step twice, and the last among them."""
    assert hundredths(steps) == expected


def test_networks_name_each_twin():
    """Linear, Conv1d, the twins one rounding error away, and the reversed batch."""
    assert networks(2) == ["Linear", "Conv1d", "rounding 0", "rounding 1", "reversed"]


def test_distances_are_shares_of_linears_and_the_furthest_twin_counts():
    """Worked by hand: weights (3, 4) have the length 5."""
    courses = {
        "Linear": Course({1: np.array([3.0, 4.0])}, {1: 2.0, 2: 4.0}),
        "Conv1d": Course({1: np.array([3.0, 5.0])}, {1: 2.5, 2: 3.0}),
        "rounding 0": Course({1: np.array([3.0, 4.5])}, {1: 1.0, 2: 4.0}),
        "reversed": Course({1: np.array([1.0, 4.0])}, {1: 2.2, 2: 4.0}),
    }
    found = apart(courses)
    assert found.weights == {1: pytest.approx(0.2)}
    assert found.own_weights == {1: pytest.approx(0.4)}
    assert found.cost == {1: pytest.approx(0.25), 2: pytest.approx(0.25)}
    assert found.own_cost == {1: pytest.approx(0.5), 2: 0}


def _counting(name: str) -> Runner:
    """Each step adds its number and the number of threads to the one weight."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)

    def step(number: int) -> None:
        layer.weight.data += number * torch.get_num_threads()

    return Runner(layer, step, lambda: layer.weight.item() + len(name))


@pytest.mark.usefixtures("two_threads")
def test_a_network_sees_each_step_once_on_one_thread():
    """1 + 2 + … + 20; afterwards the threads are as before."""
    course = trained(_counting, 20, "Linear")
    assert {step: value.item() for step, value in course.weights.items()} == {1: 1, 10: 55, 20: 210}
    assert course.cost == {step: step * (step + 1) / 2 + len("Linear") for step in range(1, 21)}
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_threads_are_restored_after_an_error():
    """A network that cannot be made leaves no trace."""
    with pytest.raises(ValueError, match="no such"):
        trained(lambda name: (_ for _ in ()).throw(ValueError(f"no such {name}")), 1, "Linear")
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_processes_give_the_same_to_the_last_bit(monkeypatch):
    """Which is why it does not matter how many cores there are."""
    alone = many_steps.regression.__wrapped__(3, 1)
    monkeypatch.setattr(divergence, "_WORTH_A_PROCESS", 1)
    assert many_steps.regression.__wrapped__(3, 1) == alone
    assert max(alone.weights.values()) > 0
