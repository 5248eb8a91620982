"""What the numbers of a run depend on beside its config."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

_ROOT = Path(__file__).resolve().parents[2]
_HASH = 10  # digits
_PATIENCE = 2  # seconds


def versions() -> dict[str, str | int | None]:
    """What the numbers of a run depend on beside its config."""
    return {
        "vrp-rl": version("vrp-rl"),
        "commit": commit(_ROOT),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
    }


@cache
def commit(folder: Path) -> str | None:
    """The start of the git commit in a work tree, `+` behind it if files differ from theirs there.

    As it is at the first call. None where the folder is no work tree's, or git gives no answer.
    """
    place = folder / ".git"
    if not place.exists():  # git would find a work tree that the folder merely lies in
        return None
    tree = [f"--git-dir={place}", f"--work-tree={folder}", "--no-optional-locks"]
    kind = ["--porcelain=v2", "--branch", "--no-ahead-behind", "--untracked-files=no"]
    try:
        lines = subprocess.run(
            ["git", *tree, "status", *kind],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            timeout=_PATIENCE,
        ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    found = [line.removeprefix("# branch.oid ") for line in lines if "# branch.oid " in line]
    if not found or found[0] == "(initial)":
        return None
    changed = any(not line.startswith("#") for line in lines)
    return found[0][:_HASH] + "+" * changed


def precision() -> str:
    """How float32 products are computed here, convolutions and LSTMs included, in a few words.

    A policy may round the factors of some products to less: `Policy.products` says it.
    """
    cudnn = torch.backends.cudnn
    kinds = {
        "matmul": torch.get_float32_matmul_precision().replace("highest", "ieee"),
        "conv": cudnn.conv.fp32_precision,
        "rnn": cudnn.rnn.fp32_precision,
    }
    if set(kinds.values()) == {"ieee"}:
        return "float32"
    return "float32, " + ", ".join(f"{name} {kind}" for name, kind in kinds.items())
