"""Normalisation of node embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

_EPSILON = 1e-5


class InstanceNorm(nn.Module):
    """Zero mean and unit variance of each unit over the nodes of an instance, then an affine map.

    Source: Ulyanov et al. (2016); POMO (Kwon et al. 2020) uses it in the place of batch
    normalisation.
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(embedding_dim))
        self.bias = nn.Parameter(torch.zeros(embedding_dim))

    def forward(self, nodes: Tensor) -> Tensor:
        """(N, V, M) to the same."""
        return _InstanceNorm.apply(nodes, self.weight, self.bias)


class _InstanceNorm(torch.autograd.Function):
    """Keeps one tensor of the input's size; PyTorch's own takes twice as long or more on a CPU."""

    @staticmethod
    def forward(ctx: FunctionCtx, nodes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        normal = nodes - nodes.mean(1, keepdim=True)
        scale = (normal * normal).mean(1, keepdim=True).add_(_EPSILON).rsqrt_()
        normal *= scale
        ctx.save_for_backward(normal, scale, weight)
        return torch.addcmul(bias, normal, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        normal, scale, weight = ctx.saved_tensors
        total = grad.sum(1, keepdim=True)
        along = (grad * normal).sum(1, keepdim=True)
        for_nodes = torch.addcmul(grad, normal, along, value=-1 / normal.shape[1])
        for_nodes.sub_(total / normal.shape[1]).mul_(scale * weight)
        return for_nodes, along.sum((0, 1)), total.sum((0, 1))


class BatchNorm(nn.BatchNorm1d):
    """The same over all nodes of all instances of a batch (Kool et al. 2019).

    Statistics move once per training step: only `Policy.encode` runs it, and evaluation does
    not touch them.
    """

    def forward(self, nodes: Tensor) -> Tensor:
        """(N, V, M) to the same."""
        return super().forward(nodes.flatten(0, 1)).view_as(nodes)


NORMALIZATIONS = {"instance": InstanceNorm, "batch": BatchNorm, "rms": nn.RMSNorm}
