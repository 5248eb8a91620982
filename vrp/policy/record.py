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
