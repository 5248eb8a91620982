"""Gap against seconds of every search: `python scripts/compare_searches.py CHECKPOINT SET`.

Writes searches.csv and searches.svg: for each search the gap to the near-optimal reference after
so many seconds per instance, all instances solved side by side on this machine.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/compare_searches.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.cores import Reading, choose_waiting  # noqa: E402

if TYPE_CHECKING:
    from vrp.evaluation.anytime import Curve


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, print; 2 and one line if the input is bad."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="file, run folder or released name")
    parser.add_argument("data", help="standard set with reference costs: kool20, ...")
    parser.add_argument("--limit", type=int, default=1000, help="instances (default: 1000)")
    parser.add_argument("--batch-size", type=int, default=250, help="solved at once (default: 250)")
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="per instance and search (default: 0.3)"
    )
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("outputs", "searches"))
    options = parser.parse_args(arguments)
    choose_waiting(Reading.now())
    try:
        compare(options)
    except (OSError, ValueError) as error:
        print(f"not compared: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def compare(options: argparse.Namespace) -> None:
    """Measure each search, and write both files.

    Raises:
        OSError, ValueError: if the input cannot be used.
    """
    from vrp.evaluation.anytime import anytime_curve
    from vrp.evaluation.fixed import fixed_instances
    from vrp.evaluation.trained import find_checkpoint, load_trained
    from vrp.search import Augment, Beam, Eas, Greedy, Multistart, Sampling, Sgbs
    from vrp.training.device import choose_device
    from vrp.training.memory import keep_freed_memory

    keep_freed_memory()
    device = choose_device("auto", options.threads)
    trained = load_trained(*find_checkpoint(options.checkpoint))
    fixed = fixed_instances(options.data, options.limit, None, False)
    known = fixed.reference()
    if known is None or len(known.cost) < len(fixed.instances):
        raise ValueError(f"{options.data} has no reference costs of {options.limit} instances")
    optimum = float(known.cost[: len(fixed.instances)].mean())
    searches = {
        "greedy": Greedy(),
        "multi-start": Multistart(),
        "symmetries": Augment(),
        "sampling": Sampling(10**6),
        "beam 10": Beam(10),
        "beam 50": Beam(50),
        "SGBS (4, 4)": Sgbs(),
        "SGBS (4, 4), symmetries": Sgbs(symmetries=8),
        "EAS": Eas(10**6, symmetries=1),
        "EAS, symmetries": Eas(10**6),
    }
    policy, instances = trained.policy.to(device), fixed.instances.to(device)
    curves = {}
    for name, search in searches.items():
        curve = anytime_curve(
            search, policy, instances, options.batch_size, options.seed, options.seconds
        )
        curves[name] = curve
        print(
            f"{name:<26}{100 * (curve.cost[-1] / optimum - 1):6.2f} %  "
            f"{curve.cost[-1]:.4f}  {1000 * curve.seconds[-1]:8.2f} ms per instance",
            flush=True,
        )
    options.output.mkdir(parents=True, exist_ok=True)
    with open(options.output / "searches.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["search", "seconds_per_instance", "mean_cost", "gap_percent"])
        for name, curve in curves.items():
            for seconds, cost in zip(curve.seconds, curve.cost, strict=True):
                gap = 100 * (cost / optimum - 1)
                rows.writerow([name, f"{seconds:.3e}", f"{cost:.5f}", f"{gap:.4f}"])
    draw(curves, optimum, options.output / "searches.svg")
    print(f"written: {options.output}: searches.csv, searches.svg")


def draw(curves: dict[str, Curve], optimum: float, path: Path) -> None:
    """Gap over seconds per instance, both logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(8.4, 5), layout="constrained")
    panel = figure.subplots()
    colours = ("#000000", "#E69F00", "#D55E00", "#56B4E9", "#999999", "#666666",
               "#009E73", "#006D50", "#CC79A7", "#0072B2")  # fmt: skip
    for (name, curve), colour in zip(curves.items(), colours, strict=True):
        gap = 100 * (curve.cost / optimum - 1)
        panel.step(curve.seconds, gap, where="post", color=colour, label=name)
        panel.plot(curve.seconds[-1], gap[-1], "o", color=colour, markersize=4)
    panel.set(
        xscale="log", yscale="log", xlabel="seconds per instance",
        ylabel="gap to the near-optimal reference (%)",
    )  # fmt: skip
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5, 7)))
    panel.yaxis.set_minor_formatter("{x:g}")
    panel.grid(which="both", alpha=0.25)
    panel.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
