"""Whether a policy's inner loops can be fused here."""

from __future__ import annotations

import sysconfig
from importlib.util import find_spec
from pathlib import Path

import torch

from vrp.policy.base import Policy
from vrp.policy.native.compiler import find_compiler


def missing_for_compile(policy: Policy, device: torch.device) -> str | None:
    """What its kernels lack on this machine, in words; None if nothing is known to."""
    if device.type == "cuda":
        return None if find_spec("triton") else "triton is not installed"
    if find_compiler() is None:
        return "no C++ compiler was found"
    if policy.keeps_kernels:  # C++ of our own, where `torch.compile` includes Python
        return None
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return None if header.exists() else f"Python's headers are missing ({header})"


def can_compile(policy: Policy, device: torch.device) -> bool:
    """Whether it has kernels for `device`, and nothing that they need is known to be missing."""
    return policy.has_kernels(device) and missing_for_compile(policy, device) is None


def use_kept_kernels(policy: Policy, device: torch.device) -> None:
    """Fuse the loops of a policy that keeps them, where that can be done on `device`.

    For a single evaluation: other policies would compile anew, which takes longer than it spares.
    """
    if policy.keeps_kernels and can_compile(policy, device):
        policy.compile_kernels()
