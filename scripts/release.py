"""Make a released model of a run: `python scripts/release.py outputs/RUN vrp20-conv1d ...`.

A run that began with the weights of another, which may have begun with those of a third, is
released with all of them: `--after FIRST SECOND`, and a `--command` for each in their order.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/release.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))


def main(arguments: list[str] | None = None) -> int:
    """Write checkpoints/NAME: model.pt, metrics.csv and README.md, the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run folder; its best.pt is released")
    parser.add_argument("name", help="of the released model")
    parser.add_argument("results", type=Path, nargs="*", help="folders of scripts/evaluate.py")
    parser.add_argument(
        "--after", type=Path, nargs="+", default=[], metavar="RUN",
        help="folders of the runs that it went on from, the first one first",
    )  # fmt: skip
    parser.add_argument(
        "--command", dest="commands", action="append", required=True,
        help="the command line that trained the run; with --after one for each run, in order",
    )  # fmt: skip
    parser.add_argument("--hardware", required=True, help="what it was trained on")
    parser.add_argument("--note", default="", help="what else a user should know")
    options = parser.parse_args(arguments)
    try:
        folder = release(options)
    except (OSError, ValueError, KeyError) as error:
        text = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        print(f"not released: {text}", file=sys.stderr)
        return 1
    print(f"released {folder.relative_to(ROOT)}")
    return 0


def release(options: argparse.Namespace) -> Path:
    """Write the folder, whole or not at all.

    Raises:
        OSError, ValueError, KeyError: if the run or a result cannot be read or does not belong
            here.
    """
    from vrp.training.checkpoint import load_checkpoint, save_checkpoint
    from vrp.training.tour_figure import can_draw

    if not re.fullmatch(r"\w[\w.-]*", options.name):
        raise ValueError(f"name is {options.name!r}; letters, digits, '.', '_' and '-' are allowed")
    if not can_draw():
        raise ValueError("the learning curve needs matplotlib: pip install -e '.[plots]'")
    best = options.run / "best.pt"
    trained = load_checkpoint(best)
    runs = [*options.after, options.run]
    if len(options.commands) != len(runs):
        raise ValueError(
            f"--command is there {len(options.commands)} times for {len(runs)} runs; each has one"
        )
    stages = [Stage.read(run, command) for run, command in zip(runs, options.commands, strict=True)]
    for before, after in pairwise(stages):
        begun = (after.started_from or {}).get("instances")
        if begun != before.instances:
            raise ValueError(
                f"{after.folder} did not go on from {before.folder}: its weights had seen {begun} "
                f"instances, those of {before.folder} {before.instances}"
            )
    results = [read_result(path, best) for path in options.results]
    written = card(options, trained, stages, results)
    kept = {
        key: trained[key] for key in ("config", "progress", "policy", "versions", "started_from")
    }
    folder = ROOT / "checkpoints" / options.name
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".release-", dir=folder.parent) as place:
        fresh = Path(place, "new")
        fresh.mkdir()
        save_checkpoint(fresh / "model.pt", kept)
        write_metrics(stages, fresh / "metrics.csv")
        draw_curve(stages, trained["config"]["validation"]["decode"], fresh / "curve.png")
        if options.results:
            shutil.copyfile(options.results[0] / "tours.png", fresh / "tours.png")
        (fresh / "README.md").write_text(written)
        if folder.exists():
            folder.rename(Path(place, "old"))
        fresh.rename(folder)
    return folder


@dataclass(frozen=True)
class Stage:
    """A run that the released one is, or went on from.

    Attributes:
        folder: of the run.
        command: the command line that trained it.
        summary: its summary.json.
        rows: of its metrics.csv.
        num_rollouts: K tours of each instance.
        instances: that the weights of its best.pt have seen, in the runs before as well.
        started_from: what it began with, if that was not drawn from its seed.
    """

    folder: Path
    command: str
    summary: dict
    rows: list[dict[str, str]]
    num_rollouts: int
    instances: int
    started_from: dict | None

    @classmethod
    def read(cls, folder: Path, command: str) -> Stage:
        """From its folder.

        Raises:
            OSError, ValueError: if a file cannot be read.
        """
        from vrp.training.checkpoint import load_checkpoint

        best = load_checkpoint(folder / "best.pt")
        start = best.get("started_from")
        with open(folder / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        return cls(
            folder,
            command,
            json.loads((folder / "summary.json").read_text()),
            rows,
            best["config"]["num_rollouts"],
            best["progress"]["instances"] + ((start or {}).get("instances") or 0),
            start,
        )


def read_result(folder: Path, best: Path) -> dict:
    """The summary of a complete evaluation of just this checkpoint.

    Raises:
        OSError, ValueError, KeyError: if it cannot be read, was cut short, or is of another one.
    """
    file = folder / "summary.json"
    result = json.loads(file.read_text())
    measured, ours = result["checkpoint_sha256"], _hash(best)
    if measured != ours:
        raise ValueError(
            f"{file}: measured a checkpoint with the SHA-256 {measured[:12]}..., and {best} has "
            f"{ours[:12]}..."
        )
    ended = result["ended"]
    limited = result.get("decode_options", {}).get("time_limit") is not None
    if ended != "complete" and not (ended == "time limit" and limited):
        raise ValueError(f"{file}: the evaluation ended: {ended}; only a complete one is released")
    return result


def write_metrics(stages: Sequence[Stage], path: Path) -> None:
    """The log of all runs; where there are several, with each one's number first."""
    if len(stages) == 1:
        shutil.copyfile(stages[0].folder / "metrics.csv", path)
        return
    with open(path, "w", newline="") as file:
        rows = csv.DictWriter(file, ["run", *stages[-1].rows[0]], lineterminator="\n")
        rows.writeheader()
        for number, stage in enumerate(stages, 1):
            rows.writerows({"run": number, **row} for row in stage.rows)


def draw_curve(stages: Sequence[Stage], decode: str, path: Path) -> None:
    """The gap over the instances seen, and over the minutes it took; the runs in one line."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    instances, seconds = 0, 0.0
    for number, stage in enumerate(stages):
        rows = [row for row in stage.rows if row["val_gap"]]
        gaps = [float(row["val_gap"]) for row in rows]
        thousands = [(instances + int(row["instances"])) / 1000 for row in rows]
        minutes = [(seconds + float(row["seconds"])) / 60 for row in rows]
        for panel, x in ((left, thousands), (right, minutes)):
            panel.plot(x, gaps, "-" if len(x) > 1 else ".", color="#0072B2")
            if number and x:
                panel.axvline(x[0], color="#999999", linestyle=":", linewidth=1)
        instances += stage.summary["instances"]
        seconds += stage.summary["seconds"]
    left.set(xlabel="training instances (thousands)", ylabel=f"{decode} gap on validation (%)")
    right.set(xlabel="minutes, everything included")
    for panel in (left, right):
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5, 7)))
        panel.yaxis.set_minor_formatter("{x:g}")
        panel.grid(which="both", alpha=0.3)
    figure.savefig(path, dpi=110)


def _origin(start: dict | None) -> list[str]:
    if start is None:
        return []
    seen = "" if start["instances"] is None else f", after {start['instances']:,} instances"
    return [f"| began as | `{start['name']}`{seen} (SHA-256 {start['sha256'][:16]}...) |"]


def _selected(trained: dict, of_run: str) -> str:
    """Which weights of the last run these are, and by what."""
    progress = trained["progress"]
    beyond = (trained["started_from"] or {}).get("extrapolated")
    if beyond is not None:
        tried = ", ".join(f"{factor:g}" for factor in beyond["tried"])
        return f"factor {beyond['factor']:g} of {tried}: lowest {beyond['decode']}"
    decode = trained["config"]["validation"]["decode"]
    return (
        f"step {progress['step']:,}{of_run}, {progress['instances']:,} instances: lowest {decode}"
    )


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _threads(number: int) -> str:
    return f"{number} thread{'' if number == 1 else 's'}"


def _commit(versions: dict) -> str:
    found = versions.get("commit")
    if not found:
        return ""
    changed = " with changes not committed then" if found.endswith("+") else ""
    return f"vrp-rl at commit {found.rstrip('+')}{changed}, "


def _commands(stages: Sequence[Stage]) -> list[str]:
    if len(stages) == 1:
        return [f"Trained with `{stages[0].command}`."]
    lines = ["Trained in several runs, each from the best weights of the one before:", ""]
    for number, stage in enumerate(stages, 1):
        summary = stage.summary
        lines.append(
            f"{number}. `{stage.command}`: "
            f"{summary['instances']:,} instances x {stage.num_rollouts} tours, "
            f"{summary['seconds'] / 3600:.2f} hours of {_threads(summary['versions']['threads'])}"
        )
    return lines


def _kept(stages: Sequence[Stage], instances: int) -> str:
    """How many of all instances the weights have seen; empty if all have.

    What a run trained after its best weights is lost. Of a single run the step's row says it.
    """
    seen = stages[-1].instances - ((stages[0].started_from or {}).get("instances") or 0)
    if len(stages) == 1 or seen == instances:
        return ""
    return f"; the weights have seen {seen:,} of them"


def card(
    options: argparse.Namespace, trained: dict, stages: Sequence[Stage], results: list[dict]
) -> str:
    """The model card, in Markdown."""
    config, versions = trained["config"], trained["versions"]
    summary = stages[-1].summary
    instances = sum(stage.summary["instances"] for stage in stages)
    hours = sum(stage.summary["seconds"] for stage in stages) / 3600
    of_run = f" of run {len(stages)}" if len(stages) > 1 else ""
    # Of several runs each may have had other numbers, which stand behind its command.
    tours = f" x {config['num_rollouts']} tours" if len(stages) == 1 else ""
    threads = f", {_threads(versions['threads'])}" if len(stages) == 1 else ""
    dotted = "; a dotted line is where a run ends" if len(stages) > 1 else ""
    lines = [
        f"# {options.name}",
        "",
        *_commands(stages),
        "",
        "| | |",
        "| --- | --- |",
        f"| seed | {config['seed']}; one seed, so the spread over seeds is not known |",
        f"| hardware | {options.hardware}{threads} |",
        f"| versions | {_commit(versions)}Python {versions['python']}, torch {versions['torch']}, "
        f"numpy {versions['numpy']} |",
        f"| trained | {instances:,} instances{tours}, {hours:.2f} hours with everything"
        f"{_kept(stages, instances)} |",
        f"| selected | {_selected(trained, of_run)} cost on {summary['validation']} "
        f"(first {config['validation']['limit']:,}), never on a test set |",
        *_origin(stages[0].started_from),
        f"| parameters | {summary['parameters']:,} |",
        "| training log | [metrics.csv](metrics.csv) |",
        "",
        f"![gap over instances and minutes{dotted}](curve.png)",
        "",
    ]
    if results:
        first = results[0]
        lines += [f"![tours of {first['data']} by {first['decode']}](tours.png)", ""]
    if options.note:
        lines += [options.note, ""]
    if results:
        lines += [
            "| set | instances | decoding | mean cost | standard error | gap |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
    for result in results:
        gap = result["mean_gap_percent"]
        shown = "-" if gap is None else f"{gap:.2f} % (on {result['gap_instances']:,})"
        lines.append(
            f"| {result['data']} | first {result['instances']:,} | "
            f"`{' '.join(result['decode_overrides'])}` | "
            f"{result['mean_cost']:.4f} | {result['standard_error']:.4f} | {shown} |"
        )
    if results:
        lines += [
            "",
            f"Each row: `python scripts/evaluate.py checkpoint={options.name} data=SET "
            "limit=INSTANCES` and what stands under decoding.",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
