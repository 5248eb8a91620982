"""How glibc's malloc keeps the memory of tensors, which only the start of a process can settle.

A training step allocates and frees the same large tensors again and again. Given back to the
system, their memory returns as page faults. And small freed blocks, kept aside for reuse, stay
between the large ones, which then no longer merge: a tensor's place is too short for the next one
of its size, as PyTorch asks for aligned memory, and the heap grows.
"""

from __future__ import annotations

import os
import sys

VARIABLE = "GLIBC_TUNABLES"
# https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html
SETTINGS = {
    "glibc.malloc.mmap_threshold": 1 << 30,  # bytes; below, memory comes from the heap
    "glibc.malloc.trim_threshold": 1 << 30,  # bytes free at its end before it shrinks
    "glibc.malloc.tcache_count": 0,  # small blocks of a size kept aside; `mxfast`: another way
    "glibc.malloc.mxfast": 0,
}


def settle_heap() -> None:
    """Start this program again with these settings, if it has been started without.

    To be called before anything is done. What the user has set stays. Does nothing without glibc,
    and under a debugger, which would lose its hold.
    """
    asked = [setting for setting in os.environ.get(VARIABLE, "").split(":") if setting]
    names = {setting.partition("=")[0] for setting in asked}
    missing = [f"{name}={value}" for name, value in SETTINGS.items() if name not in names]
    if not missing or not _has_glibc() or sys.gettrace() is not None:
        return
    os.environ[VARIABLE] = ":".join([*asked, *missing])
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _has_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):  # another system, or another C library
        return False
