"""Whether `torch.compile` can work here."""

from __future__ import annotations

import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import torch


def missing_for_compile(device: torch.device) -> str | None:
    """What `torch.compile` lacks on this machine, in words; None if nothing is known to."""
    if device.type == "cuda":
        return None if find_spec("triton") else "triton is not installed"
    if not any(shutil.which(name) for name in ("g++", "c++", "clang++")):
        return "no C++ compiler was found"
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return None if header.exists() else f"Python's headers are missing ({header})"
