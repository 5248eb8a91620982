"""The attention of the trunk's layers (`trunk.cpp`): as `vrp.policy.trunk.attend`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from vrp.policy.native.calls import MOST_NODES, address, call


def fits(nodes: Tensor) -> bool:
    """Whether the loops take (N, V, M) nodes."""
    is_known = nodes.device.type == "cpu" and nodes.dtype == torch.float32
    return is_known and nodes.shape[1] <= MOST_NODES


def attend(projected: Tensor, num_heads: int) -> Tensor:
    """What each node sees of all: softmax(q k / sqrt(D)) v.

    Args:
        projected: (N, V, 3 M), each node's queries, keys and values, of H heads each; float32 or
            bfloat16. What is computed with them is float32.
        num_heads: H.

    Returns:
        (N, V, M), of the type of `projected`.
    """
    return _Attend.apply(projected, num_heads)


class _Attend(torch.autograd.Function):
    """Keeps its input alone."""

    @staticmethod
    def forward(ctx: FunctionCtx, projected: Tensor, num_heads: int) -> Tensor:
        projected = projected.contiguous()
        n, v, width = projected.shape
        ctx.save_for_backward(projected)
        ctx.num_heads = num_heads
        seen = projected.new_empty(n, v, width // 3)
        dtype = projected.dtype
        call(
            "trunk", "attend", address(projected, dtype), address(seen, dtype),
            *_sizes(projected, num_heads),
        )  # fmt: skip
        return seen

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, for_seen: Tensor) -> tuple[Tensor, None]:
        (projected,) = ctx.saved_tensors
        for_seen, for_projected = for_seen.contiguous(), torch.empty_like(projected)
        tensors = (projected, for_seen, for_projected)
        call(
            "trunk", "attend_backward", *(address(x, projected.dtype) for x in tensors),
            *_sizes(projected, ctx.num_heads),
        )  # fmt: skip
        return for_projected, None


def _sizes(projected: Tensor, num_heads: int) -> tuple[int, ...]:
    """N, V, H and D, and whether the numbers are bfloat16."""
    n, v, width = projected.shape
    return n, v, num_heads, width // (3 * num_heads), projected.dtype == torch.bfloat16
