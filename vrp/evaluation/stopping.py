"""Why an evaluation ends before its work is done."""

from __future__ import annotations

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
