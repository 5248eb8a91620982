"""Numbers and names as the report writes them."""

from __future__ import annotations

from collections.abc import Iterable

from vrp.study.records import ENCODERS
from vrp.study.statistics import Interval


def name(encoder: str) -> str:
    """Of an encoder, as practitioners call the layer."""
    return encoder.capitalize() if encoder in ENCODERS else f"`{encoder}`"


def title(problem: str) -> str:
    """As readers know it, with policy, learning rate and budget where these are not the usual."""
    size, *details = problem.split("-")
    return size.upper() + (f" ({', '.join(map(_detail, details))})" if details else "")


def _detail(text: str) -> str:
    if text.startswith("rate"):
        return f"learning rate {text.removeprefix('rate')}"
    if text.startswith("instances"):
        return f"{int(text.removeprefix('instances')):,} instances"
    return text if text.startswith("capacity") else f"{text} policy"


def number(x: float, places: int) -> str:
    """Without a negative zero."""
    text = f"{x:,.{places}f}"
    return text if text.strip("-0.,") else text.removeprefix("-")


def signed(x: float, places: int = 2) -> str:
    """With its sign."""
    text = number(x, places)
    return text if text.startswith("-") or not text.strip("0.,") else "+" + text


def between(interval: Interval, places: int, sign: bool = False) -> str:
    """The ends of an interval, or that there are none."""
    if not interval.is_bounded:
        return "no interval"
    write = signed if sign else number
    return f"{write(interval.low, places)} to {write(interval.high, places)}"


def estimate(interval: Interval | None, places: int, sign: bool = False, unit: str = "") -> str:
    """An estimate with its interval, in a cell."""
    if interval is None:
        return "-"
    write = signed if sign else number
    return f"{write(interval.value, places)}{unit} ({between(interval, places, sign)})"


def in_text(interval: Interval, sign: bool = True) -> str:
    """A percentage's interval, in a sentence."""
    if not interval.is_bounded:
        return "one seed, so no interval"
    return f"95 % interval {between(interval, 2, sign)} %"


def share(interval: Interval) -> str:
    """A share in percent with its interval."""
    return estimate(interval.scaled(100), 0, unit=" %")


def p_value(p: float | None) -> str:
    """Four places, or that it is smaller."""
    if p is None:
        return "-"
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def p_text(p: float) -> str:
    """In a sentence: `p = 0.0123`, `p < 0.0001`."""
    text = p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def change(interval: Interval) -> str:
    """Of tour lengths: `0.12 % longer` or `shorter`."""
    size = number(abs(interval.value), 2)
    return f"{size} % {'longer' if interval.value >= 0 else 'shorter'}"


def count(n: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *front, last = words
    return f"{', '.join(front)} and {last}" if front else last


def is_are(n: int) -> str:
    """`1 is`, `2 are`."""
    return "is" if n == 1 else "are"


def span(values: Iterable[float | int], places: int = 0) -> str:
    """The one value, or the least and the largest."""
    values = sorted(set(values))
    if not values:
        return "-"
    ends = [number(values[0], places), number(values[-1], places)]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
