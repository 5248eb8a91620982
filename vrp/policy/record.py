"""Dataclasses of tensors."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Self

from torch import Tensor


class TensorRecord:
    """A dataclass whose fields are tensors, records like itself, or plain values."""

    def detach(self) -> Self:
        """The same numbers without their history."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        kinds = (Tensor, TensorRecord)
        return replace(self, **{k: v.detach() for k, v in values.items() if isinstance(v, kinds)})


class BatchRecord(TensorRecord):
    """A record whose tensors all begin with the axis N."""

    def __getitem__(self, part: slice) -> Self:
        """The record of some of the N instances."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        kinds = (Tensor, BatchRecord)
        return replace(self, **{k: v[part] for k, v in values.items() if isinstance(v, kinds)})
