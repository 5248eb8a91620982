"""A released model: its folder and its card, and what is refused."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts import release  # noqa: E402
from vrp.training.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402

pytest.importorskip("matplotlib")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Where models are released; it holds a run and a result."""
    monkeypatch.setattr(release, "ROOT", tmp_path)
    run, result = tmp_path / "run", tmp_path / "result"
    run.mkdir()
    result.mkdir()
    versions = {"threads": 2, "commit": "abc", "python": "3.11", "torch": "2", "numpy": "2"}
    content = {
        "config": {
            "seed": 3,
            "num_rollouts": 8,
            "validation": {"decode": "greedy", "limit": 1000},
        },
        "progress": {"step": 5, "instances": 640},
        "policy": {},
        "versions": versions,
        "started_from": {"name": "smaller", "sha256": "abc" * 10, "instances": 2000},
        "optimizer": {},
    }
    save_checkpoint(run / "best.pt", content)
    (run / "metrics.csv").write_text(
        "step,instances,seconds,val_gap\n0,0,1.0,50.0\n5,640,9.0,20.0\n"
    )
    summary = {"instances": 640, "seconds": 9.0, "parameters": 7, "validation": "kool10-val"}
    (run / "summary.json").write_text(json.dumps(summary))
    (result / "tours.png").write_bytes(b"picture")
    write_result(tmp_path)
    return tmp_path


def write_result(root: Path, **changes) -> None:
    """The summary of an evaluation of the run's best.pt."""
    summary = {
        "checkpoint_sha256": hashlib.sha256((root / "run" / "best.pt").read_bytes()).hexdigest(),
        "data": "kool10",
        "instances": 1000,
        "decode": "beam(width=5)",
        "decode_options": {"_target_": "vrp.search.Beam", "width": 5, "time_limit": None},
        "decode_overrides": ["decode=beam", "decode.width=5"],
        "ended": "complete",
        "mean_cost": 4.7,
        "standard_error": 0.03,
        "mean_gap_percent": 3.5,
        "gap_instances": 1000,
    }
    text = json.dumps({key: v for key, v in (summary | changes).items() if v != "left out"})
    (root / "result" / "summary.json").write_text(text)


def released(root: Path, name: str = "mine") -> int:
    """The exit code of the command."""
    arguments = [str(root / "run"), name, str(root / "result")]
    return release.main([*arguments, "--command", "python train.py", "--hardware", "a machine"])


def test_a_model_is_released(root, capsys):
    """Weights, log, curve, tours and card, and nothing else, not even beside it."""
    assert released(root) == 0
    assert capsys.readouterr().out == "released checkpoints/mine\n"
    folder = root / "checkpoints" / "mine"
    names = {"model.pt", "metrics.csv", "curve.png", "tours.png", "README.md"}
    assert {path.name for path in folder.iterdir()} == names
    assert "optimizer" not in load_checkpoint(folder / "model.pt")
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_the_card_says_what_to_type(root):
    """A row of a result ends in the key and values that evaluate.py takes."""
    assert released(root) == 0
    text = (root / "checkpoints" / "mine" / "README.md").read_text()
    assert "| hardware | a machine, 2 threads |" in text
    assert "hours with everything |" in text
    row = "| kool10 | first 1,000 | `decode=beam decode.width=5` | 4.7000 | 0.0300 | 3.50 % (on"
    assert row in text
    assert "checkpoint=mine data=SET limit=INSTANCES` and what stands under decoding" in text


def test_the_card_says_where_training_began(root):
    """With all that the weights had learned from before, and the code that trained them."""
    assert released(root) == 0
    text = (root / "checkpoints" / "mine" / "README.md").read_text()
    assert "| versions | vrp-rl at commit abc, Python 3.11, torch 2, numpy 2 |" in text
    changed = release._commit({"commit": "abc+"})
    assert changed == "vrp-rl at commit abc with changes not committed then, "
    assert "| began as | `smaller`, after 2,000 instances (SHA-256 abcabcabcabcabca...) |" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"checkpoint_sha256": "0" * 64}, "measured a checkpoint with the SHA-256 000000000000..."),
        ({"ended": "SIGINT"}, "the evaluation ended: SIGINT; only a complete one"),
        ({"ended": "time limit"}, "the evaluation ended: time limit"),
        ({"ended": "left out"}, "'ended' is missing"),
        ({"mean_cost": "left out"}, "'mean_cost' is missing"),
    ],
)
def test_a_result_that_does_not_belong_is_refused(root, capsys, changes, said):
    """In a line; what was released before stays."""
    assert released(root) == 0
    before = (root / "checkpoints" / "mine" / "README.md").read_text()
    capsys.readouterr()
    write_result(root, **changes)
    assert released(root) == 1
    assert said in capsys.readouterr().err
    assert (root / "checkpoints" / "mine" / "README.md").read_text() == before


def test_a_limit_that_was_asked_for_is_complete(root):
    """Its row says it."""
    options = {"_target_": "vrp.search.Beam", "width": 5, "time_limit": 60.0}
    typed = ["decode=beam", "decode.width=5", "decode.time_limit=60"]
    write_result(root, ended="time limit", decode_options=options, decode_overrides=typed)
    assert released(root) == 0
    text = (root / "checkpoints" / "mine" / "README.md").read_text()
    assert "`decode=beam decode.width=5 decode.time_limit=60`" in text


@pytest.mark.parametrize("missing", ["result/tours.png", "run/metrics.csv", "run/best.pt"])
def test_a_missing_file_leaves_nothing_behind(root, capsys, missing):
    """Neither a half model nor a temporary folder."""
    (root / missing).unlink()
    assert released(root) == 1
    assert capsys.readouterr().err.startswith("not released: ")
    assert not (root / "checkpoints").exists() or not list((root / "checkpoints").iterdir())


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden"])
def test_a_name_that_is_no_folder_is_refused(root, name, capsys):
    """It says what is allowed."""
    assert released(root, name) == 1
    assert f"name is {name!r}; letters" in capsys.readouterr().err


def test_a_second_release_replaces_the_first(root):
    """With all its files."""
    assert released(root) == 0
    (root / "checkpoints" / "mine" / "old.txt").touch()
    assert released(root) == 0
    assert not (root / "checkpoints" / "mine" / "old.txt").exists()


def chained(root: Path, seen: int) -> list[str]:
    """Arguments that release the run after one whose best weights have seen so many instances."""
    first = root / "first"
    first.mkdir()
    versions = {"threads": 1}
    progress = {"step": 9, "instances": seen}
    content = {"config": {"num_rollouts": 20}, "progress": progress, "started_from": None}
    save_checkpoint(first / "best.pt", content)
    rows = "step,instances,seconds,val_gap\n0,0,1.0,90.0\n9,2560,3600.0,60.0\n"
    (first / "metrics.csv").write_text(rows)
    summary = {"instances": 2560, "seconds": 3600.0, "versions": versions}
    (first / "summary.json").write_text(json.dumps(summary))
    file = root / "run" / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"versions": {"threads": 2}}))
    return [str(root / "run"), "mine", "--after", str(first), "--hardware", "a machine"]


def test_a_model_is_released_with_the_runs_before_it(root):
    """All their commands, the sums of their instances and hours, and one log."""
    arguments = [*chained(root, 2000), "--command", "python first", "--command", "python second"]
    assert release.main(arguments) == 0
    folder = root / "checkpoints" / "mine"
    card = (folder / "README.md").read_text()
    assert "1. `python first`: 2,560 instances x 20 tours, 1.00 hours of 1 thread" in card
    assert "2. `python second`: 640 instances x 8 tours, 0.00 hours of 2 threads" in card
    assert "| trained | 3,200 instances, 1.00 hours" in card
    assert "with everything; the weights have seen 2,640 of them |" in card
    assert "| hardware | a machine |" in card  # each run has its own threads
    assert "began as" not in card
    rows = (folder / "metrics.csv").read_text().splitlines()
    assert rows[0] == "run,step,instances,seconds,val_gap"
    assert [row[:2] for row in rows[1:]] == ["1,", "1,", "2,", "2,"]


@pytest.mark.parametrize(
    ("seen", "commands", "said"),
    [(2000, 1, "--command is there 1 times for 2 runs"), (1999, 2, "did not go on from")],
)
def test_a_chain_that_does_not_fit_is_refused(root, capsys, seen, commands, said):
    """Nothing is written."""
    arguments = [*chained(root, seen), *["--command", "python train.py"] * commands]
    assert release.main(arguments) == 1
    assert said in capsys.readouterr().err
    assert not (root / "checkpoints" / "mine").exists()
