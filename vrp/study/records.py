"""What the study reads: `runs.csv`, a line per tested run, and `curves.csv`, a line per validation.

Whoever makes these files and whoever reports on them agree here and nowhere else. An empty field
is a text without characters, or a number that was not measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from vrp.study.csv_file import read_lines, write_lines

STATUSES = ("finished", "stopped", "failed", "missing")
ENCODERS = ("conv1d", "linear", "embedding")  # as encoder= takes them; classes are called alike
BINS = 64  # of the embedding without a variant
BLIND = "blind"  # the variant of linear that sees no coordinates

# Filled by training, by testing, and by the reference costs of the test set.
_TRAINED = ("instances", "seconds", "train_seconds", "parameters")
_TESTED = ("checkpoint", "test_set", "decode", "test_instances", "cost")
_REFERRED = ("gap", "reference_instances")
_VALIDATED = ("validation", "val_cost", "val_gap")
_POSITIVE = (
    "num_customers", "capacity", "budget", "batch_size", "num_rollouts", "learning_rate", "threads",
    "parameters", "test_instances", "reference_instances", "cost", "train_cost", "val_cost",
    "step_ms", "encoder_ms",
)  # fmt: skip
_NOT_NEGATIVE = ("seed", "instances", "seconds", "train_seconds", "turn")


@dataclass(frozen=True)
class Run:
    """A run and one of its tests: a run that was tested in two ways has two of these.

    A missing run was planned and has no trace, so nothing of it is measured. A failed run has no
    test. Names of sweeps that begin with `pilot` are runs that are never counted.

    Attributes:
        sweep: which sweep it belongs to.
        run: its name in the sweep.
        status: one of `STATUSES`; stopped means before its budget was used.
        error: what a failed run died of, in one line.
        problem: such as vrp10, with what makes another problem of it to compare on: vehicle,
            policy, learning rate or a budget beyond the study's usual one (vrp10-rate0.0003).
        num_customers: C.
        capacity: of a vehicle.
        split_delivery: whether a customer may be served in several visits.
        policy: such as pointer.
        encoder: one of `ENCODERS`.
        variant: empty for the encoder as it is, else what was changed: `reshaped`, `bins=8`, ...
        seed: of initialisation, instances and sampling.
        budget: training instances that were planned.
        instances: training instances that were seen.
        batch_size: instances per step.
        num_rollouts: K.
        learning_rate: the first one.
        settings: what else was chosen for the training and the policy, as one text.
        seconds: wall-clock with everything in it.
        train_seconds: the part of it in training steps, without compilation.
        threads: of the CPU.
        side_by_side: how many runs its sweep ran at once; None where not known.
        device: such as cpu.
        precision: of the arithmetic, and of the large products where their factors are rounded.
        torch: its version.
        commit: of this program, when the run was last saved; empty where not known.
        parameters: of the policy.
        checkpoint: which one was tested, `last` in the study.
        test_set: such as kool10.
        decode: such as greedy.
        test_instances: of the test set, how many were solved.
        cost: mean tour length on these.
        gap: of the cost, in percent to the reference.
        reference_instances: how many of the instances the gap is over.
        validation: which instances it was validated on in training; empty where not known.
        val_cost: the last one in training.
        val_gap: the last one in training, in percent.
    """

    sweep: str
    run: str
    status: str
    error: str
    problem: str
    num_customers: int
    capacity: int
    split_delivery: bool
    policy: str
    encoder: str
    variant: str
    seed: int
    budget: int
    instances: int | None
    batch_size: int
    num_rollouts: int
    learning_rate: float
    settings: str
    seconds: float | None
    train_seconds: float | None
    threads: int | None
    side_by_side: int | None
    device: str
    precision: str
    torch: str
    commit: str
    parameters: int | None
    checkpoint: str
    test_set: str
    decode: str
    test_instances: int | None
    cost: float | None
    gap: float | None
    reference_instances: int | None
    validation: str
    val_cost: float | None
    val_gap: float | None

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            ValueError: names the column, its value and what is allowed.
        """
        for column in ("sweep", "run", "problem", "policy"):
            if not getattr(self, column):
                raise ValueError(f"{column} is empty; a name is needed")
        for column, allowed in (("status", STATUSES), ("encoder", ENCODERS)):
            if getattr(self, column) not in allowed:
                raise ValueError(
                    f"{column} is {getattr(self, column)!r}; allowed: {', '.join(allowed)}"
                )
        check_numbers(self)
        self._check_filled()

    def _check_filled(self) -> None:
        empty = {"missing": (*_TRAINED, *_TESTED, *_REFERRED, *_VALIDATED)}
        empty["failed"] = (*_TESTED, *_REFERRED)
        for column in empty.get(self.status, ()):
            if getattr(self, column) not in (None, ""):
                raise ValueError(
                    f"{column} is {getattr(self, column)!r}, but status is {self.status}; "
                    "it must be empty"
                )
        if self.status == "finished":
            self._check_together(_TRAINED, "a finished run fills it")
        if any(getattr(self, column) not in (None, "") for column in _TESTED):
            self._check_together(_TESTED, f"a tested run fills {', '.join(_TESTED)}")
        if any(getattr(self, column) is not None for column in _REFERRED):
            self._check_together(_REFERRED, "gap and reference_instances go together")

    def _check_together(self, columns: Iterable[str], rule: str) -> None:
        for column in columns:
            if getattr(self, column) in (None, ""):
                raise ValueError(f"{column} is empty; {rule}")

    @property
    def key(self) -> tuple[str, str]:
        """What the run is known by, over all files."""
        return self.sweep, self.run

    @property
    def is_pilot(self) -> bool:
        """Whether it only served to plan the study."""
        return self.sweep.startswith("pilot")


@dataclass(frozen=True)
class CurvePoint:
    """What a run had reached when it was validated.

    Attributes:
        sweep: of the run.
        run: its name in the sweep.
        instances: training instances so far.
        seconds: wall-clock so far, everything included.
        train_seconds: the part of it in training steps, without compilation.
        train_cost: mean cost of the sampled tours since the point before; None at the start.
        val_cost: mean cost on the validation set; None where not measured.
        val_gap: percent to the reference; None without one.
    """

    sweep: str
    run: str
    instances: int
    seconds: float
    train_seconds: float
    train_cost: float | None
    val_cost: float | None
    val_gap: float | None

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            ValueError: names the column, its value and what is allowed.
        """
        check_numbers(self)

    @property
    def key(self) -> tuple[str, str]:
        """Of the run it belongs to."""
        return self.sweep, self.run


def read_runs(path: Path) -> list[Run]:
    """The lines of runs.csv, in their order.

    Raises:
        OSError: if it cannot be read.
        ValueError: names the file, the line, the column, its value and what is allowed.
    """
    lines, runs = read_lines(path, Run)
    if not runs:
        raise ValueError(f"{path}: there is no run below the columns; at least one is needed")
    _check_runs(runs, [f"{path}, line {line}: " for line in lines])
    return runs


def write_runs(path: Path, runs: Sequence[Run]) -> None:
    """Write what `read_runs` gives back exactly.

    Raises:
        OSError: if it cannot be written.
        ValueError: if there are no runs, or two of them contradict each other.
    """
    if not runs:
        raise ValueError(f"{path}: there is no run to write; at least one is needed")
    _check_runs(runs, [f"{path}: " for _ in runs])
    write_lines(path, Run, runs)


def read_curves(path: Path, runs: Iterable[Run]) -> list[CurvePoint]:
    """The lines of curves.csv, in their order.

    Args:
        path: of the file.
        runs: those that a point may belong to.

    Raises:
        OSError: if it cannot be read.
        ValueError: names the file, the line, the column, its value and what is allowed.
    """
    lines, curves = read_lines(path, CurvePoint)
    _check_curves(curves, runs, [f"{path}, line {line}: " for line in lines])
    return curves


def write_curves(path: Path, curves: Sequence[CurvePoint], runs: Iterable[Run]) -> None:
    """Write what `read_curves` gives back exactly.

    Raises:
        OSError: if it cannot be written.
        ValueError: if a point belongs to no run, or is not after the one before it.
    """
    _check_curves(curves, runs, [f"{path}: " for _ in curves])
    write_lines(path, CurvePoint, curves)


def check_numbers(record: object) -> None:
    """Every number of a record is finite and in its range.

    Raises:
        ValueError: names the column, its value and what is allowed.
    """
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field.name} is {value}; it must be finite")
        if value is None or isinstance(value, str):
            continue
        if field.name in _POSITIVE and not value > 0:
            raise ValueError(f"{field.name} is {value}; it must be above 0")
        if field.name in _NOT_NEGATIVE and value < 0:
            raise ValueError(f"{field.name} is {value}; it must be at least 0")


def _check_runs(runs: Sequence[Run], places: Sequence[str]) -> None:
    """No test twice, and all lines of a run agree on how it was trained."""
    seen: set[tuple] = set()
    first: dict[tuple, Run] = {}
    tests = {*_TESTED, *_REFERRED}
    for run, place in zip(runs, places, strict=True):
        test = (*run.key, run.test_set, run.decode)
        if test in seen:
            tested = f" with test_set {run.test_set}, decode {run.decode}" if run.test_set else ""
            raise ValueError(
                f"{place}run is {run.run!r} of sweep {run.sweep!r}{tested} for the second time; "
                "each may be there once"
            )
        seen.add(test)
        known = first.setdefault(run.key, run)
        for column, value in asdict(run).items():
            if column not in tests and value != getattr(known, column):
                raise ValueError(
                    f"{place}{column} of run {run.run!r} of sweep {run.sweep!r} is {value!r}, but "
                    f"{getattr(known, column)!r} in another line; the lines of a run must agree"
                )


def _check_curves(curves: Sequence[CurvePoint], runs: Iterable[Run], places: Sequence[str]) -> None:
    runs = list(runs)
    known = {run.key for run in runs}
    last: dict[tuple, int] = {}
    for point, place in zip(curves, places, strict=True):
        if point.key not in known:
            raise ValueError(
                f"{place}run is {point.run!r} of sweep {point.sweep!r}; the runs file has no such "
                f"run among its {len(known)}"
            )
        if point.instances <= last.get(point.key, -1):
            raise ValueError(
                f"{place}instances is {point.instances}; the point before it in run "
                f"{point.run!r} has {last[point.key]}, so it must be more"
            )
        last[point.key] = point.instances
    _check_ends(curves, runs)


def _check_ends(curves: Sequence[CurvePoint], runs: Iterable[Run]) -> None:
    """A finished run's curve ends where the run did: else its last lines are missing."""
    ends = {point.key: point for point in curves}
    for run in runs:
        if run.status != "finished" or run.val_cost is None:
            continue
        end = ends.get(run.key)
        if end is None or end.instances != run.instances:
            found = "has no point" if end is None else f"ends at {end.instances:,} instances"
            raise ValueError(
                f"the curve of run {run.run!r} of sweep {run.sweep!r} {found} and the run at "
                f"{run.instances:,}; lines are missing"
            )
