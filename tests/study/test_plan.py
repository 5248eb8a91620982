"""The plan's file, and the script that reads everything and writes the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from programs import Done, run_program
from synthetic import PLAN, curves, pairs

from vrp.study.plan import Plan, read_plan
from vrp.study.records import write_curves, write_runs
from vrp.study.report import make_report, write_report

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "checkpoints" / "encoder-study" / "plan.json"


def test_the_stored_plan_asks_the_primary_question():
    """Conv1d against linear, VRP10, greedy, last checkpoint, all of kool10, 0.05, 0.5 %."""
    plan = read_plan(STORED)
    assert (plan.problem, plan.test_set, plan.test_instances) == ("vrp10", "kool10", 10_000)
    assert (plan.decode, plan.checkpoint, plan.encoders) == ("greedy", "last", ("conv1d", "linear"))
    assert (plan.margin_percent, plan.alpha, plan.power) == (0.5, 0.05, 0.8)
    assert (plan.seeds, plan.budget) == (tuple(range(10)), 400_000)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("alpha", 0.7, "alpha is 0.7; it must be between 0 and 0.5"),
        ("margin_percent", "half", "margin_percent is 'half'; it must be a number"),
        ("power", True, "power is True"),
        ("encoders", ["conv1d"], "two different ones"),
        ("encoders", ["conv1d", "gru"], "encoders is 'gru'; it must be of conv1d"),
        ("seeds", [1, 1], "none twice"),
        ("seeds", [-1], "seeds is -1"),
        ("seeds", 10, "seeds is 10; it must be a list"),
        ("budget", 0, "budget is 0"),
        ("problem", "", "problem is ''; it must be a name"),
        ("notes", [1], "notes is 1"),
        ("margins", 1, "unknown key 'margins'; allowed: margin_percent"),
        ("alpha", None, "alpha is missing"),
    ],
)
def test_a_bad_plan_is_named(tmp_path, key, value, said):
    """File, key, value and what is allowed."""
    values = json.loads(STORED.read_text())
    values[key] = value
    if value is None:
        del values[key]
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError) as caught:
        read_plan(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_what_is_no_plan_is_refused(tmp_path, content):
    """With the file's name."""
    path = tmp_path / "plan.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=r"plan\.json: "):
        read_plan(path)


def test_a_plan_comes_back_from_its_file(tmp_path):
    """Lists become tuples, nothing else changes."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(vars(PLAN)))
    assert read_plan(path) == PLAN
    assert isinstance(read_plan(path), Plan)


def compare(*arguments: object) -> Done:
    """The script, as typed."""
    return run_program(["scripts/compare.py", *map(str, arguments)], Path.cwd())


def test_the_script_makes_the_report_of_two_files(tmp_path):
    """The one that the records themselves make, to the last byte."""
    runs = pairs({"conv1d": 0, "linear": 0}, 3)
    points = curves(runs)
    write_runs(tmp_path / "runs.csv", runs)
    write_curves(tmp_path / "curves.csv", points, runs)
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(vars(PLAN)))
    folder = tmp_path / "made"
    done = compare(
        tmp_path / "runs.csv", tmp_path / "curves.csv", "--output", folder, "--plan", plan
    )
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"report.md", "report.html", "costs-vrp10.svg"} <= set(written)
    write_report(tmp_path / "again", make_report(runs, points, PLAN))
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert str(folder / "report.md") in done.stdout


def test_the_script_refuses_bad_input_in_one_line(tmp_path):
    """Exit code 2, what is wrong on stderr, and nothing written."""
    (tmp_path / "runs.csv").write_text("")
    done = compare(tmp_path / "runs.csv", tmp_path / "curves.csv")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "runs.csv: the file is empty" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs.csv"]
