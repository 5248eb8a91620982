"""The script that makes reference costs: what it writes, how it continues, what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("pyvrp")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts import reference_costs as script
from vrp.problem import datasets
from vrp.problem.datasets import gap_percent, reference, standard_set


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the script on `kool10` into an empty folder and returns its exit code."""
    monkeypatch.setattr(datasets, "REFERENCE_FOLDER", tmp_path)

    def run(*arguments: str) -> int:
        fixed = ["kool10", "--time-limit", "0.02", "--output", str(tmp_path)]
        return script.main([*fixed, *arguments])

    return run


@pytest.fixture
def solved(monkeypatch) -> list[tuple[int, float]]:
    """The (instance, time limit) of every search, in place of which n + 1 is the cost."""
    calls: list[tuple[int, float]] = []

    def solve(instances, n, time_limit, seed):
        calls.append((n, time_limit))
        return float(n + 1)

    monkeypatch.setattr(script, "solve", solve)
    return calls


def stored(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "kool10.json").read_text())


def test_hand_solved_instances(tiny_instances, tiny_cost):
    """PyVRP finds the optimal tours, and our judge measures them."""
    found = [script.solve(tiny_instances, n, time_limit=0.02, seed=0) for n in range(2)]
    assert found == pytest.approx(tiny_cost.tolist(), abs=1e-6)


def test_what_is_written_is_what_is_read(command, tmp_path, capsys):
    """The package reads the costs and where they come from; the file is all that is left."""
    assert command("--limit", "3", "--check", "2", "--seed", "4") == 0
    found = reference("kool10")
    assert len(found.cost) == 3
    assert (found.name, found.solver, found.seed, found.time_limit) == ("kool10", "PyVRP", 4, 0.02)
    assert (found.check.instances, found.check.time_limit) == (2, 0.2)
    assert gap_percent(found.cost, found.cost) == (0, 3)
    assert [file.name for file in tmp_path.iterdir()] == ["kool10.json"]
    output = capsys.readouterr().out
    assert "over 3 instances" in output
    assert "data=kool10" in output


def test_another_vehicle_has_a_file_of_its_own(command, tmp_path):
    """One that holds less needs longer tours; the set's own vehicle is no other."""
    assert command("--limit", "5", "--capacity", "12") == 0
    assert command("--limit", "5", "--capacity", "20") == 0
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["kool10-capacity12.json", "kool10.json"]
    less, usual = reference("kool10", 12), reference("kool10")
    assert (less.capacity, usual.capacity) == (12, 20)
    assert less.cost.mean() > usual.cost.mean()
    assert reference("kool10", 13) is None


def test_a_vehicle_too_small_is_refused(command, tmp_path, capsys):
    """Before anything is written."""
    assert command("--limit", "5", "--capacity", "3") == 1
    assert "capacity" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_larger_limit_adds_to_what_is_there(command, solved, tmp_path):
    """Solved instances are not solved again, and a smaller limit takes nothing away."""
    for limit in ("2", "5", "3"):
        assert command("--limit", limit) == 0
    assert [n for n, _ in solved] == [0, 1, 2, 3, 4]
    assert stored(tmp_path)["cost"] == [1, 2, 3, 4, 5]


def test_an_interrupted_run_continues(command, solved, tmp_path, monkeypatch, capsys):
    """Ctrl-C ends it with code 130; the same command does the rest, each instance once."""
    finish = script.solve

    def interrupt(instances, n, time_limit, seed):
        if n == 2:
            raise KeyboardInterrupt
        return finish(instances, n, time_limit, seed)

    monkeypatch.setattr(script, "solve", interrupt)
    assert command("--limit", "4") == 130
    assert "continues" in capsys.readouterr().err
    assert stored(tmp_path)["cost"] == [1, 2]
    monkeypatch.setattr(script, "solve", finish)
    assert command("--limit", "4") == 0
    assert [n for n, _ in solved] == [0, 1, 2, 3]


def test_an_interrupted_check_continues(command, solved, tmp_path):
    """A larger check keeps what the smaller one found."""
    assert command("--limit", "3", "--check", "1") == 0
    assert command("--limit", "3", "--check", "3") == 0
    assert [n for n, limit in solved if limit == 0.2] == [0, 1, 2]
    assert stored(tmp_path)["check"]["instances"] == 3


def test_the_check_measures_and_adopts_nothing(command, monkeypatch, tmp_path):
    """A tour of 4 becomes 3: one of two improved, an eighth of the mean, a quarter at most."""
    monkeypatch.setattr(
        script, "solve", lambda instances, n, limit, seed: 3.0 if (n, limit) == (1, 0.2) else 4.0
    )
    assert command("--limit", "3", "--check", "2") == 0
    check = reference("kool10").check
    assert (check.instances, check.improved) == (2, 1)
    assert check.mean_improvement_percent == 12.5
    assert check.max_improvement_percent == 25
    assert stored(tmp_path)["cost"] == [4, 4, 4]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", "1"], ["seed 0", "has 1"]),
        (["--time-limit", "0.5"], ["time_limit 0.02", "has 0.5"]),
    ],
)
def test_other_settings_are_refused(command, solved, tmp_path, capsys, arguments, words):
    """Costs of two settings are never mixed; both values are in the error."""
    assert command("--limit", "1") == 0
    before = stored(tmp_path)
    assert command("--limit", "2", *arguments) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for word in words:
        assert word in message
    assert stored(tmp_path) == before


def test_a_file_of_something_else_is_not_overwritten(command, solved, tmp_path, capsys):
    """A broken file is named and left as it is."""
    (tmp_path / "kool10.json").write_text("[1, 2")
    assert command("--limit", "1") == 1
    assert "kool10.json: not a file of reference costs" in capsys.readouterr().err
    assert (tmp_path / "kool10.json").read_text() == "[1, 2"


def test_an_illegal_tour_is_never_stored(command, tmp_path, monkeypatch, capsys):
    """What PyVRP says is checked by our judge; the file keeps what was found before."""
    judge = script.check_tours

    def refuse(instances, actions):
        if torch.equal(instances.depot, standard_set("kool10", 2).depot[1:]):
            raise ValueError("route 1 carries 21, above the capacity 20")
        judge(instances, actions)

    monkeypatch.setattr(script, "check_tours", refuse)
    assert command("--limit", "2") == 1
    assert "no legal tour for instance 1 (route 1 carries 21" in capsys.readouterr().err
    assert len(stored(tmp_path)["cost"]) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["kool30"],
        [],
        ["kool10", "--limit", "0"],
        ["kool10", "--limit", "x"],
        ["kool10", "--time-limit", "0"],
        ["kool10", "--time-limit", "nan"],
        ["kool10", "--seed", "-1"],
        ["kool10", "--limit", "5", "--check", "6"],
    ],
)
def test_unusable_arguments(arguments, capsys):
    """They end the program with code 2 before anything is written."""
    with pytest.raises(SystemExit) as caught:
        script.main(arguments)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_a_limit_above_the_set_is_named(command, capsys):
    """The error gives the allowed range."""
    assert command("--limit", "10001") == 1
    assert "kool10 allows 1 to 10000" in capsys.readouterr().err


def test_missing_pyvrp_is_told_in_one_line(command, monkeypatch, capsys):
    """The error says how to install it."""
    monkeypatch.setattr(script, "pyvrp", None)
    assert command("--limit", "1") == 1
    message = capsys.readouterr().err
    assert "[solvers]" in message
    assert message.count("\n") == 1
