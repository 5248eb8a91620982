"""One process at a time in the folder of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked
    fcntl = None

LOCK = ".lock"  # in the folder; stays when the process has ended, and locks nothing then


class InUse(Exception):
    """Another process is at work in the folder."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes from working in a folder that exists, until the end or this one's death.

    Raises:
        InUse: if another has it.
    """
    with open(folder / LOCK, "w") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InUse(f"{os.path.relpath(folder)} is in use by another process") from None
            except OSError:  # a file system without locks
                pass
        yield
