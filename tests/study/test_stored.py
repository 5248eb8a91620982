"""What is stored of the study is what its own files give."""

from __future__ import annotations

from pathlib import Path

from vrp.study.plan import read_plan
from vrp.study.records import read_curves, read_runs
from vrp.study.report import make_report, write_report

STUDY = Path(__file__).resolve().parents[2] / "checkpoints" / "encoder-study"


def test_the_stored_report_is_that_of_the_stored_runs(tmp_path):
    """Its text to the last letter, and just these figures."""
    runs = read_runs(STUDY / "runs.csv")
    report = make_report(
        runs, read_curves(STUDY / "curves.csv", runs), read_plan(STUDY / "plan.json")
    )
    write_report(tmp_path, report)
    assert (tmp_path / "report.md").read_text() == (STUDY / "report.md").read_text()
    made = {path.name for path in tmp_path.iterdir()}
    stored = {path.name for path in STUDY.iterdir() if path.suffix in (".svg", ".md", ".html")}
    assert made == stored


def test_no_run_was_counted_that_the_plan_does_not_know():
    """Settings of the primary runs are those that were planned, and pilots stay apart."""
    plan = read_plan(STUDY / "plan.json")
    runs = read_runs(STUDY / "runs.csv")
    primary = [run for run in runs if run.sweep == f"encoders-{plan.problem}"]
    assert primary
    assert {run.budget for run in primary} == {plan.budget}
    assert {run.seed for run in primary} <= set(plan.seeds)
    assert {run.seed for run in runs if run.is_pilot}.isdisjoint(plan.seeds)
