"""`steps.csv`: how long the study's training step takes with each encoder.

The encoders take turns in one process, so that whatever else the machine does falls on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from vrp.study.csv_file import read_lines, write_lines
from vrp.study.records import ENCODERS, check_numbers
from vrp.study.statistics import Interval, mean_interval

_BLOCK = 10  # turns whose medians make one number: single steps have outliers


@dataclass(frozen=True)
class StepTime:
    """One turn of one encoder.

    Attributes:
        problem: such as vrp10.
        encoder: one of `ENCODERS`.
        turn: its number, from 0.
        batch_size: instances of the step.
        num_rollouts: K.
        step_ms: milliseconds of a whole training step.
        encoder_ms: milliseconds of the encoder alone, forward and backward, on such a batch.
        threads: of the CPU.
        device: such as cpu.
        torch: its version.
    """

    problem: str
    encoder: str
    turn: int
    batch_size: int
    num_rollouts: int
    step_ms: float
    encoder_ms: float
    threads: int
    device: str
    torch: str

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            ValueError: names the column, its value and what is allowed.
        """
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder is {self.encoder!r}; allowed: {', '.join(ENCODERS)}")
        check_numbers(self)


def read_steps(path: Path) -> list[StepTime]:
    """The lines of steps.csv.

    Raises:
        OSError: if it cannot be read.
        ValueError: names the file, the line, the column, its value and what is allowed; or if the
            turns of a problem are not all of the same encoders on one machine.
    """
    _, steps = read_lines(path, StepTime)
    _check_alike(path, steps, ("threads", "device", "torch"))
    for problem in dict.fromkeys(step.problem for step in steps):
        _check_turns(path, [step for step in steps if step.problem == problem])
    return steps


def _check_alike(path: Path, steps: Sequence[StepTime], settings: Iterable[str]) -> None:
    for setting in settings:
        if len({getattr(step, setting) for step in steps}) > 1:
            raise ValueError(f"{path}: the lines differ in {setting}; one is allowed")


def _check_turns(path: Path, steps: Sequence[StepTime]) -> None:
    """Those of one problem."""
    _check_alike(path, steps, ("batch_size", "num_rollouts"))
    turns = {
        encoder: [step.turn for step in of_encoder(steps, encoder)]
        for encoder in dict.fromkeys(step.encoder for step in steps)
    }
    if any(found != list(range(len(found))) for found in turns.values()) or (
        len({len(found) for found in turns.values()}) > 1
    ):
        raise ValueError(f"{path}: turns are missing or there twice; each encoder has one of each")


def write_steps(path: Path, steps: Sequence[StepTime]) -> None:
    """Write what `read_steps` gives back exactly.

    Raises:
        OSError: if it cannot be written.
    """
    write_lines(path, StepTime, steps)


def of_encoder(steps: Iterable[StepTime], encoder: str) -> list[StepTime]:
    """Its turns, in order."""
    return [step for step in steps if step.encoder == encoder]


@dataclass(frozen=True)
class StepSummary:
    """All turns of one encoder.

    Attributes:
        encoder: one of `ENCODERS`.
        turns: how many.
        step_ms: median of a whole training step.
        encoder_ms: median of the encoder alone.
        speeds: instances per second as a multiple of Linear's, of each block of turns; none of
            Linear itself.
        speed: their geometric mean with its interval; None without two.
    """

    encoder: str
    turns: int
    step_ms: float
    encoder_ms: float
    speeds: tuple[float, ...]

    @property
    def speed(self) -> Interval | None:
        """See above."""
        if len(self.speeds) < 2:
            return None
        found = mean_interval([math.log(speed) for speed in self.speeds])
        return Interval(*map(math.exp, (found.value, found.low, found.high)), found.count)

    @property
    def share(self) -> float:
        """Of the encoder in the step, 0 to 1."""
        return self.encoder_ms / self.step_ms


def summarised(steps: Sequence[StepTime]) -> list[StepSummary]:
    """What the turns of one problem say of each encoder, in the order of their turns."""
    found = []
    for encoder in dict.fromkeys(step.encoder for step in steps):
        mine = of_encoder(steps, encoder)
        found.append(
            StepSummary(
                encoder,
                len(mine),
                median(step.step_ms for step in mine),
                median(step.encoder_ms for step in mine),
                () if encoder == "linear" else _speeds(mine, of_encoder(steps, "linear")),
            )
        )
    return found


def _speeds(ours: Sequence[StepTime], theirs: Sequence[StepTime]) -> tuple[float, ...]:
    """Of each block, how many steps of ours fit into one of theirs."""
    return tuple(b / a for a, b in zip(_blocks(ours), _blocks(theirs), strict=False))


def _blocks(steps: Sequence[StepTime]) -> list[float]:
    """Median milliseconds of each full block."""
    times = [step.step_ms for step in steps]
    full = len(times) - len(times) % _BLOCK
    return [median(times[i : i + _BLOCK]) for i in range(0, full, _BLOCK)]
