"""A convolution of kernel 1 over the nodes: the paper's encoder."""

from __future__ import annotations

from torch import Tensor, nn

from vrp.policy.encoders.base import Encoder
from vrp.policy.initialisation import check_scheme, initialise_layers


class Conv1dEncoder(Encoder):
    """One affine map for all nodes, written as `nn.Conv1d` with kernel 1.

    Source: Nazari et al. (2018), section 4.1; `Conv1D(128, 1)` in their code.
    """

    def __init__(self, embedding_dim: int, init: str = "torch") -> None:
        super().__init__(embedding_dim)
        self.init = check_scheme(init)
        self.layer = nn.Conv1d(2, embedding_dim, kernel_size=1)

    def forward(self, coordinates: Tensor) -> Tensor:
        """(N, C, 2) coordinates to (N, C, M); the channels go where Conv1d wants them and back."""
        return self.layer(coordinates.transpose(1, 2)).transpose(1, 2)

    def initialise(self, seed: int, prefix: str) -> None:
        """Set weight and bias from `seed` and their names."""
        initialise_layers(self, self.init, seed, prefix)
