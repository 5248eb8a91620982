"""The transformer that lets each node see all others, once per instance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from vrp.policy.blocks import BlockLinear
from vrp.policy.native import trunk as native
from vrp.policy.normalisation import NORMALIZATIONS
from vrp.policy.precision import check_precision, product_dtype

_MOST_WRITTEN_OUT = 64  # nodes


@dataclass(frozen=True)
class TrunkShape:
    """What a trunk is made of.

    Args:
        num_layers: at least 1.
        embedding_dim: M.
        num_heads: must divide M.
        feed_forward_dim: hidden units of each feed-forward part.
        normalization: one of `NORMALIZATIONS`.
        combine_bias: whether the map behind the heads has a bias.
        precision: of the products with weights, one of `precision.PRECISIONS`.

    Raises:
        ValueError: for a value out of range; names it and what is allowed.
    """

    num_layers: int
    embedding_dim: int
    num_heads: int
    feed_forward_dim: int
    normalization: str
    combine_bias: bool
    precision: str

    def __post_init__(self) -> None:
        if self.num_layers < 1:
            raise ValueError(f"num_layers is {self.num_layers}; it must be at least 1")
        if self.num_heads < 1 or self.embedding_dim % self.num_heads:
            raise ValueError(
                f"num_heads is {self.num_heads}; it must divide embedding_dim, which is "
                f"{self.embedding_dim}"
            )
        if self.feed_forward_dim < 1:
            raise ValueError(f"feed_forward_dim is {self.feed_forward_dim}; it must be at least 1")
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization is {self.normalization!r}; allowed: {', '.join(NORMALIZATIONS)}"
            )
        check_precision(self.precision)


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What each node sees of all: softmax(q k / sqrt(D)) v, (N, H, V, D) each and the result.

    On a CPU PyTorch's fused call takes longer than its parts as long as the nodes are few
    (`scripts/benchmark_parts.py`).
    """
    if queries.device.type != "cpu" or queries.shape[2] > _MOST_WRITTEN_OUT:
        return scaled_dot_product_attention(queries, keys, values)
    shape = values.shape
    queries, keys, values = (each.flatten(0, 1) for each in (queries, keys, values))
    scores = torch.baddbmm(keys.new_empty(()), queries, keys.mT, beta=0, alpha=shape[-1] ** -0.5)
    return (scores.softmax(-1) @ values).view(shape)


class TrunkLayer(nn.Module):
    """Multi-head attention and a feed-forward part, each added to its input and normalised.

    Source: Vaswani et al. (2017), with the normalisation of Kool et al. (2019), section 3.1.
    """

    def __init__(self, shape: TrunkShape) -> None:
        super().__init__()
        dim, norm = shape.embedding_dim, NORMALIZATIONS[shape.normalization]
        self.num_heads = shape.num_heads
        self.precision = shape.precision
        self.is_native = False  # attention by `native.trunk`, where it fits
        self.queries_keys_values = BlockLinear(dim, 3 * dim, fan_in=dim, fan_out=dim)
        self.combine = nn.Linear(dim, dim, bias=shape.combine_bias)
        self.norm_attention = norm(dim)
        self.expand = nn.Linear(dim, shape.feed_forward_dim)
        self.contract = nn.Linear(shape.feed_forward_dim, dim)
        self.norm_feed_forward = norm(dim)

    def forward(self, nodes: Tensor) -> Tensor:
        """(N, V, M) to the same."""
        projected = self._product(self.queries_keys_values, nodes)
        if self.is_native and native.fits(nodes):
            seen = native.attend(projected, self.num_heads)
        else:
            seen = self._attend(projected)
        nodes = self.norm_attention(nodes + self._product(self.combine, seen))
        # Of three axes a product is a view, whose change in place autograd would copy.
        inner = self._product(self.expand, nodes.flatten(0, 1)).relu_()
        return self.norm_feed_forward(nodes + self._product(self.contract, inner).view_as(nodes))

    def _attend(self, projected: Tensor) -> Tensor:
        """As `native.trunk.attend`."""
        heads = projected.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        # Cast and put in order in one pass; what is float32 already is only put in order.
        heads = heads.to(torch.float32, memory_format=torch.contiguous_format).contiguous()
        queries, keys, values = heads.unbind(0)
        return self._rounded(attend(queries, keys, values)).transpose(1, 2).flatten(2)

    def _rounded(self, values: Tensor) -> Tensor:
        return values.to(product_dtype(self.precision, values.device))

    def _product(self, layer: nn.Linear, inputs: Tensor) -> Tensor:
        bias = None if layer.bias is None else self._rounded(layer.bias)
        return linear(self._rounded(inputs), self._rounded(layer.weight), bias)


class Trunk(nn.Sequential):
    """Several layers, (N, V, M) to (N, V, M)."""

    def __init__(self, shape: TrunkShape) -> None:
        super().__init__(*(TrunkLayer(shape) for _ in range(shape.num_layers)))
