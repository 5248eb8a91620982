"""A sweep: how its runs are called, what became of each, and how far all of them are."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from scripts.folder_lock import LOCK
from vrp.whole_file import whole_file

_LIST = "sweep.json"  # in the sweep's folder
_STATUS = "status.json"  # in the folder of each run
_OWN = (".hydra", LOCK, _STATUS)  # what a run's folder holds before the program has written into it


def sweep_overrides(
    whole: DictConfig, swept: Iterable[str], typed: Iterable[str], groups: Iterable[str]
) -> list[str]:
    """What a sweep sets that its user has not: folders, threads, bars.

    A run's folder is named after the choices that `hydra.sweep.subdir` lists, and after every
    other key that the sweep or its file varies: part of a sweep has the names of the whole.

    Args:
        whole: the config with Hydra's part.
        swept: keys that take several values, or do in the sweep's file.
        typed: keys given on the command line.
        groups: keys that are config groups.
    """
    typed, found = set(typed), []
    settings = OmegaConf.to_container(whole.hydra, resolve=False)
    if "hydra.sweep.subdir" not in typed:
        pattern = settings["sweep"]["subdir"]
        for key in swept:
            value = f"hydra.runtime.choices.{key}" if key in groups else key
            if f"{{{value}}}" not in pattern:
                label = "" if key in groups else f"{key.rpartition('.')[2]}_"
                pattern += f"-{label}${{{value}}}"
        found.append(f"hydra.sweep.subdir='{pattern}'")
    if "name" in typed and "hydra.sweep.dir" not in typed:
        found.append("hydra.sweep.dir='outputs/${name}'")
    jobs = side_by_side(settings["launcher"]) or 1
    if jobs != 1:
        if "threads" in whole and "threads" not in typed:
            found.append(f"threads={max(1, (os.cpu_count() or 1) // jobs)}")
        if "progress" in whole and "progress" not in typed:
            found.append("progress=false")
    return found


def side_by_side(launcher: Mapping[str, Any]) -> int | None:
    """How many runs a launcher of Hydra's has at once on this machine; None if it does not say.

    Args:
        launcher: its section of the config.
    """
    if str(launcher.get("_target_", "")).endswith("BasicLauncher"):
        return 1
    jobs = launcher.get("n_jobs")
    return jobs if jobs is None or jobs > 0 else os.cpu_count()


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep, in its folder.

    Attributes:
        folder: that holds a folder for each run.
        runs: the config of each, by the name of its folder, in order.
        started: when the sweep was last started, in seconds since 1970.
    """

    folder: Path
    runs: dict[str, dict]
    started: float

    @classmethod
    def begin(cls, folder: Path, runs: dict[str, dict]) -> Sweep:
        """Write down what the sweep is about to run; runs of an earlier start stay listed."""
        before = cls.read(folder)
        sweep = cls(folder, (before.runs if before else {}) | runs, time.time())
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / _LIST, {"runs": sweep.runs, "started": sweep.started})
        return sweep

    @classmethod
    def read(cls, folder: Path) -> Sweep | None:
        """The sweep that was begun in the folder, if one was.

        Raises:
            ValueError: if its list is damaged.
        """
        content = _read(folder / _LIST)
        return cls(folder, content["runs"], content["started"]) if content else None

    def statuses(self) -> dict[str, Status]:
        """What is known of each run that has begun."""
        found = {run: Status.read(self.folder / run) for run in self.runs}
        return {run: status for run, status in found.items() if status}

    def line(self) -> str:
        """How far all runs are, in one line."""
        statuses = self.statuses().values()
        done = sum(status.state == "done" for status in statuses)
        failed = sum(status.state == "failed" for status in statuses)
        ended = [s for s in statuses if s.ended and s.ended >= self.started]
        left = len(self.runs) - done - failed
        text = f"{done} of {len(self.runs)} runs done" + (f", {failed} failed" if failed else "")
        if left and ended:
            minutes = (time.time() - self.started) / len(ended) * left / 60
            text += f", about {minutes:.0f} min left"
        return text

    def report(self) -> tuple[list[str], int]:
        """At the end: a line for all and one for each failed run, and the exit code."""
        statuses = self.statuses()
        lines = [self.line()]
        for run, status in statuses.items():
            if status.state == "failed":
                lines.append(f"{self.folder / run} failed: {status.error}")
        now = [s for s in statuses.values() if s.ended and s.ended >= self.started]
        return lines, max((status.exit_code or 0 for status in now), default=0)


@dataclass(frozen=True)
class Status:
    """What became of a run of a sweep.

    Attributes:
        state: `running`, `done`, `failed` or `interrupted`. A run that was killed is `running`
            for ever; the sweep continues it all the same.
        exit_code: once it has ended.
        error: of a failed run, a line.
        ended: seconds since 1970.
        config: that it was started with.
        side_by_side: how many runs of the sweep there were at once; None if that is not known.
    """

    state: str
    exit_code: int | None = None
    error: str | None = None
    ended: float | None = None
    config: dict | None = None
    side_by_side: int | None = None

    @classmethod
    def read(cls, folder: Path) -> Status | None:
        """The status in a run's folder, if there is one."""
        try:
            content = _read(folder / _STATUS)
        except ValueError:  # the run tells how far it is all the same
            return None
        return cls(**content) if content else None

    def is_done_with(self, config: dict | None) -> bool:
        """Whether the run has ended well, and with this very config."""
        return self.state == "done" and self.config is not None and self.config == config

    def write(self, folder: Path) -> None:
        """Leave it in the run's folder."""
        _write(folder / _STATUS, asdict(self))


def end_of(
    code: int, error: str | None, config: dict | None = None, side_by_side: int | None = None
) -> Status:
    """The status of a run that ended now with that exit code."""
    state = "done" if code == 0 else "interrupted" if code in (130, 143) else "failed"
    return Status(state, code, error, time.time(), config, side_by_side)


def holds_run(folder: Path) -> bool:
    """Whether a run has written into the folder."""
    return folder.is_dir() and any(_remains(folder))


def holds_checkpoint(folder: Path) -> bool:
    """Whether a run can go on from what is in the folder."""
    return any((folder / name).exists() for name in ("last.pt", "previous.pt"))


def clear(folder: Path) -> None:
    """Remove what a run left that ended before its first checkpoint."""
    for path in _remains(folder):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _remains(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.name not in _OWN and p.suffix != ".log"]


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}; remove it to begin a new list") from error


def _write(path: Path, content: dict) -> None:
    with whole_file(path, "w") as file:
        file.write(json.dumps(content, indent=2) + "\n")
