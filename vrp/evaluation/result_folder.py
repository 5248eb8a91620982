"""The folder of an evaluation's result: its name, whether it may be used, and writing it whole."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from vrp.evaluation.fixed import FixedInstances
from vrp.evaluation.stopping import COMPLETE, TIME_LIMIT
from vrp.evaluation.trained import Trained
from vrp.problem.datasets import STANDARD_SETS
from vrp.search.base import Search
from vrp.whole_file import whole_file

Saver = Callable[[IO[bytes]], object]  # writes one file's content

SUMMARY = "summary.json"
SOLUTIONS = "solutions.npz"
PICTURE = "tours.png"


def default_folder(trained: Trained, fixed: FixedInstances, search: Search, config: dict) -> Path:
    """A name that tells apart models, instances, and how these are solved."""
    data = fixed.name if fixed.name in STANDARD_SETS else Path(fixed.name).stem
    parts = [trained.name, data, str(search)]
    if fixed.instances.split_delivery:
        parts.append("split")
    if fixed.name not in STANDARD_SETS and config["capacity"] is not None:
        parts.append(f"capacity{config['capacity']}")
    if config["seed"]:
        parts.append(f"seed{config['seed']}")
    if search.draws:
        parts.append(f"batch{config['batch_size']}")
    if len(fixed.instances) < fixed.total:
        parts.append(f"first{len(fixed.instances)}")
    name = "-".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts)
    return Path("outputs") / "evaluate" / name


def open_folder(folder: Path, count: int) -> None:
    """Make the folder if need be.

    Raises:
        ValueError: if it cannot be written, or holds the summary of something else, or a result of
            more than `count` instances that no interruption or error has cut short; one that its
            time limit has ended counts.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        held = _summary_in(folder)
    except OSError as error:
        raise ValueError(f"output: {folder} cannot be written: {error.strerror}") from error
    if held is not None and "decode" not in held:
        raise ValueError(f"output: {folder} holds a {SUMMARY} of something else")
    if _wholeness(held) and held["instances"] > count:
        raise ValueError(
            f"output: {folder} holds a result of {held['instances']:,} instances, and this would "
            f"be one of {count:,}; name another folder"
        )


def write_result(folder: Path, summary: dict, savers: Mapping[str, Saver]) -> Path:
    """Write the files, and after them the summary; each appears whole or not at all.

    What was cut short never replaces what was not: it goes into a folder beside it. A time limit
    cuts less short than an interruption.

    Args:
        folder: from `open_folder`.
        summary: plain types; has `ended` and `instances`.
        savers: by file name. An older picture goes even if no new one is among them.

    Returns:
        The folder that was written.

    Raises:
        OSError: if a file cannot be written.
    """
    if _wholeness(summary) < _wholeness(_summary_in(folder)):
        folder = folder.with_name(f"{folder.name}-cut-short")
        folder.mkdir(exist_ok=True)
    (folder / PICTURE).unlink(missing_ok=True)
    text = json.dumps(summary, indent=2) + "\n"
    for name, save in {**savers, SUMMARY: lambda file: file.write(text.encode())}.items():
        with whole_file(folder / name) as file:
            save(file)
    return folder


def _summary_in(folder: Path) -> dict | None:
    """What summary.json in a folder holds; None if it is not there, {} if it is no summary."""
    try:
        held = json.loads((folder / SUMMARY).read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return held if isinstance(held, dict) else {}


def _wholeness(summary: dict | None) -> int:
    """2 for a complete result, 1 for one that its time limit ended, 0 for another or none."""
    if not summary or "instances" not in summary:
        return 0
    return {COMPLETE: 2, TIME_LIMIT: 1}.get(summary.get("ended"), 0)
