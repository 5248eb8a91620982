"""`train.py` killed, then terminated: each piece goes on where the last one stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from runs import ROOT, composed, learned, metrics, same, small_config, small_overrides

from vrp.training.checkpoint import load_checkpoint
from vrp.training.trainer import Trainer

# Validation draws tours, which takes longer than many steps.
ENDLESS = "max_instances=100_000_000", "learning_rate_decay=none", "validation.every=320"


@dataclass(frozen=True)
class Piece:
    """What one piece of a run gave.

    Attributes:
        code: exit code; negative for a signal that ended it.
        output: stdout and stderr.
        step: of last.pt.
    """

    code: int
    output: str
    step: int


def step_of(folder: Path) -> int:
    """The step of the checkpoint, -1 where there is none yet."""
    try:
        return load_checkpoint(folder / "last.pt")["progress"]["step"]
    except FileNotFoundError:
        return -1


def run_until(arguments: list[str], folder: Path, steps: int, number: int) -> Piece:
    """Start train.py, and send it a signal once `steps` more steps are kept."""
    wanted = max(step_of(folder), 0) + steps
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, ROOT / "train.py", *arguments],
        cwd=folder.parents[1],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while step_of(folder) < wanted:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    return Piece(process.returncode, output, step_of(folder))


@dataclass(frozen=True)
class Interrupted:
    """A run in two pieces.

    Attributes:
        folder: of the run.
        pieces: by the signal that ended each.
    """

    folder: Path
    pieces: dict[int, Piece]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """A run that was killed, went on, and was terminated."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "outputs" / "pieces"
    folder.parent.mkdir()
    begin = small_overrides(*ENDLESS, "name=pieces", "threads=1")
    first = [*begin, f"hydra.run.dir={folder}"]
    later = [f"resume={folder}"]
    pieces = {
        signal.SIGKILL: run_until(first, folder, 30, signal.SIGKILL),
        signal.SIGTERM: run_until(later, folder, 30, signal.SIGTERM),
    }
    return Interrupted(folder, pieces)


@pytest.fixture(scope="module")
def straight(interrupted: Interrupted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the same config, in this process, up to where the other was terminated."""
    folder = tmp_path_factory.mktemp("straight")
    instances = 8 * interrupted.pieces[signal.SIGTERM].step
    config = small_config(*ENDLESS, "threads=1") | {"max_instances": instances}
    Trainer(config, folder, torch.device("cpu"), time.perf_counter()).run()
    return folder


def test_killed(interrupted):
    """Nothing can be said or kept by a killed process; what it had written is whole."""
    piece = interrupted.pieces[signal.SIGKILL]
    assert piece.code == -signal.SIGKILL
    assert piece.step >= 30


def test_terminated(interrupted):
    """The exit code says which signal, and the text how to go on."""
    piece = interrupted.pieces[signal.SIGTERM]
    assert piece.code == 143
    folder = os.path.relpath(interrupted.folder, interrupted.folder.parents[1])
    assert f"resume={folder}" in piece.output
    assert "Traceback" not in piece.output


def test_same_weights(interrupted, straight):
    """After both pieces the weights are those of a run in one, bit for bit."""
    checkpoints = [load_checkpoint(x / "last.pt") for x in (interrupted.folder, straight)]
    assert checkpoints[0]["progress"]["step"] == checkpoints[1]["progress"]["step"]
    assert same(learned(checkpoints[0]), learned(checkpoints[1]))


def test_same_validations(interrupted, straight):
    """Each validation is listed once, with the cost of the run in one piece."""
    rows = [row for row in metrics(interrupted.folder) if row["val_cost"]]
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(set(steps))
    found = {row["step"]: row["val_cost"] for row in rows}
    expected = {row["step"]: row["val_cost"] for row in metrics(straight)}
    assert found == {step: expected[step] for step in found}
    assert len(found) >= len(expected) - 1  # the straight run validates at its end, too


def test_no_temporary_file_is_left(interrupted):
    """Later pieces clear up behind the killed one."""
    assert not list(interrupted.folder.glob("*.tmp"))


def test_ctrl_c_in_a_preset(tmp_path):
    """The attention policy as POMO trains it, but small: stopped, gone on with, the same."""
    overrides = (
        "experiment=pomo20", "policy.num_layers=1", "policy.num_heads=2",
        "policy.feed_forward_dim=8", "problem.num_customers=5", "embedding_dim=8", "batch_size=8",
        "validation.every=320", "validation.limit=6", "checkpoint_every=80", "device=cpu",
        "threads=1", "progress=false", "name=pomo",
    )  # fmt: skip
    folder = tmp_path / "outputs" / "pomo"
    folder.parent.mkdir()
    piece = run_until([*overrides, f"hydra.run.dir={folder}"], folder, 20, signal.SIGINT)
    assert piece.code == 130
    assert "to go on:      python train.py resume=outputs/pomo" in piece.output
    assert "Traceback" not in piece.output
    longer = f"max_instances={8 * (piece.step + 50)}"
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", "resume=outputs/pomo", longer], cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    straight = tmp_path / "straight"
    straight.mkdir()
    config = composed(*overrides, longer)
    Trainer(config, straight, torch.device("cpu"), time.perf_counter()).run()
    checkpoints = [load_checkpoint(place / "last.pt") for place in (folder, straight)]
    assert [found["progress"]["step"] for found in checkpoints] == [piece.step + 50] * 2
    assert same(*map(learned, checkpoints))
