"""What the numbers of a run depend on beside its config."""

from __future__ import annotations

import platform
from importlib.metadata import version

import numpy as np
import torch


def versions() -> dict[str, str | int]:
    """What the numbers of a run depend on beside its config."""
    return {
        "vrp-rl": version("vrp-rl"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
    }


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
