"""What a search has found after how many seconds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vrp.evaluation.anytime import anytime_curve
from vrp.problem import UniformGenerator
from vrp.search import Greedy, Sampling
from vrp.search.base import Search
from vrp.search.solution import Progress, Solution

INSTANCES = UniformGenerator(4, 20)(3, torch.Generator().manual_seed(0))


class Clock:
    """A clock that moves only when it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Scripted(Search):
    """Finds what it is told when it is told, for batches of two instances and of one."""

    def __init__(self, clock: Clock, found: dict[int, list[tuple[float, float]]]) -> None:
        self.__dict__.update(clock=clock, found=found, time_limit=None)

    def effort(self, num_customers: int, starts_anywhere: bool) -> float:
        """Not asked for."""
        return 1

    def solutions(self, policy, instances, generator):
        """Pieces of work of (seconds, cost of each instance)."""
        for number, (seconds, cost) in enumerate(self.found[len(instances)], 1):
            self.clock.now += seconds
            n = len(instances)
            solution = Solution(torch.zeros(n, 1).long(), torch.full((n,), cost).double())
            yield Progress(solution, number / len(self.found[n]))


@pytest.fixture
def clock(monkeypatch):
    """In the place of the wall clock."""
    made = Clock()
    monkeypatch.setattr("vrp.evaluation.anytime.time.perf_counter", made)
    return made


def test_the_mean_over_batches_by_hand(clock):
    """Two instances at 1 and 3 s (each 0.5 and 1.5), one at 1 and 2 s, weighted by their number."""
    search = Scripted(clock, {2: [(1.0, 9.0), (2.0, 6.0)], 1: [(1.0, 3.0), (1.0, 0.0)]})
    curve = anytime_curve(search, None, INSTANCES, 2, 0)
    # Before 1.0 the second batch has found nothing, so there is no mean.
    assert curve.seconds.tolist() == [1.0, 1.5, 2.0]
    assert curve.cost == pytest.approx([(2 * 9 + 3) / 3, (2 * 6 + 3) / 3, (2 * 6 + 0) / 3])


def test_a_batch_is_left_after_its_seconds(clock):
    """With the piece of work that passes them."""
    search = Scripted(clock, {3: [(1.0, 9.0), (1.0, 8.0), (1.0, 7.0), (1.0, 6.0)]})
    curve = anytime_curve(search, None, INSTANCES, 3, 0, seconds=0.5)
    assert curve.seconds == pytest.approx([1 / 3, 2 / 3])
    assert curve.cost.tolist() == [9, 8]


def test_it_ends_where_the_evaluation_ends(evaluate_config):
    """Equal seeds give the costs that `scripts/evaluate.py` finds."""
    from vrp.evaluation.evaluate import make_evaluation

    decode = {"_target_": "vrp.search.Sampling", "samples": 20}
    evaluation = make_evaluation(evaluate_config(decode=decode, batch_size=8, seed=3))
    found = evaluation.run().solution.cost.mean()
    curve = anytime_curve(Sampling(20), evaluation.trained.policy, evaluation.fixed.instances, 8, 3)
    assert curve.cost[-1] == pytest.approx(float(found), abs=1e-12)
    assert (np.diff(curve.cost) <= 0).all()
    assert (np.diff(curve.seconds) > 0).all()


def test_greedy_has_one_point(evaluate_config):
    """For a single batch."""
    from vrp.evaluation.evaluate import make_evaluation

    evaluation = make_evaluation(evaluate_config())
    policy, instances = evaluation.trained.policy, evaluation.fixed.instances
    curve = anytime_curve(Greedy(), policy, instances, 20, 0)
    assert len(curve.seconds) == len(curve.cost) == 1
