"""Gap against seconds of every search: `python scripts/compare_searches.py CHECKPOINT SET`.

Writes searches.csv and searches.svg: for each search the gap to the near-optimal reference after
so many seconds per instance, all instances solved side by side on this machine; x 8 means all eight
symmetries of the square. Short searches are measured several times and the median is taken. Until
the last search has ended the files are called searches-partial, so Ctrl-C keeps those that are
done, and a complete comparison stays until another one is complete.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/compare_searches.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.arguments import above_zero, whole  # noqa: E402
from scripts.cores import Reading, choose_waiting  # noqa: E402
from scripts.heap import settle_heap  # noqa: E402

if TYPE_CHECKING:
    from vrp.evaluation.anytime import Curve
    from vrp.search.base import Search

MOST = 1000  # instances, unless told otherwise
WARMING = 8  # instances that are solved beforehand, not counted
COMPLETE, PARTIAL = "searches", "searches-partial"  # names of the files
SHORT, REPEATS = 2.0, 7  # first seconds of a search that are measured several times, and how often
COLOURS = {
    "greedy": "#000000",
    "multi-start": "#E69F00",
    "multi-start x 8": "#D55E00",
    "sampling": "#56B4E9",
    "beam 10": "#AAAAAA",
    "beam 50": "#666666",
    "SGBS (4, 4)": "#7BC8A4",
    "SGBS (4, 4) x 8": "#00664A",
    "EAS": "#CC79A7",
    "EAS x 8": "#0072B2",
}


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, print; 2 and one line if the input is bad, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="file, run folder or released name")
    parser.add_argument("data", help="standard set with reference costs: kool20, ...")
    parser.add_argument(
        "--limit",
        type=whole(1),
        help=f"instances (default: those with a reference, at most {MOST})",
    )
    parser.add_argument(
        "--batch-size", type=whole(1), default=250, help="solved at once (default: 250)"
    )
    parser.add_argument(
        "--seconds", type=above_zero(), default=0.3, help="per instance and search (default: 0.3)"
    )
    parser.add_argument("--threads", type=whole(1), help="of the CPU")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument(
        "--output", type=Path, help="folder (default: outputs/searches/CHECKPOINT-SET)"
    )
    options = parser.parse_args(arguments)
    choose_waiting(Reading.now())
    ended: list[str] = []
    try:
        compare(options, ended)
    except (OSError, ValueError) as error:
        print(f"not compared: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = (
            f"{options.output} has the searches before: {PARTIAL}.csv, {PARTIAL}.svg"
            if ended
            else "nothing is written"
        )
        print(f"interrupted; {kept}", file=sys.stderr)
        return 130
    return 0


def compare(options: argparse.Namespace, ended: list[str]) -> None:
    """Measure each search, and write both files after each.

    Args:
        options: of the command; the folder is filled in where none was given.
        ended: takes the name of each search as soon as it is in the files.

    Raises:
        OSError, ValueError: if the input cannot be used.
    """
    import torch

    from vrp.evaluation.anytime import anytime_curve
    from vrp.evaluation.fixed import fixed_instances, outside_training
    from vrp.evaluation.printed import caution
    from vrp.evaluation.trained import find_checkpoint, load_trained
    from vrp.search import Eas
    from vrp.training.compilation import use_kept_kernels
    from vrp.training.device import set_up_device
    from vrp.training.tour_figure import can_draw

    if not can_draw():
        raise ValueError("the figure needs matplotlib: pip install -e '.[plots]'")
    device = set_up_device("auto", options.threads)
    trained = load_trained(*find_checkpoint(options.checkpoint))
    fixed = fixed_instances(options.data, None, None, False)
    known = fixed.reference()
    if outside := outside_training(trained.problem, fixed.instances):
        print(f"caution: {caution(outside)}", file=sys.stderr, flush=True)
    if known is None:
        raise ValueError(f"{options.data} has no reference costs")
    limit = min(len(known.cost), len(fixed.instances), MOST)
    limit = limit if options.limit is None else options.limit
    if limit > min(len(known.cost), len(fixed.instances)):
        raise ValueError(
            f"--limit is {limit}; {options.data} has reference costs of {len(known.cost)}"
        )
    if options.output is None:
        name = f"{trained.name}-{Path(options.data).stem}"
        options.output = Path("outputs", "searches", name)
    options.output.mkdir(parents=True, exist_ok=True)
    optimum = float(known.cost[:limit].mean())
    use_kept_kernels(trained.policy, device)
    policy, instances = trained.policy.to(device), fixed.instances[:limit].to(device)
    batch = min(options.batch_size, limit)
    what = f"{trained.name} on the first {limit:,} of {options.data}, {batch} at once"
    if device.type == "cpu":
        what += f", threads: {torch.get_num_threads()}"
    print(what, flush=True)
    described = [trained.name, options.data, limit, batch]
    curves: dict[str, Curve] = {}

    def save(name: str) -> None:
        write(curves, optimum, described, options.output / f"{name}.csv")
        draw(curves, optimum, what, options.output / f"{name}.svg")

    # The first optimizer of a process takes a second: it imports what compiles.
    anytime_curve(Eas(1, symmetries=1), policy, instances[:WARMING], WARMING, options.seed)
    bar = tqdm(all_searches().items(), "searches", leave=False, disable=None)
    for name, search in bar:
        bar.set_description(name)
        # The first calls of all take longer: threads, caches, memory.
        anytime_curve(search, policy, instances[:WARMING], WARMING, options.seed, 1e-9)
        measure = partial(anytime_curve, search, policy, instances, batch, options.seed)
        curve = median_curve(measure, options.seconds, SHORT / len(instances))
        curves[name] = curve
        tqdm.write(
            f"{name:<26}{100 * (curve.cost[-1] / optimum - 1):6.2f} %  "
            f"{curve.cost[-1]:.4f}  {1000 * curve.seconds[-1]:8.2f} ms per instance"
        )
        sys.stdout.flush()
        save(PARTIAL)
        ended.append(name)
    save(COMPLETE)
    for suffix in ("csv", "svg"):
        (options.output / f"{PARTIAL}.{suffix}").unlink()
    print(f"written: {options.output}: {COMPLETE}.csv, {COMPLETE}.svg")


def median_curve(measure: Callable[[float], Curve], seconds: float, early: float) -> Curve:
    """A search's first part is measured several times, what is after it once.

    All searches begin with the same greedy tours, whose time is so short that a single measurement
    would set them apart.

    Args:
        measure: the curve up to so many seconds per instance.
        seconds: per instance, of the whole.
        early: likewise, of the first part.

    Returns:
        The costs of the whole curve. The times are medians as far as all measurements found the
        same costs, then those of the whole, moved to begin where the medians end.
    """
    from vrp.evaluation.anytime import Curve

    full = measure(seconds)
    found = [full, *(measure(min(seconds, early)) for _ in range(REPEATS - 1))]
    count = min(len(curve.cost) for curve in found)
    alike = np.all([curve.cost[:count] == full.cost[:count] for curve in found], 0)
    count = int(np.argmin(np.append(alike, False)))
    if not count:
        return full
    times = np.median([curve.seconds[:count] for curve in found], 0)
    moved = full.seconds[count:] + (times[-1] - full.seconds[count - 1])
    return Curve(np.concatenate([times, moved]), full.cost)


def all_searches() -> dict[str, Search]:
    """What is compared, by the name in the figure; those without an end are ended by time."""
    from vrp.search import Augment, Beam, Eas, Greedy, Multistart, Sampling, Sgbs

    return {
        "greedy": Greedy(),
        "multi-start": Multistart(),
        "multi-start x 8": Augment(multistart=True),
        "sampling": Sampling(10**6),
        "beam 10": Beam(10),
        "beam 50": Beam(50),
        "SGBS (4, 4)": Sgbs(symmetries=1),
        "SGBS (4, 4) x 8": Sgbs(),
        "EAS": Eas(10**6, symmetries=1),
        "EAS x 8": Eas(10**6),
    }


def write(curves: dict[str, Curve], optimum: float, described: list, path: Path) -> None:
    """A row for each time at which a search found something.

    Args:
        curves: by the search's name.
        optimum: mean reference cost.
        described: checkpoint, set, instances and batch size.
        path: of the file.
    """
    from vrp.whole_file import whole_file

    with whole_file(path, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(
            ["checkpoint", "data", "instances", "batch_size",
             "search", "seconds_per_instance", "mean_cost", "gap_percent"]
        )  # fmt: skip
        for name, curve in curves.items():
            for seconds, cost in zip(curve.seconds, curve.cost, strict=True):
                gap = 100 * (cost / optimum - 1)
                rows.writerow([*described, name, f"{seconds:.3e}", f"{cost:.5f}", f"{gap:.4f}"])


def draw(curves: dict[str, Curve], optimum: float, title: str, path: Path) -> None:
    """Gap over seconds per instance, both logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    from vrp.whole_file import whole_file

    figure = Figure(figsize=(8.4, 5), layout="constrained")
    panel = figure.subplots()
    for name, curve in curves.items():
        colour = COLOURS[name]
        gap = 100 * (curve.cost / optimum - 1)
        panel.step(curve.seconds, gap, where="post", color=colour, label=name)
        panel.plot(curve.seconds[-1], gap[-1], "o", color=colour, markersize=4)
    panel.set(
        xscale="log", yscale="log", xlabel="seconds per instance",
        ylabel="gap to the near-optimal reference (%)", title=title,
    )  # fmt: skip
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5, 7)))
    panel.yaxis.set_minor_formatter("{x:g}")
    panel.grid(which="both", alpha=0.25)
    panel.legend(fontsize=8)
    with whole_file(path) as file:
        figure.savefig(file, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    settle_heap()
    sys.exit(main())
