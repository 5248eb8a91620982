"""What a run folder's metrics.csv, checkpoints and summary.json hold."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from vrp.policy.base import Policy
from vrp.training.progress import Progress
from vrp.training.provenance import precision, versions
from vrp.training.validation import Validation
from vrp.whole_file import whole_file


@dataclass(frozen=True)
class Row:
    """A line of metrics.csv.

    Attributes:
        step: training steps so far.
        instances: training instances so far.
        seconds: wall-clock since the start of the process, earlier pieces added.
        train_seconds: the part of it spent in training steps, without compilation.
        train_cost: mean cost of the sampled tours since the last row; None if there were none.
        val_cost: mean cost on the validation set, of the tours that `validation.decode` finds; None
            where it was not measured.
        val_gap: percent above the reference; None without one.
    """

    step: int
    instances: int
    seconds: float
    train_seconds: float
    train_cost: float | None
    val_cost: float | None
    val_gap: float | None

    @classmethod
    def of(cls, progress: Progress, cost: float | None, gap: float | None) -> Row:
        """Where a run is, and what its validation found."""
        count = progress.cost_count
        return cls(
            step=progress.step,
            instances=progress.instances,
            seconds=progress.seconds,
            train_seconds=progress.train_seconds,
            train_cost=progress.cost_sum / count if count else None,
            val_cost=cost,
            val_gap=gap,
        )

    def texts(self) -> dict[str, str]:
        """Each value as it is written."""
        return {key: _text(value) for key, value in asdict(self).items()}


COLUMNS = tuple(field.name for field in fields(Row))


def write_metrics(file: Path, lines: Iterable[Iterable[str]]) -> None:
    """Write metrics.csv anew.

    Args:
        file: its path.
        lines: the names of the columns, then the rows.

    Raises:
        OSError: if it cannot be written.
    """
    with whole_file(file, "w", newline="") as stream:
        csv.writer(stream).writerows(lines)


def products(policy: Policy, device: torch.device) -> str:
    """What the factors of the policy's large products are rounded to."""
    return str(policy.products(device)).removeprefix("torch.")


def provenance(
    policy: Policy, device: torch.device, rounding: float | None, started_from: dict | None
) -> dict[str, object]:
    """What checkpoint and summary say of where the numbers come from.

    Args:
        policy: that was trained.
        device: where.
        rounding: what `Validation.rounding` last found.
        started_from: `Start.origin()`, or None.
    """
    return {
        "device": str(device),
        "precision": precision(),
        "products": products(policy, device),
        "rounding": rounding,
        "versions": versions(),
        "started_from": started_from,
    }


def policy_content(
    config: dict, progress: Progress, policy: Policy, origin: dict
) -> dict[str, object]:
    """What a checkpoint holds of a policy that nobody trains further.

    Args:
        config: plain and complete.
        progress: its seconds up to now.
        policy: whose weights are kept.
        origin: that `provenance` gave.
    """
    return {"config": config, "progress": vars(progress), "policy": policy.state_dict()} | origin


def write_summary(
    folder: Path, progress: Progress, validation: Validation, policy: Policy, origin: dict
) -> None:
    """Write summary.json.

    Args:
        folder: of the run.
        progress: its seconds up to now.
        validation: that `progress` refers to.
        policy: that was trained.
        origin: that `provenance` gave.

    Raises:
        OSError: if it cannot be written.
    """
    best = progress.best_cost
    content = {
        "instances": progress.instances,
        "steps": progress.step,
        "seconds": progress.seconds,
        "train_seconds": progress.train_seconds,
        "best_val_cost": best if math.isfinite(best) else None,
        "best_step": progress.best_step,
        "validation": validation.name,
        "validation_decode": validation.decode,
        "parameters": sum(p.numel() for p in policy.parameters()),
    } | origin
    with whole_file(folder / "summary.json", "w") as file:
        file.write(json.dumps(content, indent=2) + "\n")


def ended_at(folder: Path) -> int | None:
    """The step that a run ended at, by its summary.json; None where that or last.pt is missing."""
    try:
        summary = json.loads((folder / "summary.json").read_text())
    except (OSError, ValueError):
        return None
    return summary.get("steps") if (folder / "last.pt").exists() else None


def _text(value: float | int | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
