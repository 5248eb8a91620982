"""Make a released model of a run: `python scripts/release.py outputs/RUN vrp20-conv1d ...`."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import shutil
import sys
import tempfile
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
    parser.add_argument("--command", required=True, help="the command line that trained the run")
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
    summary = json.loads((options.run / "summary.json").read_text())
    results = [read_result(path, best) for path in options.results]
    written = card(options, trained, summary, results)
    kept = {
        key: trained[key] for key in ("config", "progress", "policy", "versions", "started_from")
    }
    folder = ROOT / "checkpoints" / options.name
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".release-", dir=folder.parent) as place:
        fresh = Path(place, "new")
        fresh.mkdir()
        save_checkpoint(fresh / "model.pt", kept)
        shutil.copyfile(options.run / "metrics.csv", fresh / "metrics.csv")
        decode = trained["config"]["validation"]["decode"]
        draw_curve(options.run / "metrics.csv", decode, fresh / "curve.png")
        if options.results:
            shutil.copyfile(options.results[0] / "tours.png", fresh / "tours.png")
        (fresh / "README.md").write_text(written)
        if folder.exists():
            folder.rename(Path(place, "old"))
        fresh.rename(folder)
    return folder


def read_result(folder: Path, best: Path) -> dict:
    """The summary of a complete evaluation of just this checkpoint.

    Raises:
        OSError, ValueError, KeyError: if it cannot be read, was cut short, or is of another one.
    """
    file = folder / "summary.json"
    result = json.loads(file.read_text())
    measured, ours = result["checkpoint_sha256"], hashlib.sha256(best.read_bytes()).hexdigest()
    if measured != ours:
        raise ValueError(
            f"{file}: measured a checkpoint with the SHA-256 {measured[:12]}..., and {best} has "
            f"{ours[:12]}..."
        )
    ended = result.get("ended", "in a version that does not say how")
    limited = result.get("decode_options", {}).get("time_limit") is not None
    if ended != "complete" and not (ended == "time limit" and limited):
        raise ValueError(f"{file}: the evaluation ended: {ended}; only a complete one is released")
    return result


def draw_curve(metrics: Path, decode: str, path: Path) -> None:
    """The gap over the instances seen, and over the hours it took."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    with open(metrics, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val_gap"]]
    gaps = [float(row["val_gap"]) for row in rows]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.plot([int(row["instances"]) / 1000 for row in rows], gaps, color="#0072B2")
    left.set(xlabel="training instances (thousands)", ylabel=f"{decode} gap on validation (%)")
    right.plot([float(row["seconds"]) / 60 for row in rows], gaps, color="#0072B2")
    right.set(xlabel="minutes, everything included")
    for panel in (left, right):
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5, 7)))
        panel.yaxis.set_minor_formatter("{x:g}")
        panel.grid(which="both", alpha=0.3)
    figure.savefig(path, dpi=110)


def _origin(trained: dict) -> list[str]:
    start = trained.get("started_from")
    if start is None:
        return []
    seen = "" if start["instances"] is None else f", after {start['instances']:,} instances"
    return [f"| began as | `{start['name']}`{seen} (SHA-256 {start['sha256'][:16]}...) |"]


def _threads(number: int) -> str:
    return f"{number} thread{'' if number == 1 else 's'}"


def card(options: argparse.Namespace, trained: dict, summary: dict, results: list[dict]) -> str:
    """The model card, in Markdown."""
    config, progress, versions = trained["config"], trained["progress"], trained["versions"]
    lines = [
        f"# {options.name}",
        "",
        f"Trained with `{options.command}`.",
        "",
        "| | |",
        "| --- | --- |",
        f"| seed | {config['seed']}; one seed, so the spread over seeds is not known |",
        f"| hardware | {options.hardware}, {_threads(versions['threads'])} |",
        f"| versions | Python {versions['python']}, torch {versions['torch']}, "
        f"numpy {versions['numpy']} |",
        f"| trained | {summary['instances']:,} instances x {config['num_rollouts']} tours, "
        f"{summary['seconds'] / 3600:.2f} hours with everything |",
        f"| selected | step {progress['step']:,}, {progress['instances']:,} instances: lowest "
        f"{config['validation']['decode']} cost on {summary['validation']} "
        f"(first {config['validation']['limit']:,}), never on a test set |",
        *_origin(trained),
        f"| parameters | {summary['parameters']:,} |",
        "| training log | [metrics.csv](metrics.csv) |",
        "",
        "![gap over instances and minutes](curve.png)",
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
