"""What is read from learning curves, on curves worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic import PLAN, curve, run

from vrp.study.analysis import Analysis
from vrp.study.learning import Curve, Curves, band_by_instances, band_by_seconds, late_fall
from vrp.study.records import CurvePoint


def made(values: list[float], seconds: float = 1.0) -> Curve:
    """A value at 0, 100, 200, ... instances, `seconds` apart."""
    x = 100.0 * np.arange(len(values))
    return Curve(x, seconds * x / 100, np.array(values))


def test_a_value_is_reached_between_two_validations():
    """From 10 at 100 instances to 6 at 200: 7 is reached at 175."""
    falling = made([20, 10, 6, 6])
    assert falling.first_below(7) == 175
    assert falling.first_below(10) == 100
    assert falling.first_below(30) == 0
    assert falling.first_below(5) is None
    assert falling.at(150) == 8


def test_the_first_time_counts():
    """A curve that rises again has still been there."""
    assert made([20, 10, 15, 5]).first_below(12) == 80


def test_a_band_is_the_mean_of_the_curves():
    """At common instances, or at common seconds when one run is slower."""
    both = [made([20, 10, 6]), made([22, 12, 8], seconds=2.0)]
    band = band_by_instances(both)
    assert band.x.tolist() == [0, 100, 200]
    assert band.mean.tolist() == [21, 11, 7]
    assert (band.low < band.mean).all()
    assert (band.mean < band.high).all()
    longer = [made([20, 10, 6, 5]), made([22, 12, 8], seconds=1.5)]
    seconds = band_by_seconds(longer)  # both have been validated once at 1.5, one ends at 3
    assert (seconds.x[0], seconds.x[-1], seconds.count) == (1.5, 3, 2)
    assert seconds.mean[-1] == (5 + 8) / 2


def test_there_is_no_band_without_common_ground():
    """No curves, or curves that share no stretch."""
    late = Curve(np.array([500.0, 600.0]), np.array([50.0, 60.0]), np.array([3.0, 2.0]))
    for curves in ([], [made([20, 10]), late]):
        assert band_by_instances(curves) is None
        assert band_by_seconds(curves) is None


def test_the_late_fall_is_of_the_budget():
    """Costs 8, 6, 5, 4.5, 4.05 at 0 to 400: a tenth is lost after 300."""
    single = run("linear", 0, 5.0)
    points = [
        CurvePoint(single.sweep, single.run, 100 * i, float(i), float(i), None, cost, None)
        for i, cost in enumerate([8, 6, 5, 4.5, 4.05])
    ]
    found = late_fall(points, [single], 0.75)
    assert (found.value, found.count) == (pytest.approx(10), 1)
    assert not found.is_bounded


def test_gaps_give_way_to_costs_where_a_run_has_none():
    """All curves of a figure have one unit; instances with a known gap give it to all runs."""
    runs = [run("linear", seed, 5.0) for seed in range(2)]
    points = [point for each in runs for point in curve(each)]
    assert Curves(points, runs).are_gaps
    last = points[-1]
    points[-1] = CurvePoint(
        last.sweep, last.run, last.instances, last.seconds, last.train_seconds, None, 5.0, None
    )
    both = Curves(points, runs)
    assert both.are_gaps
    known = runs[0].val_cost / (1 + runs[0].val_gap / 100)
    assert both.of(runs)[1].values[-1] == pytest.approx(100 * (5.0 / known - 1), abs=0.5)
    runs[1] = replace(runs[1], validation="others")
    points = [replace(p, val_gap=None) if p.key == runs[1].key else p for p in points]
    assert not Curves(points, runs).are_gaps
    assert Curves(points, runs[:1]).are_gaps


def test_both_signs_come_before_one():
    """Longer and slower, then longer, then slower, then neither, whatever the sizes."""
    runs = [run("linear", seed, 5.0 + 0.001 * seed) for seed in range(4)]
    points = [point for each in runs for point in curve(each)]
    end = runs[0].val_gap
    for variant, cost, slowness in (
        ("neither", 5.0, 1.0), ("slower", 5.0, 1.7), ("longer", 5.9, 1.0), ("both", 5.1, 1.3),
    ):  # fmt: skip
        for seed in range(4):
            each = run("linear", seed, cost, "suspects", variant, val_gap=end + 0.02 * seed)
            runs.append(each)
            points += curve(each, slowness)
    effects = Analysis(runs, points, PLAN).suspects("vrp10")
    assert [effect.name for effect in effects] == ["both", "longer", "slower", "neither"]
