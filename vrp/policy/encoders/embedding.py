"""Learned vectors for cells of a grid over the unit square."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vrp.policy.encoders.base import Encoder
from vrp.policy.initialisation import check_scheme, initialise_layers

TABLES = ("factorised", "joint")
# Of w_x x + w_y y + b with all three uniform within 1/sqrt(2), x and y uniform on [0, 1]:
# each has the variance 1/6, and the mean of x squared is 1/3.
_LINEAR_VARIANCE = (1 / 3 + 1 / 3 + 1) / 6


class EmbeddingEncoder(Encoder):
    """Coordinates cut into `bins` cells per axis, each cell with a learned vector.

    Args:
        embedding_dim: M.
        bins: cells per axis, at least 1. A coordinate of exactly 1 belongs to the last.
        tables: `factorised`, a vector for the x cell plus one for the y cell (2 bins rows); or
            `joint`, a vector for each cell of the square (bins x bins rows).
        max_norm: rows that are looked up in training are scaled to at most this norm, in place,
            as `nn.Embedding` does; outside training the scaling leaves the table as it is.
        scale_grad_by_freq: divide a row's gradient by how often the row was looked up.
        pretrained: a .npy file with the table, (rows, M), that training starts from.
        freeze: keep the table as it is in training.
        init: `torch` (standard normal), `glorot`, or `matched` (normal, so narrow that embeddings
            spread as much as those of a LinearEncoder that starts as `torch` does).

    Raises:
        ValueError: for bins or max_norm out of range, or an unknown `tables` or `init`.
    """

    def __init__(
        self,
        embedding_dim: int,
        bins: int = 64,
        tables: str = "factorised",
        max_norm: float | None = None,
        scale_grad_by_freq: bool = False,
        pretrained: str | None = None,
        freeze: bool = False,
        init: str = "torch",
    ) -> None:
        super().__init__(embedding_dim)
        if bins < 1:
            raise ValueError(f"bins is {bins}; it must be at least 1")
        if tables not in TABLES:
            raise ValueError(f"tables is {tables!r}; allowed: {', '.join(TABLES)}")
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"max_norm is {max_norm}; it must be above 0, or null")
        self.bins = bins
        self.tables = tables
        self.max_norm = max_norm
        self.pretrained = pretrained
        self.is_given = False  # whether the table is set and stays through `initialise`
        self.init = init if init == "matched" else check_scheme(init)
        rows = 2 * bins if tables == "factorised" else bins * bins
        self.table = nn.Embedding(rows, embedding_dim, scale_grad_by_freq=scale_grad_by_freq)
        self.table.weight.requires_grad_(not freeze)

    def settings(self) -> dict[str, object]:
        """As `Encoder.settings`: two kinds of tables may have as many rows."""
        return {"bins": self.bins, "tables": self.tables, "max_norm": self.max_norm}

    @classmethod
    def from_pretrained(
        cls, rows: Tensor, tables: str = "factorised", freeze: bool = True
    ) -> EmbeddingEncoder:
        """An encoder whose table is `rows`: (2 bins, M), or (bins x bins, M) for `joint`.

        Frozen unless asked otherwise, as `nn.Embedding.from_pretrained`.

        Raises:
            ValueError: if the number of rows is no even number, or no square for `joint`.
        """
        count, embedding_dim = rows.shape
        bins = count // 2 if tables == "factorised" else int(count**0.5)
        if count != (2 * bins if tables == "factorised" else bins * bins):
            wanted = "an even number" if tables == "factorised" else "a square"
            raise ValueError(f"a {tables} table needs {wanted} of rows, not {count}")
        encoder = cls(embedding_dim, bins=bins, tables=tables, freeze=freeze)
        with torch.no_grad():
            encoder.table.weight.copy_(rows)
        encoder.is_given = True
        return encoder

    def cells(self, coordinates: Tensor) -> Tensor:
        """The rows looked up for (N, C, 2) coordinates: (N, C, 2), or (N, C, 1) for `joint`."""
        cell = (coordinates * self.bins).long().clamp_(max=self.bins - 1)
        x, y = cell.unbind(-1)
        if self.tables == "factorised":
            return torch.stack([x, y + self.bins], dim=-1)
        return (x * self.bins + y)[..., None]

    def forward(self, coordinates: Tensor) -> Tensor:
        """(N, C, 2) coordinates to (N, C, M)."""
        cells = self.cells(coordinates)
        learns = self.training and self.table.weight.requires_grad
        if self.max_norm is None or learns:
            found = nn.functional.embedding(
                cells,
                self.table.weight,
                max_norm=self.max_norm,
                scale_grad_by_freq=self.table.scale_grad_by_freq,
            )
        else:
            found = self._capped(cells)
        return found.sum(-2)

    def _capped(self, cells: Tensor) -> Tensor:
        found = self.table(cells)
        norm = found.norm(dim=-1, keepdim=True)
        return found * (self.max_norm / norm.clamp(min=self.max_norm))

    def _rows_per_node(self) -> int:
        return 2 if self.tables == "factorised" else 1

    def one_hot(self, coordinates: Tensor) -> Tensor:
        """The code on which a bias-free linear layer computes this embedding.

        Args:
            coordinates: (N, C, 2).

        Returns:
            (N, C, rows) float32 with a one for each row looked up; times the table it gives
            the embedding.
        """
        rows = self.table.num_embeddings
        return nn.functional.one_hot(self.cells(coordinates), rows).sum(-2).float()

    def initialise(self, seed: int, prefix: str) -> None:
        """Set the table from `seed` and its name, or from the pretrained file, unless given.

        Raises:
            ValueError: if the file cannot be read or holds another shape.
        """
        if self.is_given:
            return
        if self.pretrained is None:
            matched = self.init == "matched"
            initialise_layers(self, "torch" if matched else self.init, seed, prefix)
            if matched:
                with torch.no_grad():
                    self.table.weight.mul_((_LINEAR_VARIANCE / self._rows_per_node()) ** 0.5)
            return
        try:
            rows = np.load(Path(self.pretrained), allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"pretrained table {self.pretrained}: {error}") from error
        if rows.dtype.kind not in "fiu" or not np.isfinite(rows).all():
            raise ValueError(f"pretrained table {self.pretrained} must hold finite numbers")
        if rows.shape != tuple(self.table.weight.shape):
            raise ValueError(
                f"pretrained table {self.pretrained} has shape {rows.shape}; "
                f"this encoder needs {tuple(self.table.weight.shape)}"
            )
        with torch.no_grad():
            self.table.weight.copy_(torch.from_numpy(rows.astype(np.float32)))
