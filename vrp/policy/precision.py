"""How precisely the large matrix products are computed."""

from __future__ import annotations

import torch

PRECISIONS = ("auto", "float32", "bfloat16")


def check_precision(precision: str) -> str:
    """`precision` itself.

    Raises:
        ValueError: if it is not one of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; allowed: {', '.join(PRECISIONS)}")
    return precision


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
