"""Whether there is a C++ compiler."""

from __future__ import annotations

import shutil


def find_compiler() -> str | None:
    """The name of one that is on the path; None without."""
    return next((name for name in ("g++", "c++", "clang++") if shutil.which(name)), None)
