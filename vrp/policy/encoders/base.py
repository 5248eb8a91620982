"""What every encoder promises."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """Coordinates (N, C, 2) in the unit square to embeddings (N, C, M), M = `embedding_dim`.

    Each node is embedded by itself, so the result follows the order of the nodes. Policies pass the
    depot with the customers, as the first of V nodes. `Instances` keeps coordinates in the unit
    square, so nothing is checked here.

    Args:
        embedding_dim: M.

    Raises:
        ValueError: if M is not at least 1.
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        if embedding_dim < 1:
            raise ValueError(f"embedding_dim is {embedding_dim}; it must be at least 1")
        self.embedding_dim = embedding_dim

    @abstractmethod
    def forward(self, coordinates: Tensor) -> Tensor:
        """(N, C, 2) float coordinates to (N, C, M) embeddings."""

    def settings(self) -> dict[str, object]:
        """Arguments that make another function of weights of the same names and shapes."""
        return {}

    @abstractmethod
    def initialise(self, seed: int, prefix: str) -> None:
        """Set every parameter from `seed` and its name behind `prefix`."""
