"""What to type after an evaluation, and how long that may take."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial

from vrp.evaluation.stopping import COMPLETE, TIME_LIMIT
from vrp.search import Augment, Beam, Eas, Multistart, Sgbs
from vrp.search.base import Search

_REPEATED = (
    "seed", "device", "threads", "compile", "batch_size", "capacity", "split_delivery"
)  # fmt: skip
_LEAST = 1.0  # seconds that a time limit is proposed with
_ENOUGH_INSTANCES = 50  # fewer take as long as these: most of a small batch's time is overhead


@dataclass(frozen=True)
class Following:
    """The next useful command.

    Attributes:
        command: as it is typed.
        seconds: that it may take, a rough guess; None after too few instances for one.
    """

    command: str
    seconds: float | None


def following(
    summary: dict, search: Search, config: dict, starts_anywhere: bool, typed: Collection[str]
) -> Following:
    """What was cut short again, the whole set after a part, or a better search after that.

    Args:
        summary: of the evaluation, as `Evaluation.summary` makes it.
        search: that was done.
        config: of the evaluation.
        starts_anywhere: of the policy.
        typed: keys that were given; those that a result hangs on are given again.
    """
    asked, total = summary["asked_instances"], summary["set_instances"]
    solved = summary["work"] * asked
    each = summary["seconds"] / max(solved, 1e-9)
    changed: dict[str, object] = {}
    count = total
    if summary["ended"] not in (COMPLETE, TIME_LIMIT):
        after, count = search, asked
        if asked < total:
            changed["limit"] = asked
        if "batch_size" in summary["ended"]:
            changed["batch_size"] = max(1, config["batch_size"] // 4)
    elif asked < total:
        limit = search.time_limit
        scaled = None if limit is None else max(_LEAST, float(f"{limit * total / asked:.3g}"))
        after = replace(search, time_limit=scaled)
    elif summary["ended"] == TIME_LIMIT:
        after = replace(search, time_limit=None)
    else:
        after = _better(search, starts_anywhere)
        size = summary["num_customers"]
        each *= after.effort(size, starts_anywhere) / search.effort(size, starts_anywhere)
    repeated = {
        key: config[key]
        for key in _REPEATED
        if config[key] is not None and (key in typed or key in ("capacity", "split_delivery"))
    }
    given = {"checkpoint": config["checkpoint"], "data": config["data"]} | repeated | changed
    words = [_typed(key, value) for key, value in given.items()]
    command = " ".join(["python scripts/evaluate.py", *words, *after.overrides()])
    if solved < _ENOUGH_INSTANCES:
        return Following(command, after.time_limit)
    seconds = each * count if after.time_limit is None else min(each * count, after.time_limit)
    return Following(command, seconds)


def _better(search: Search, starts_anywhere: bool) -> Search:
    """What finds shorter tours, given a little more time."""
    steps: dict[str, Callable[[], Search]] = {
        "greedy": Multistart if starts_anywhere else partial(Beam, 10),
        "beam": Augment,
        "sampling": Augment,
        "multistart": Augment,
        "augment": Sgbs,
        "sgbs": Eas,
        "eas": lambda: replace(search, iterations=2 * search.iterations),
    }
    return steps[search.name]()


def _typed(key: str, value: object) -> str:
    """`key=value` as a shell and Hydra take it."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if re.fullmatch(r"[\w./:-]+", text):
        return f"{key}={text}"
    escaped = text.replace("'", "\\'")
    return f"\"{key}='{escaped}'\""
