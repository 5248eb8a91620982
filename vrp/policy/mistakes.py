"""Encoders that are wrong on purpose: what a swap of Conv1d for Linear can break unnoticed.

Each runs, trains and lowers the cost; none is meant for use. The study measures what they cost,
beside one that sees no coordinates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import linear

from vrp.policy.encoders.base import Encoder
from vrp.policy.encoders.linear import LinearEncoder
from vrp.policy.initialisation import check_scheme, initialise_layers

__all__ = ["BlindEncoder", "FlattenedEncoder", "ReshapedEncoder", "Tf32Encoder"]


class BlindEncoder(LinearEncoder):
    """No coordinates at all: how far a policy gets that knows demands and load alone.

    No mistake that anybody makes, but a yardstick for those that destroy the coordinates.
    """

    def forward(self, coordinates: Tensor) -> Tensor:
        """(N, C, 2) coordinates to (N, C, M), the same for every node."""
        return self.layer(torch.zeros_like(coordinates))


class ReshapedEncoder(LinearEncoder):
    """Linear fed by `reshape` where the axes had to be swapped back.

    Conv1d wants its channels first, (N, 2, V); whoever puts Linear in its place has to give it
    (N, V, 2). `reshape` makes that shape and leaves the numbers in their order, all x and then all
    y: place i gets x of two nodes or y of two nodes, and is not node i.
    """

    def forward(self, coordinates: Tensor) -> Tensor:
        """(N, C, 2) coordinates to (N, C, M), of the wrong nodes."""
        channels_first = coordinates.transpose(1, 2)
        return self.layer(channels_first.reshape(coordinates.shape))


class FlattenedEncoder(Encoder):
    """One Linear over the coordinates of all nodes at once, not one per node.

    Each node's embedding depends on where every other node is, and on its place in the list.

    Args:
        embedding_dim: M.
        num_customers: the only number of customers it can take; it embeds one node more.
        init: `torch` or `glorot`.
    """

    def __init__(self, embedding_dim: int, num_customers: int, init: str = "torch") -> None:
        super().__init__(embedding_dim)
        if num_customers < 1:
            raise ValueError(f"num_customers is {num_customers}; it must be at least 1")
        self.num_nodes = num_customers + 1
        self.init = check_scheme(init)
        self.layer = nn.Linear(2 * self.num_nodes, embedding_dim * self.num_nodes)

    def forward(self, coordinates: Tensor) -> Tensor:
        """(N, V, 2) coordinates to (N, V, M).

        Raises:
            ValueError: for another number of nodes.
        """
        if coordinates.shape[1] != self.num_nodes:
            raise ValueError(
                f"this encoder was made for {self.num_nodes} nodes, not {coordinates.shape[1]}"
            )
        return self.layer(coordinates.flatten(1)).view(*coordinates.shape[:2], -1)

    def initialise(self, seed: int, prefix: str) -> None:
        """Set weight and bias from `seed` and their names."""
        initialise_layers(self, self.init, seed, prefix)


class Tf32Encoder(LinearEncoder):
    """The right affine map in TF32: all factors rounded to 10 bits of mantissa.

    That is what cuDNN does by default to a convolution on a GPU, forward and backward, and not
    to a matrix product; sums are in float32. Here it is emulated, on any device.
    """

    def forward(self, coordinates: Tensor) -> Tensor:
        """(N, C, 2) coordinates to (N, C, M)."""
        return _Tf32Product.apply(coordinates, self.layer.weight) + self.layer.bias


def round_to_tf32(x: Tensor) -> Tensor:
    """Finite float32 numbers to the nearest with 10 bits of mantissa, ties to even."""
    bits = x.contiguous().view(torch.int32)
    half = 0xFFF + ((bits >> 13) & 1)
    return ((bits + half) & ~0x1FFF).view(torch.float32)


class _Tf32Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, inputs: Tensor, weight: Tensor) -> Tensor:
        inputs, weight = round_to_tf32(inputs), round_to_tf32(weight)
        ctx.save_for_backward(inputs, weight)
        return linear(inputs, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor]:
        inputs, weight = ctx.saved_tensors
        grad = round_to_tf32(grad)
        for_weight = grad.flatten(0, -2).T @ inputs.flatten(0, -2)
        return grad @ weight, for_weight
