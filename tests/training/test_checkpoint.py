"""Checkpoints: what is written comes back, and nothing else is ever taken for one."""

from __future__ import annotations

import errno
import io
import os
import pickle
import random
import resource
import signal
from pathlib import Path

import pytest
import torch
from runs import same

from vrp.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

CONTENT = {
    "config": {"seed": 3, "name": "ü", "limit": None, "list": [1, 2.5, True]},
    "policy": {"weight": torch.arange(6.0).view(2, 3), "empty": torch.zeros(0)},
    "optimizer": {"state": {0: {"step": torch.tensor(4.0)}}, "param_groups": [{"lr": 1e-3}]},
    "progress": {"step": 7, "best_cost": float("inf")},
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint of `CONTENT`."""
    save_checkpoint(tmp_path / "last.pt", CONTENT)
    return tmp_path / "last.pt"


def names(folder: Path) -> list[str]:
    """All files of a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_comes_back_as_it_was(saved):
    """Tensors bit for bit, plain types as they were, and no other file beside it."""
    assert same(load_checkpoint(saved), CONTENT)
    assert names(saved.parent) == ["last.pt"]


def test_tensors_keep_their_type(tmp_path):
    """Every type of number and the numbers that are none."""
    content = {
        str(dtype): torch.tensor([0, 1, 2]).to(dtype)
        for dtype in (torch.float64, torch.bfloat16, torch.int64, torch.int16, torch.bool)
    }
    save_checkpoint(tmp_path / "x.pt", content)
    found = load_checkpoint(tmp_path / "x.pt")
    assert all(found[key].dtype == value.dtype for key, value in content.items())
    assert same(found, content)


def test_missing_file(tmp_path):
    """No file is another error than a bad file."""
    with pytest.raises(FileNotFoundError, match=r"nothing\.pt"):
        load_checkpoint(tmp_path / "nothing.pt")


def test_empty_file(tmp_path):
    """An empty file is named as such."""
    (tmp_path / "last.pt").touch()
    with pytest.raises(CheckpointError, match=r"last\.pt is empty"):
        load_checkpoint(tmp_path / "last.pt")


def test_truncated_file(saved):
    """Whatever its length, a file that is cut off is refused by name."""
    data = saved.read_bytes()
    lengths = [1, 2, 100, *range(50, len(data), len(data) // 40), len(data) - 1]
    for length in lengths:
        saved.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"last\.pt"):
            load_checkpoint(saved)


def test_changed_number(tmp_path):
    """Every byte of the weights is covered by the checksum."""
    content = {"weight": torch.full((64,), 1.2345678)}
    save_checkpoint(tmp_path / "x.pt", content)
    data = (tmp_path / "x.pt").read_bytes()
    start = data.index(content["weight"].numpy().tobytes())
    for offset in range(start, start + 256, 5):
        changed = bytearray(data)
        changed[offset] ^= 0x01
        (tmp_path / "x.pt").write_bytes(changed)
        with pytest.raises(CheckpointError, match=r"x\.pt"):
            load_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02K\x01.",  # a pickled number
        b"PK\x03\x04" + bytes(60),  # the beginning of a zip archive
        bytes(1000),
    ],
    ids=["pickle", "zip", "zeros"],
)
def test_another_file(content, tmp_path):
    """A file of another kind is refused by name."""
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"last\.pt"):
        load_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize(
    "content",
    [
        {"policy": {}},  # what torch.save makes of a checkpoint without our frame
        [1, 2],
        torch.zeros(3),
        {"format": "vrp-rl checkpoint 99"},
    ],
    ids=["dict", "list", "tensor", "format"],
)
def test_a_file_of_torch(content, tmp_path):
    """A readable file that is no checkpoint of ours is refused by name."""
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match=r"last\.pt"):
        load_checkpoint(tmp_path / "last.pt")


class Touches:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("frame", ["pickle", "torch", "inside"])
def test_nothing_is_executed(frame, tmp_path):
    """A pickle that would run code is refused, as the file itself and within a sound frame."""
    trap, path = tmp_path / "executed", tmp_path / "last.pt"
    if frame == "pickle":
        path.write_bytes(pickle.dumps(Touches(trap), protocol=2))
    elif frame == "torch":
        torch.save({"format": Touches(trap)}, path)
    else:
        save_checkpoint(path, {"policy": Touches(trap)})
    with pytest.raises(CheckpointError, match=r"last\.pt"):
        load_checkpoint(path)
    assert not trap.exists()


def test_global_stream_is_left(saved):
    """Reading and writing draw no random number."""
    before = torch.get_rng_state()
    save_checkpoint(saved, CONTENT)
    load_checkpoint(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_previous_is_kept(saved):
    """The file that stood there before is kept under the given name, time after time."""
    previous = saved.with_name("previous.pt")
    for number in range(3):
        before = load_checkpoint(saved)
        save_checkpoint(saved, {"number": number}, previous)
        assert load_checkpoint(saved) == {"number": number}
        assert same(load_checkpoint(previous), before)
    assert names(saved.parent) == ["last.pt", "previous.pt"]


def test_first_has_no_previous(tmp_path):
    """Where nothing stood nothing is kept."""
    save_checkpoint(tmp_path / "last.pt", CONTENT, tmp_path / "previous.pt")
    assert names(tmp_path) == ["last.pt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_failing_disk(call, saved, monkeypatch):
    """Where writing fails, whenever it does, the old file stays and no half one."""
    save_checkpoint(saved, {"number": 1}, saved.with_name("previous.pt"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(saved, {"number": 2}, saved.with_name("previous.pt"))
    monkeypatch.undo()
    assert load_checkpoint(saved) == {"number": 1}
    assert same(load_checkpoint(saved.with_name("previous.pt")), CONTENT)


def test_full_disk(tmp_path):
    """Where the system allows no more bytes the old file stays, and nothing half written."""
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"number": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_checkpoint(path, {"weight": torch.zeros(100_000)}, tmp_path / "previous.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert load_checkpoint(path) == {"number": 1}
    assert names(tmp_path) == ["last.pt"]


def test_what_is_written_is_on_the_disk(saved, monkeypatch):
    """The file is flushed before it gets its name, and the folder after."""
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda *a: (order.append("replace"), replace(*a))[1])
    save_checkpoint(saved, CONTENT)
    assert order == ["fsync", "replace", "fsync"]


def test_plain_reader_can_open_it(saved):
    """PyTorch's own reader opens it with `weights_only`: tensors and plain types alone."""
    record = torch.load(saved, weights_only=True)
    inner = torch.load(io.BytesIO(record["payload"].numpy().tobytes()), weights_only=True)
    assert same(inner, CONTENT)


@pytest.mark.parametrize(
    "content",
    [b"text, not a checkpoint", b"{}", b"e\n", b"G\x00", b"(dp0\n", b"h", b"u"],
)
def test_a_text_file(content, tmp_path):
    """A text that happens to begin like a pickle is refused by name."""
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"last\.pt"):
        load_checkpoint(tmp_path / "last.pt")


def test_changed_byte(saved):
    """A changed byte is refused by name, or stands where the container keeps nothing."""
    data = saved.read_bytes()
    refused = 0
    head = range(300)  # the names and kinds of all that follows
    for offset in [*head, *random.Random(0).sample(range(300, len(data)), 200)]:
        for flip in (0x01, 0x10, 0xFF):
            changed = bytearray(data)
            changed[offset] ^= flip
            saved.write_bytes(changed)
            try:
                found = load_checkpoint(saved)
            except CheckpointError as error:
                refused += "last.pt" in str(error)
            else:
                assert same(found, CONTENT), f"offset {offset}, flip {flip:#x}"
    assert refused > 300
