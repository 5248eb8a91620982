"""Keeps freed memory in the process."""

from __future__ import annotations

import ctypes
import sys

# mallopt's numbers in glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGE = 1 << 30


def keep_freed_memory() -> bool:
    """Tell glibc not to return large freed blocks to the system.

    A training step allocates and frees the same large tensors again and again; returned memory
    comes back as page faults. Does nothing without glibc.

    Returns:
        Whether it was done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE) and mallopt(_M_TRIM_THRESHOLD, _LARGE))
