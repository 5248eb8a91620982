"""`scripts/compare_searches.py`: what it measures, writes and refuses."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts import compare_searches  # noqa: E402
from scripts.compare_searches import median_curve  # noqa: E402
from vrp.evaluation.anytime import Curve  # noqa: E402
from vrp.problem import UniformGenerator  # noqa: E402
from vrp.problem.datasets import reference  # noqa: E402
from vrp.problem.files import save_npz  # noqa: E402
from vrp.search import Beam, Greedy, Sampling  # noqa: E402
from vrp.training.build import build_policy  # noqa: E402
from vrp.training.checkpoint import save_checkpoint  # noqa: E402

pytest.importorskip("matplotlib")
CONFIG = {
    "problem": {"_target_": "vrp.problem.UniformGenerator", "num_customers": 10, "capacity": 20},
    "encoder": {"_target_": "vrp.policy.encoders.Conv1dEncoder", "embedding_dim": 8},
    "policy": {"_target_": "vrp.policy.PointerPolicy", "embedding_dim": 8},
}
FEW = {"greedy": Greedy(), "sampling": Sampling(40), "beam 10": Beam(2)}


@pytest.fixture
def compared(tmp_path, monkeypatch, capsys):
    """Type the command, with three searches: exit code, stdout, stderr."""
    policy = build_policy(CONFIG)
    policy.initialise(0)
    (tmp_path / "run").mkdir()
    save_checkpoint(tmp_path / "run" / "best.pt", {"config": CONFIG, "policy": policy.state_dict()})
    own = UniformGenerator(10, 20)(3, torch.Generator().manual_seed(0))
    save_npz(own, tmp_path / "own.npz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare_searches, "choose_waiting", lambda _: None)
    monkeypatch.setattr(compare_searches, "all_searches", lambda: FEW)

    def typed(*arguments: str, output: str | None = "out") -> tuple[int, str, str]:
        where = () if output is None else ("--output", output)
        try:
            code = compare_searches.main(["run", *arguments, *where])
        except SystemExit as stopped:
            code = stopped.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return typed


class Interrupted(Sampling):
    """A search during which Ctrl-C comes."""

    def solutions(self, policy, instances, generator):
        """None."""
        raise KeyboardInterrupt
        yield


def rows(folder: Path, name: str = "searches") -> list[dict]:
    """Of searches.csv."""
    with open(folder / "out" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> list[str]:
    """Names of what is in the output folder."""
    return sorted(path.name for path in (folder / "out").iterdir())


SMALL = ("kool10", "--limit", "12", "--batch-size", "5", "--seconds", "100", "--threads", "1")


def test_every_search_is_written(compared, tmp_path):
    """With what it was measured on, its gap agreeing with its cost."""
    code, out, err = compared(*SMALL)
    assert (code, err) == (0, "")
    assert out.startswith("run on the first 12 of kool10, 5 at once, threads: 1\n")
    found = rows(tmp_path)
    assert list(dict.fromkeys(row["search"] for row in found)) == list(FEW)
    optimum = reference("kool10").cost[:12].mean()
    for row in found:
        described = [row[key] for key in ("checkpoint", "data", "instances", "batch_size")]
        assert described == ["run", "kool10", "12", "5"]
        gap = 100 * (float(row["mean_cost"]) / optimum - 1)
        assert float(row["gap_percent"]) == pytest.approx(gap, abs=0.001)
    times = [float(row["seconds_per_instance"]) for row in found if row["search"] == "sampling"]
    assert len(times) > 1
    assert times == sorted(times)
    svg = (tmp_path / "out" / "searches.svg").read_text()
    assert svg.count("<svg") == 1
    assert "run on the first 12 of kool10, 5 at once, threads: 1" in svg
    assert files(tmp_path) == ["searches.csv", "searches.svg"]


def test_the_first_part_of_a_search_is_measured_several_times():
    """Its times are medians; what comes after them begins where they end."""
    asked = []
    factors = iter([3.0, 1.0, 1.1, 0.9, 1.2, 1.0, 0.8])

    def measure(seconds: float) -> Curve:
        asked.append(seconds)
        at = np.array([0.1, 0.2, 0.3, 1.0, 2.0])
        few = len(at) if seconds > 1 else 3
        return Curve(next(factors) * at[:few], np.array([5.0, 4.5, 4.4, 4.2, 4.0])[:few])

    found = median_curve(measure, seconds=2.0, early=0.4)
    assert asked == [2.0, *[0.4] * 6]
    assert found.cost.tolist() == [5.0, 4.5, 4.4, 4.2, 4.0]
    # The whole one took three times as long.
    assert found.seconds == pytest.approx([0.1, 0.2, 0.3, 0.3 + 2.1, 0.3 + 5.1])


@pytest.mark.parametrize(("same", "expected"), [(0, [0.2, 0.4]), (1, [0.1, 0.3])])
def test_other_costs_end_what_is_measured_together(same, expected):
    """Where batches take turns otherwise, times do not belong together."""
    calls = []

    def measure(seconds: float) -> Curve:
        calls.append(seconds)
        first = len(calls) == 1
        cost = np.array([5.0, 4.0]) if first else np.array([[6.0, 5.0][same], 3.0])
        return Curve(np.array([0.2, 0.4]) if first else np.array([0.1, 0.2]), cost)

    assert median_curve(measure, 1.0, 1.0).seconds == pytest.approx(expected)


def test_ctrl_c_keeps_what_is_done(compared, tmp_path, monkeypatch):
    """The searches before it, and exit code 130."""
    monkeypatch.setattr(
        compare_searches, "all_searches", lambda: FEW | {"sampling": Interrupted(1)}
    )
    code, _, err = compared(*SMALL)
    assert code == 130
    assert err == (
        "interrupted; out has the searches before: searches-partial.csv, searches-partial.svg\n"
    )
    assert {row["search"] for row in rows(tmp_path, "searches-partial")} == {"greedy"}
    assert files(tmp_path) == ["searches-partial.csv", "searches-partial.svg"]


def test_ctrl_c_before_a_search_has_ended(compared, tmp_path, monkeypatch):
    """What is said to be written is there, and what is not is not."""
    monkeypatch.setattr(compare_searches, "all_searches", lambda: {"greedy": Interrupted(1)})
    code, _, err = compared(*SMALL)
    assert (code, err) == (130, "interrupted; nothing is written\n")
    assert files(tmp_path) == []


def test_a_part_never_replaces_a_whole(compared, tmp_path, monkeypatch):
    """A complete comparison stays until the next is complete, which removes the part."""
    compared(*SMALL)
    before = (tmp_path / "out" / "searches.csv").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(compare_searches, "all_searches", lambda: FEW | {"beam 10": Interrupted(1)})
        compared(*SMALL)
    assert (tmp_path / "out" / "searches.csv").read_bytes() == before
    assert len(files(tmp_path)) == 4
    assert compared(*SMALL)[0] == 0
    assert files(tmp_path) == ["searches.csv", "searches.svg"]


def test_comparisons_have_a_folder_each(compared, tmp_path, monkeypatch):
    """Named after the checkpoint and the set, unless another one is named."""
    monkeypatch.setattr(compare_searches, "all_searches", lambda: {"greedy": Greedy()})
    for data in ("kool10", "kool20"):
        code, out, _ = compared(data, "--limit", "4", "--threads", "1", output=None)
        folder = Path("outputs", "searches", f"run-{data}")
        assert code == 0
        assert f"written: {folder}: searches.csv, searches.svg" in out
        assert (tmp_path / folder / "searches.csv").exists()


def test_what_costs_once_is_over_before_the_clock_runs(compared, monkeypatch):
    """The process's first optimizer has been made, and has stepped."""
    seen = []

    class Optimizer(torch.optim.Adam):
        def __init__(self, *arguments):
            seen.append("made")
            super().__init__(*arguments)

        def step(self):
            seen.append("stepped")
            super().step()

    class Timed(Greedy):
        def solutions(self, policy, instances, generator):
            seen.append("greedy")
            return super().solutions(policy, instances, generator)

    monkeypatch.setattr(torch.optim, "Adam", Optimizer)
    monkeypatch.setattr(compare_searches, "all_searches", lambda: {"greedy": Timed()})
    assert compared(*SMALL)[0] == 0
    assert seen[:3] == ["made", "stepped", "greedy"]


def test_a_line_is_shown_when_its_search_ends(compared, monkeypatch):
    """Also where the output is a file or a pipe."""
    raw, shown = io.BytesIO(), []

    class Last(Greedy):
        def solutions(self, policy, instances, generator):
            shown.append(raw.getvalue().decode())
            return super().solutions(policy, instances, generator)

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw))
    searches = {"greedy": Greedy(), "beam 10": Last()}
    monkeypatch.setattr(compare_searches, "all_searches", lambda: searches)
    assert compared(*SMALL)[0] == 0
    assert [line.split()[0] for line in shown[0].splitlines()] == ["run", "greedy"]


def test_instances_with_a_reference_are_taken(compared, tmp_path, monkeypatch):
    """Sets of 50 and 100 customers have fewer than a thousand."""
    monkeypatch.setattr(compare_searches, "all_searches", lambda: {"greedy": Greedy()})
    code, out, _ = compared("kool50")
    count = len(reference("kool50").cost)
    assert code == 0
    assert f"the first {count} of kool50, {min(250, count)} at once" in out
    assert {row["instances"] for row in rows(tmp_path)} == {str(count)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("kool10", "--limit", "0"), "--limit: '0' is not possible; it must be a whole number"),
        (("kool10", "--batch-size", "0"), "--batch-size: '0' is not possible"),
        (("kool10", "--batch-size", "x"), "--batch-size: 'x' is not possible"),
        (("kool10", "--seconds", "-1"), "--seconds: '-1' is not possible; it must be a number"),
        (("kool10", "--seconds", "nan"), "--seconds: 'nan' is not possible"),
        (("kool10", "--limit", "1001"), "--limit is 1001; kool10 has reference costs of 1000"),
        (("own.npz",), "own.npz has no reference costs"),
        (("nothing",), "data: nothing is no file and no standard set"),
    ],
)
def test_unusable_arguments(compared, tmp_path, arguments, said):
    """Exit code 2, a line with the value and what is allowed, and nothing written."""
    code, out, err = compared(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert not (tmp_path / "out").exists()


def test_matplotlib_is_looked_for_first(compared, monkeypatch):
    """Not after the measurement."""
    monkeypatch.setattr("vrp.training.tour_figure.can_draw", lambda: False)
    code, _, err = compared(*SMALL)
    assert code == 2
    assert "the figure needs matplotlib" in err


def test_every_search_has_a_colour():
    """In the figure."""
    searches = compare_searches.all_searches()
    assert searches.keys() == compare_searches.COLOURS.keys()
    assert len(set(compare_searches.COLOURS.values())) == len(searches)


def test_the_searches_are_what_their_names_say():
    """Also of a policy that is not made to start anywhere: a symmetry more is never worse."""
    policy = build_policy(CONFIG)
    policy.initialise(0)
    instances = UniformGenerator(10, 20)(20, torch.Generator().manual_seed(0))
    searches = compare_searches.all_searches()
    plain, augmented = (
        searches[name](policy.eval(), instances, torch.Generator()).cost
        for name in ("multi-start", "multi-start x 8")
    )
    assert (augmented <= plain).all()


@pytest.mark.parametrize("file", sorted(ROOT.glob("checkpoints/*/searches.csv")), ids=str)
def test_a_shipped_figure_is_of_these_searches(file):
    """No search has changed its name, come or gone since it was drawn."""
    with open(file, newline="") as lines:
        names = {row["search"] for row in csv.DictReader(lines)}
    assert names == set(compare_searches.all_searches())
