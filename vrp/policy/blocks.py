"""Parts of the papers' linear layers that are layers of their own here."""

from __future__ import annotations

from torch import nn


class BlockLinear(nn.Linear):
    """A linear map without bias whose weight is drawn as in a layer of another shape.

    A layer that reads several inputs at once is kept as a layer for each of them, and layers that
    read the same input are kept as one. Neither must change the distribution that the papers'
    weights start from, so the layer says how many inputs and outputs theirs has.

    Args:
        in_features: as `nn.Linear`.
        out_features: as `nn.Linear`.
        fan_in: inputs of the papers' layer.
        fan_out: its outputs.
    """

    def __init__(self, in_features: int, out_features: int, fan_in: int, fan_out: int) -> None:
        super().__init__(in_features, out_features, bias=False)
        self.fan_in = fan_in
        self.fan_out = fan_out
