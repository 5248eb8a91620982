"""What a process has held in memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_PEAK = "VmHWM:"


def peak_memory() -> float:
    """GB that this program has held at most.

    Linux counts it anew from the start of a program in `VmHWM`. Its `ru_maxrss`, which stands in
    elsewhere, goes on from the process that started this one.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith(_PEAK):
                return int(line.split()[1]) * 1024 / 1e9  # it is in KiB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
