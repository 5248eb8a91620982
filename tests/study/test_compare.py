"""Runs of several sittings come together in one report."""

from __future__ import annotations

import sys
from pathlib import Path

from synthetic import curve, lost, run

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.compare import PLAN, main, merged
from vrp.study.records import Run, read_runs, write_curves, write_runs

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


def write(folder: Path, runs: list) -> list[str]:
    """The two files, as arguments of the command."""
    folder.mkdir()
    write_runs(folder / "runs.csv", runs)
    write_curves(folder / "curves.csv", [p for each in runs for p in curve(each)], runs)
    return [str(folder / "runs.csv"), str(folder / "curves.csv")]


def alike(sweep: str, problem: str = "vrp10") -> list[Run]:
    """Three pairs of conv1d and linear that differ by next to nothing."""
    return [
        run(name, seed, cost + 0.001 * seed, sweep, problem=problem)
        for name, cost in (("conv1d", 4.8), ("linear", 4.8001))
        for seed in range(3)
    ]


def test_any_sweep_gets_an_answer(tmp_path):
    """Runs of another sweep than the study's, three seeds of them, are decided by its rules."""
    files = write(tmp_path / "mine", alike("mine"))
    assert main(files) == 0
    report = (tmp_path / "mine" / "report.md").read_text()
    assert "**Equivalent.** On VRP10" in report
    assert "Measured with 3 seeds of each encoder" in report
    assert "6 of 6 runs are counted." in report
    assert main([*files, "--plan", str(PLAN)]) == 0
    assert "**No answer yet.**" in (tmp_path / "mine" / "report.md").read_text()


def test_a_sweep_of_another_problem_gets_an_answer(tmp_path):
    """Where there is nothing of the study's problem, its rules decide on the one that there is."""
    files = write(tmp_path / "mine", alike("mine", problem="vrp20"))
    assert main(files) == 0
    report = (tmp_path / "mine" / "report.md").read_text()
    assert "**Equivalent.** On VRP20" in report
    assert "instances of `kool20`" in report
    assert "Not as planned" not in report


def test_encoders_of_different_problems_are_refused(tmp_path, capsys):
    """A report could compare nothing; of one encoder alone it shows each problem."""
    conv1d, linear = alike("mine")[:3], alike("else", problem="vrp20")[3:]
    assert main(write(tmp_path / "both", conv1d + linear)) == 2
    assert "different problems" in (said := capsys.readouterr().err)
    assert "conv1d on vrp10, linear on vrp20" in said
    one = [run("conv1d", seed, 6.6, "else", problem="vrp20") for seed in range(3)]
    assert main(write(tmp_path / "one", conv1d + one)) == 0


def test_what_lies_beside_the_files_belongs_to_their_report(tmp_path):
    """The remarks and the plan's seeds are in it wherever it is written."""
    files = write(tmp_path / "mine", [run(name, 0, 4.8, "mine") for name in ("conv1d", "linear")])
    (tmp_path / "mine" / "remarks.txt").write_text("It rained.\n")
    assert main([*files, "--output", str(tmp_path / "else")]) == 0
    assert "It rained." in (tmp_path / "else" / "report.md").read_text()


def test_a_curve_that_lacks_its_last_lines_is_refused(tmp_path, capsys):
    """Cut at the end of a line, the file is whole, and the curve is not."""
    files = write(tmp_path / "mine", [run("linear", seed, 4.8) for seed in range(2)])
    assert len(read_runs(Path(files[0]))) == 2
    curves = Path(files[1])
    curves.write_text("".join(curves.read_text().splitlines(keepends=True)[:-1]))
    assert main(files) == 2
    assert "lines are missing" in capsys.readouterr().err
