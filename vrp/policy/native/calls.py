"""Tensors as C++ takes them."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from vrp.policy.native.library import library

MOST_NODES = 128  # that the loops are written for: MOST_BLOCKS vectors of 16


def address(tensor: Tensor | None, dtype: torch.dtype = torch.float32) -> int | None:
    """Where the numbers of a tensor lie, which the caller must keep until the call is over.

    Raises:
        TypeError: if it is not on a CPU, of that type and in one piece.
    """
    if tensor is None:
        return None
    if tensor.dtype != dtype or tensor.device.type != "cpu" or not tensor.is_contiguous():
        raise TypeError(
            f"a tensor is {tensor.dtype} on {tensor.device} with strides {tensor.stride()}; "
            f"it must be {dtype} on a CPU, in one piece"
        )
    return tensor.data_ptr()


def call(name: str, function: str, *arguments: ctypes.Structure | int | None) -> None:
    """Call a function of the library `name` on as many threads as PyTorch uses.

    Records go by reference, whole numbers and addresses in 64 bits.

    Raises:
        RuntimeError: if it says that it is not made for such sizes.
    """
    passed = [
        ctypes.byref(each) if isinstance(each, ctypes.Structure) else ctypes.c_void_p(each)
        for each in arguments
    ]
    if not getattr(library(name), function)(*passed, torch.get_num_threads()):
        raise RuntimeError(f"{function} is not made for such sizes")
