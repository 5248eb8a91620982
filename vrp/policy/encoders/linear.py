"""A fully connected layer applied to each node."""

from __future__ import annotations

from torch import Tensor, nn

from vrp.policy.encoders.base import Encoder
from vrp.policy.initialisation import check_scheme, initialise_layers


class LinearEncoder(Encoder):
    """One affine map for all nodes, written as `nn.Linear`."""

    def __init__(self, embedding_dim: int, init: str = "torch") -> None:
        super().__init__(embedding_dim)
        self.init = check_scheme(init)
        self.layer = nn.Linear(2, embedding_dim)

    def forward(self, coordinates: Tensor) -> Tensor:
        """(N, C, 2) coordinates to (N, C, M)."""
        return self.layer(coordinates)

    def initialise(self, seed: int, prefix: str) -> None:
        """Set weight and bias from `seed` and their names."""
        initialise_layers(self, self.init, seed, prefix)
