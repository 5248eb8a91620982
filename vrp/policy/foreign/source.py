"""A published state dict as it is read, and the network that it becomes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Converted:
    """A network in our terms.

    Attributes:
        layout: `kool`, `pomo` or `pomo-notebooks`.
        arguments: of `AttentionPolicy`, without the encoder.
        weights: its state dict, the encoder being a `LinearEncoder`.
        multistart: whether its authors trained it on tours that begin with each customer.
    """

    layout: str
    arguments: dict[str, int | float | bool | str]
    weights: dict[str, Tensor]
    multistart: bool


class Source:
    """A state dict that remembers what was taken from it."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state
        self.taken: set[str] = set()

    def __call__(self, name: str, *shape: int | str) -> Tensor:
        """The weight of that name; a letter in `shape` stands for any size."""
        if name not in self.state:
            raise ValueError(f"{name} is missing")
        found = tuple(self.state[name].shape)
        if len(found) != len(shape) or any(
            isinstance(wanted, int) and size != wanted
            for size, wanted in zip(found, shape, strict=True)
        ):
            wanted = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
            raise ValueError(f"{name} has shape {found}, not ({wanted})")
        self.taken.add(name)
        return self.state[name]

    def layers(self, pattern: str) -> int:
        """How many numbers the group of `pattern` takes, from 0 on."""
        found = {int(m[1]) for m in (re.match(pattern, name) for name in self.state) if m}
        if found != set(range(len(found))) or not found:
            raise ValueError(f"the layers {pattern!r} are numbered {sorted(found)}")
        return len(found)
