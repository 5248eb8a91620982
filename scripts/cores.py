"""How OpenMP's threads should wait for each other, from what else the machine is doing.

Between two small parallel loops a thread can spin or sleep. Spinning, OpenMP's default, makes a
training step of the attention policy up to twice as fast where the cores are free; where another
program uses one of them, it has made steps many times slower.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
_MOST = 0.2  # cores that others may use beside spinning threads
_SHORTEST = 0.15  # seconds; the counters move every 0.01


@dataclass(frozen=True)
class Reading:
    """The counters at one moment.

    Attributes:
        at: seconds.
        all_busy: core seconds that all programs have used; None where that is not known.
        own_busy: those of this process.
    """

    at: float
    all_busy: float | None
    own_busy: float

    @classmethod
    def now(cls) -> Reading:
        """Read them; only Linux tells what all programs use."""
        try:
            user, nice, system, _, _, irq, softirq = map(
                int, _STAT.read_text().split("\n", 1)[0].split()[1:8]
            )
            busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError):
            busy = None
        return cls(time.perf_counter(), busy, time.process_time())

    def others_since(self) -> float | None:
        """Cores that other programs have used since this reading, on average."""
        time.sleep(max(0.0, _SHORTEST - (time.perf_counter() - self.at)))
        now = Reading.now()
        if None in (self.all_busy, now.all_busy):
            return None
        used = (now.all_busy - self.all_busy) - (now.own_busy - self.own_busy)
        return max(0.0, used) / (now.at - self.at)


def choose_waiting(since: Reading) -> None:
    """Let threads sleep while they wait, unless the cores are free or the user has said how.

    Takes effect in this process if PyTorch has not been imported yet.
    """
    if "OMP_WAIT_POLICY" in os.environ:
        return
    others = since.others_since()
    if others is None or others > _MOST:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
