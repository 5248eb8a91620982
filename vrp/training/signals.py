"""Ctrl-C and SIGTERM end work between two of its pieces."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType


class StopSignals:
    """While entered, the first SIGINT or SIGTERM is said and kept in `received`; a second one acts.

    Args:
        says: what the first is answered with at once: what the user waits for.

    Attributes:
        received: the signal's number, or None.
    """

    def __init__(self, says: str) -> None:
        self._says = f"\n{says}\n".encode()
        self.received: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, 0 without."""
        return 128 + self.received if self.received else 0

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = number
        self._restore()
        with suppress(OSError):  # who reads it may be gone
            os.write(2, self._says)  # not by sys.stderr, which may be in the middle of a line

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
