"""From run folders to the study's two files: what was trained, and how it does on test sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from vrp.problem.datasets import STANDARD_SETS
from vrp.study.describe import CHECKPOINT, Planned, curve_of, describe, load_last, read_json
from vrp.study.records import CurvePoint, Run
from vrp.study.tested import TestSet, decodings, make_test_set, size_of, tested


def collect(
    folders: Sequence[Path], tests: Sequence[str] = (), limit: int | None = None
) -> tuple[list[Run], list[CurvePoint]]:
    """Read runs, and solve test sets with the last checkpoint of each finished one.

    Decoding is greedy; of policies that were trained from each customer, multi-start as well.

    A result is kept in the run's folder and used again while the checkpoint is the same.

    Args:
        folders: of sweeps, or of single runs.
        tests: test sets: standard ones, or `clusteredC`: 10,000 instances of C clustered
            customers. A run is tested on those of its own number of customers; without any, on
            Kool's set of that number.
        limit: how many instances of each; all if None.

    Raises:
        ValueError: for a folder that holds no run, a run in two folders, an unknown test set, a
            damaged checkpoint, or a run that no test set fits; names it.
    """
    for name in tests:
        size_of(name)
    planned = [run for folder in folders for run in _find(Path(folder))]
    seen: dict[tuple[str, str], Path] = {}
    for run in planned:
        other = seen.setdefault((run.sweep, run.name), run.folder)
        if other != run.folder:
            raise ValueError(f"{run.folder} and {other} are both called {run.sweep}/{run.name}")
    runs, curves = [], []
    sets: dict[str, TestSet] = {}
    for run in tqdm(planned, desc="runs", unit=" runs", leave=False, disable=None):
        described = describe(run)
        curves += curve_of(run)
        if described.status != "finished":
            runs.append(described)
            continue
        size = described.num_customers
        fitting = [name for name in tests if size_of(name) == size]
        if not tests and f"kool{size}" in STANDARD_SETS:
            fitting = [f"kool{size}"]
        if not fitting:
            raise ValueError(
                f"{run.folder}: no test set of {size} customers among "
                f"{', '.join(tests) or 'the standard ones'}"
            )
        for name in fitting:
            if name not in sets:
                sets[name] = make_test_set(name, limit)
            runs += [tested(described, run, sets[name], decode) for decode in decodings(run.config)]
    return runs, curves


def _find(folder: Path) -> list[Planned]:
    """The runs of a sweep's folder, or the one run of a run's folder.

    Raises:
        ValueError: if it is neither.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    listed = read_json(folder / "sweep.json")
    if listed is not None:
        runs = listed.get("runs")
        if not runs or not isinstance(runs, dict):
            raise ValueError(f"{folder / 'sweep.json'} is damaged: it lists no runs")
        return [Planned(folder.name, name, folder / name, config) for name, config in runs.items()]
    if (folder / CHECKPOINT).is_file():
        checkpoint = load_last(folder)
        sweep = folder.resolve().parent.name
        return [Planned(sweep, folder.resolve().name, folder, checkpoint["config"])]
    raise ValueError(
        f"{folder} holds neither a sweep (sweep.json) nor a run ({CHECKPOINT}); "
        "give the folder of a sweep or of a run"
    )
