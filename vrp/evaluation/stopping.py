"""Why an evaluation ends before its work is done."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

COMPLETE = "complete"
TIME_LIMIT = "time limit"

# How PyTorch's allocators for the CPU begin what they say.
_NO_MEMORY = ("DefaultCPUAllocator", "alloc_cpu", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory did not suffice, that of a CPU included."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in _NO_MEMORY)


@contextmanager
def announced() -> Iterator[None]:
    """Say at once that a first signal has come; entered where `StopSignals` is."""
    before = {}

    def speak(number: int, frame: FrameType | None) -> None:
        # Not by sys.stderr, which may be in the middle of a line.
        os.write(2, b"\nstopping after this piece; again to abort without a result\n")
        before[number](number, frame)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, speak)
    yield
