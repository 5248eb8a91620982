"""Types of numbers on the command lines of the smaller programs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def whole(least: int) -> Callable[[str], int]:
    """A whole number from `least` on."""
    return _checked(int, lambda value: value >= least, f"a whole number from {least} on")


def above_zero() -> Callable[[str], float]:
    """A finite number above 0."""
    return _checked(float, lambda value: 0 < value < math.inf, "a number above 0")


def _checked(kind: type, is_allowed: Callable[..., bool], allowed: str) -> Callable:
    def read(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not is_allowed(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not possible; it must be {allowed}")
        return value

    return read
