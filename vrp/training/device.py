"""Where to compute, and how exactly."""

from __future__ import annotations

import torch


def set_up_device(name: str, threads: int | None = None) -> torch.device:
    """Fix threads and the precision of float32 work for the process, and give the device.

    Convolutions, LSTMs and matrix products keep float32, as they do on a CPU.

    Args:
        name: cpu, cuda, or auto: cuda where there is one, else cpu.
        threads: of the CPU; None leaves PyTorch's choice.

    Raises:
        ValueError: for another name, or for cuda where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device is {name!r}; allowed: auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but PyTorch finds no CUDA device here; use device=cpu")
    if threads is not None:
        torch.set_num_threads(threads)
    # cuDNN would round a convolution's inputs to TF32 while matrix products keep float32, which
    # would make conv1d and linear differ.
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.cudnn.rnn.fp32_precision = "ieee"
    use_cuda = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")
