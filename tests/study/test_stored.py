"""What is stored of the study is what its own files give."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import pytest
from scipy.stats import ttest_rel

from vrp.study.analysis import Analysis
from vrp.study.plan import read_plan, read_remarks
from vrp.study.records import read_curves, read_runs
from vrp.study.report import make_report, write_report
from vrp.study.statistics import holm, paired_difference
from vrp.study.steps import read_steps
from vrp.study.wording import number, signed

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "checkpoints" / "encoder-study"
CONSTRAINTS = ROOT / "constraints.txt"
ATTENTION = "vrp20-attention"


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    """Of what is stored."""
    runs = read_runs(STUDY / "runs.csv")
    return Analysis(runs, read_curves(STUDY / "curves.csv", runs), read_plan(STUDY / "plan.json"))


def test_the_stored_report_is_that_of_the_stored_runs(tmp_path):
    """Its text to the last letter, and just these figures; to the last byte, drawn by the same."""
    runs = read_runs(STUDY / "runs.csv")
    plan, remarks = read_plan(STUDY / "plan.json"), read_remarks(STUDY)
    curves, steps = read_curves(STUDY / "curves.csv", runs), read_steps(STUDY / "steps.csv")
    report = make_report(runs, curves, plan, remarks, steps)
    write_report(tmp_path, report)
    for name in ("report.md", "report.html"):
        assert _text(tmp_path / name) == _text(STUDY / name)
    made = {path.name for path in tmp_path.iterdir()}
    drawn = {path.name for path in STUDY.glob("*.svg")}
    assert made == {*drawn, "report.md", "report.html"}
    if f"matplotlib=={matplotlib.__version__}" in CONSTRAINTS.read_text().splitlines():
        for name in made:
            assert (tmp_path / name).read_bytes() == (STUDY / name).read_bytes(), name


def _text(path: Path) -> str:
    """Without the pictures inside, which another version of matplotlib draws otherwise."""
    return re.sub(r'src="data:[^"]*"', "", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("decode", "words"), [("greedy", "greedy"), ("multistart", "multi-start")])
def test_the_added_seeds_alone_say_what_the_remarks_say(decode, words):
    """The attention policy's seeds 3 to 7, which were added after the first three were seen."""
    costs = {
        (run.encoder, run.seed): run.cost
        for run in read_runs(STUDY / "runs.csv")
        if (run.problem, run.decode) == (ATTENTION, decode)
    }
    ours, theirs = ([costs[name, seed] for seed in range(3, 8)] for name in ("conv1d", "linear"))
    found = paired_difference(ours, theirs).scaled(100 * 5 / sum(theirs))
    low, high = signed(found.low), signed(found.high)
    remarks = " ".join(read_remarks(STUDY))
    assert f"{signed(found.value)} % ({low} to {high}) in {words} tours" in remarks


def test_the_announced_seeds_alone_say_what_the_remarks_say():
    """Seeds 5 to 9 of `flattened` at the smaller rate."""
    costs = {
        (run.variant, run.seed): run.cost
        for run in read_runs(STUDY / "runs.csv")
        if (run.problem, run.test_set) == ("vrp10-rate0.0003", "kool10")
    }
    ours, theirs = ([costs[name, seed] for seed in range(5, 10)] for name in ("flattened", ""))
    found = paired_difference(ours, theirs).scaled(100 * 5 / sum(theirs))
    said = f"{number(found.value, 2)} % longer ({signed(found.low)} to {signed(found.high)}, p = "
    assert f"{said}{ttest_rel(ours, theirs).pvalue:.4f})" in " ".join(read_remarks(STUDY))


def test_equivalence_by_the_program_of_the_plan_is_what_the_remarks_say(analysis):
    """Over the primary question's two encoders alone, and over the changes as well."""
    pair = analysis.equivalence_families["encoders"]
    alone = holm([comparison.equivalence.p for comparison in pair])
    (i,) = (
        i for i, c in enumerate(pair) if (c.test.problem, c.test.decode) == (ATTENTION, "greedy")
    )
    remarks = " ".join(read_remarks(STUDY))
    assert len(pair) == 4
    assert f"are equivalent (p = {alone[i]:.4f} after correction)" in remarks
    assert f"they are not (p = {analysis.adjusted_equivalence(pair[i]):.4f})" in remarks


def test_no_run_was_counted_that_the_plan_does_not_know():
    """Settings of the primary runs are those that were planned, and pilots stay apart."""
    plan = read_plan(STUDY / "plan.json")
    runs = read_runs(STUDY / "runs.csv")
    primary = [run for run in runs if run.sweep == f"encoders-{plan.problem}"]
    assert primary
    assert {run.budget for run in primary} == {plan.budget}
    assert {run.seed for run in primary} <= set(plan.seeds)
    assert {run.seed for run in runs if run.is_pilot}.isdisjoint(plan.seeds)
