"""What was decided before the first counted run."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from vrp.study.records import ENCODERS


@dataclass(frozen=True)
class Plan:
    """The primary question and how it is decided; all other comparisons are secondary.

    Attributes:
        margin_percent: costs this close, in percent of the reference encoder's, count as equal.
        alpha: level of each one-sided test of the equivalence.
        power: that the number of seeds was to give if there is no difference.
        problem: such as vrp10.
        test_set: such as kool10.
        test_instances: how many of its instances.
        decode: such as greedy.
        checkpoint: which one is tested.
        encoders: the encoder in question, and the one it is compared with.
        seeds: of both.
        budget: training instances of a run; None where the plan leaves it open.
        sweeps: whose runs without a variant answer the questions about encoders; all if empty.
        notes: sentences for the report's account of what was run, such as the machine.
    """

    margin_percent: float
    alpha: float
    power: float
    problem: str
    test_set: str
    test_instances: int
    decode: str
    checkpoint: str
    encoders: tuple[str, str]
    seeds: tuple[int, ...]
    budget: int | None = None
    sweeps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            ValueError: names the key, its value and what is allowed.
        """
        for key, least, most in (("margin_percent", 0, 100), ("alpha", 0, 0.5), ("power", 0, 1)):
            _check(key, getattr(self, key), _is_number, f"a number between {least} and {most}")
            if not least < getattr(self, key) < most:
                raise ValueError(
                    f"{key} is {getattr(self, key)}; it must be between {least} and {most}"
                )
        for key in ("problem", "test_set", "decode", "checkpoint"):
            _check(key, getattr(self, key), lambda v: isinstance(v, str) and v, "a name")
        _check("test_instances", self.test_instances, _is_count, "a whole number above 0")
        if self.budget is not None:
            _check("budget", self.budget, _is_count, "a whole number above 0, or null")
        if len(set(self.encoders)) != 2 or len(self.encoders) != 2:
            raise ValueError(f"encoders is {list(self.encoders)}; it must be two different ones")
        for name in self.encoders:
            _check("encoders", name, ENCODERS.__contains__, f"of {', '.join(ENCODERS)}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds is {list(self.seeds)}; it must be at least one, none twice")
        for seed in self.seeds:
            _check("seeds", seed, lambda v: v == 0 or _is_count(v), "whole numbers from 0 on")
        for key in ("sweeps", "notes"):
            for text in getattr(self, key):
                _check(key, text, lambda v: isinstance(v, str), "a list of texts")


def read_plan(path: Path) -> Plan:
    """The plan in a JSON file.

    Raises:
        OSError: if it cannot be read.
        ValueError: names the file, the key, its value and what is allowed.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{path}: no JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: the plan is {values!r}; it must be keys with values")
    known = [field.name for field in fields(Plan)]
    needed = [field.name for field in fields(Plan) if field.default is MISSING]
    for key in values:
        if key not in known:
            raise ValueError(f"{path}: unknown key {key!r}; allowed: {', '.join(known)}")
    for key in needed:
        if key not in values:
            raise ValueError(f"{path}: {key} is missing; needed: {', '.join(needed)}")
    for key in ("encoders", "seeds", "sweeps", "notes"):
        if not isinstance(values.get(key, []), list):
            raise ValueError(f"{path}: {key} is {values[key]!r}; it must be a list")
        if key in values:
            values[key] = tuple(values[key])
    try:
        return Plan(**values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def read_remarks(folder: Path) -> tuple[str, ...]:
    """What was written down after the plan: the paragraphs of a report's `remarks.txt`, if any.

    Raises:
        OSError, ValueError: if the file is there and cannot be read.
    """
    file = Path(folder, "remarks.txt")
    if not file.exists():
        return ()
    paragraphs = file.read_text(encoding="utf-8").split("\n\n")
    return tuple(" ".join(text.split()) for text in paragraphs if text.strip())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check(key: str, value: object, holds: object, allowed: str) -> None:
    if not holds(value):
        raise ValueError(f"{key} is {value!r}; it must be {allowed}")
