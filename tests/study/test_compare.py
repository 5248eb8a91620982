"""Runs of several sittings come together in one report."""

from __future__ import annotations

import sys
from pathlib import Path

from synthetic import curve, lost, run

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.compare import merged

OLD, NEW = run("conv1d", 0, 4.9), run("conv1d", 0, 4.8)
OTHER = run("linear", 0, 4.85)


def records(*runs):
    """With their curves."""
    return list(runs), [point for each in runs if each.cost for point in curve(each)]


def test_runs_of_both_are_kept():
    """In the order of their sittings."""
    runs, curves = merged(records(OTHER), records(NEW))
    assert runs == [OTHER, NEW]
    assert len(curves) == len(curve(OTHER)) + len(curve(NEW))


def test_a_run_made_again_counts_once():
    """As it is now, its curve too."""
    runs, curves = merged(records(OLD, OTHER), records(NEW))
    assert runs == [OTHER, NEW]
    assert [p for p in curves if p.key == NEW.key] == curve(NEW)


def test_a_run_that_is_only_planned_again_stays_as_it_was():
    """A missing run renews nothing; one that nobody has seen stays missing."""
    runs, curves = merged(records(OLD), records(lost(NEW, "missing"), lost(OTHER, "missing")))
    assert runs == [OLD, lost(OTHER, "missing")]
    assert curves == curve(OLD)


def test_a_failed_run_renews_a_finished_one():
    """It has been run again, and that is what came of it."""
    runs, curves = merged(records(OLD), records(lost(NEW, "failed", "boom")))
    assert (runs, curves) == ([lost(NEW, "failed", "boom")], [])
