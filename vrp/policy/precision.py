"""How precisely the large matrix products are computed."""

from __future__ import annotations

import torch
from torch import nn

PRECISIONS = ("auto", "float32", "bfloat16")


def check_precision(precision: str) -> str:
    """`precision` itself.

    Raises:
        ValueError: if it is not one of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; allowed: {', '.join(PRECISIONS)}")
    return precision


def check_parameters(network: nn.Module) -> None:
    """Raise a TypeError unless the parameters are float32, as coordinates and goods are."""
    dtype = next(network.parameters()).dtype
    if dtype != torch.float32:
        raise TypeError(f"the policy's parameters are {dtype}; they must be torch.float32")


def product_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What the factors are rounded to; `auto` is bfloat16 where the hardware multiplies it."""
    if precision != "auto":
        return getattr(torch, precision)
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = _cpu_multiplies_bfloat16()
    return torch.bfloat16 if has else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    """False, too, where this version of torch does not say: its functions for it are private."""
    try:
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    except AttributeError:
        return False
