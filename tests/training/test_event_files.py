"""Event files cut back to a step, as TensorBoard's own reader sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import events
from torch.utils.tensorboard import SummaryWriter

from vrp.training.event_files import cut_event_files


def write(folder: Path, steps: range) -> Path:
    """An event file with a scalar at each step; its path."""
    before = set(folder.iterdir())
    with SummaryWriter(folder) as writer:
        for step in steps:
            writer.add_scalar("cost", 10 - step, step)
    (path,) = set(folder.iterdir()) - before
    # Another piece of a run starts in another second.
    return path.rename(path.with_name(f"{path.name}.{len(before)}"))


def test_cut_to_a_step(tmp_path):
    """What comes after the step is gone, the step itself stays."""
    write(tmp_path, range(10))
    cut_event_files(tmp_path, 6)
    assert events(tmp_path) == [(step, "cost") for step in range(7)]


def test_all_pieces_are_cut(tmp_path):
    """Each file of a run that was resumed before."""
    write(tmp_path, range(6))
    write(tmp_path, range(4, 10))
    cut_event_files(tmp_path, 4)
    assert events(tmp_path) == [(step, "cost") for step in [0, 1, 2, 3, 4, 4]]


def test_nothing_to_cut(tmp_path):
    """A file that ends before the step stays byte for byte."""
    path = write(tmp_path, range(5))
    before = path.read_bytes(), path.stat().st_mtime_ns
    cut_event_files(tmp_path, 5)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.mark.parametrize("lost", [1, 3, 8, 15, 20])
def test_half_a_record(lost, tmp_path):
    """A last record that was only half written is dropped, and what was whole stays."""
    path = write(tmp_path, range(5))
    path.write_bytes(path.read_bytes()[:-lost])
    cut_event_files(tmp_path, 10)
    assert events(tmp_path) == [(step, "cost") for step in range(4)]
    with SummaryWriter(tmp_path, filename_suffix=".later") as writer:
        writer.add_scalar("cost", 1, 4)
    assert events(tmp_path) == [(step, "cost") for step in range(5)]


def test_empty_file(tmp_path):
    """A file that was opened and never written."""
    (tmp_path / "events.out.tfevents.1.host").touch()
    cut_event_files(tmp_path, 3)
    assert events(tmp_path) == []


def test_other_files_are_left(tmp_path):
    """Only event files are touched, and nothing is left behind."""
    write(tmp_path, range(5))
    (tmp_path / "metrics.csv").write_text("step\n9\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    cut_event_files(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "metrics.csv").read_text() == "step\n9\n"
