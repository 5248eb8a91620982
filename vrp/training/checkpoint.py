"""Plain tensors and plain types in one file that knows its own SHA-256."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import shutil
from pathlib import Path

import torch

_FORMAT = "vrp-rl checkpoint 1"


class CheckpointError(ValueError):
    """A file that is not a whole, unchanged checkpoint of this project."""


def save_checkpoint(path: Path, content: dict, previous: Path | None = None) -> None:
    """Write `content` to `path` so that an old or a new file stands there whatever happens.

    Args:
        path: written beside itself first, flushed, then renamed.
        content: tensors and plain types only.
        previous: where the file that stood at `path` is kept.

    Raises:
        OSError: if it cannot be written; the old file is then untouched.
    """
    payload = io.BytesIO()
    torch.save(content, payload)
    data = payload.getvalue()
    record = {
        "format": _FORMAT,
        "sha256": hashlib.sha256(data).hexdigest(),
        "payload": torch.frombuffer(bytearray(data), dtype=torch.uint8),
    }
    whole = io.BytesIO()
    torch.save(record, whole)
    # Always of this name: what a killed run leaves, the next one writes over.
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(whole.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            _keep(path, previous)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keep(path: Path, previous: Path) -> None:
    """Let `previous` be a second name of the file at `path`, or a copy of it."""
    link = previous.with_name(previous.name + ".tmp")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # not every file system has hard links
        shutil.copyfile(path, link)
    os.replace(link, previous)


def load_checkpoint(path: Path) -> dict:
    """The content of a checkpoint, tensors on the CPU; nothing in the file is ever executed.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is empty, truncated, changed, or something else; names the file.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"no checkpoint at {path}") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder and no checkpoint") from None
    return checkpoint_content(data, path)


def checkpoint_content(data: bytes, path: Path) -> dict:
    """As `load_checkpoint`, of a file's bytes.

    Raises:
        CheckpointError: as there.
    """
    if not data:
        raise CheckpointError(f"{path} is empty")
    record = _read(data, path)
    if not (isinstance(record, dict) and record.get("format") == _FORMAT):
        raise CheckpointError(f"{path} is not a checkpoint of this project")
    payload = record.get("payload")
    content = payload.numpy().tobytes() if isinstance(payload, torch.Tensor) else b""
    if hashlib.sha256(content).hexdigest() != record.get("sha256"):
        raise CheckpointError(f"{path} is damaged: its content does not match its SHA-256")
    return _read(content, path)


def _read(data: bytes, path: Path) -> object:
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes PyTorch's reader fail in every way
        refused = _refused(error)
        if refused:
            raise CheckpointError(
                f"{path} is refused: it holds more than plain data ({refused})"
            ) from error
        raise CheckpointError(f"{path} is damaged or no checkpoint") from error


def _refused(error: Exception) -> str | None:
    """What PyTorch refused to build, if that was the error."""
    if not isinstance(error, pickle.UnpicklingError):
        return None
    name = re.search(r"(?:GLOBAL|class|global) ([\w.]+\.\w+)", str(error))
    return name[1] if name else None
