"""What is stored of the study is what its own files give."""

from __future__ import annotations

import re
from pathlib import Path

from vrp.study.plan import read_plan, read_remarks
from vrp.study.records import read_curves, read_runs
from vrp.study.report import make_report, write_report
from vrp.study.steps import read_steps

STUDY = Path(__file__).resolve().parents[2] / "checkpoints" / "encoder-study"


def test_the_stored_report_is_that_of_the_stored_runs(tmp_path):
    """Its text to the last letter, and just these figures."""
    runs = read_runs(STUDY / "runs.csv")
    plan, remarks = (read(STUDY / "plan.json") for read in (read_plan, read_remarks))
    curves, steps = read_curves(STUDY / "curves.csv", runs), read_steps(STUDY / "steps.csv")
    report = make_report(runs, curves, plan, remarks, steps)
    write_report(tmp_path, report)
    for name in ("report.md", "report.html"):
        assert _text(tmp_path / name) == _text(STUDY / name)
    made = {path.name for path in tmp_path.iterdir()}
    drawn = {path.name for path in STUDY.glob("*.svg")}
    assert made == {*drawn, "report.md", "report.html"}


def _text(path: Path) -> str:
    """Without the pictures inside, which another version of matplotlib draws otherwise."""
    return re.sub(r'src="data:[^"]*"', "", path.read_text(encoding="utf-8"))


def test_no_run_was_counted_that_the_plan_does_not_know():
    """Settings of the primary runs are those that were planned, and pilots stay apart."""
    plan = read_plan(STUDY / "plan.json")
    runs = read_runs(STUDY / "runs.csv")
    primary = [run for run in runs if run.sweep == f"encoders-{plan.problem}"]
    assert primary
    assert {run.budget for run in primary} == {plan.budget}
    assert {run.seed for run in primary} <= set(plan.seeds)
    assert {run.seed for run in runs if run.is_pilot}.isdisjoint(plan.seeds)
