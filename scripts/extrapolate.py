"""Take weights further the way they went: `python scripts/extrapolate.py EARLIER LATER NAME`.

EARLIER and LATER are checkpoints of one training, or of two where the second began with the weights
of the first. For each factor f the weights are EARLIER + f (LATER - EARLIER), so 1 is LATER itself.
The factor whose tours are the shortest on LATER's validation set is kept, in a folder that
evaluate.py, start_from= and release.py take as a run's (Zheng et al. 2025, arXiv 2404.16792,
section 2: model extrapolation).
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/extrapolate.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.arguments import above_zero, whole  # noqa: E402
from scripts.cores import Reading, choose_waiting  # noqa: E402
from scripts.heap import settle_heap  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

FACTORS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5)
DECODES = ("greedy", "multistart", "augment")


def main(arguments: list[str] | None = None) -> int:
    """Print the cost of each factor and write OUTPUT/NAME; 2 and one line if the input is bad."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("earlier", help="run folder, checkpoint file or released model")
    parser.add_argument("later", help="likewise")
    parser.add_argument("name", help="of the folder that is written")
    parser.add_argument(
        "--factors", type=above_zero(), nargs="+", default=FACTORS, metavar="F",
        help=f"to choose from (default: {' '.join(f'{factor:g}' for factor in FACTORS)})",
    )  # fmt: skip
    parser.add_argument(
        "--decode", choices=DECODES, default="augment", help="of the choice (default: augment)"
    )
    parser.add_argument("--threads", type=whole(1), help="of the CPU")
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="default: outputs")
    options = parser.parse_args(arguments)
    choose_waiting(Reading.now())
    try:
        extrapolate(options)
    except (OSError, ValueError) as error:
        print(f"not extrapolated: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing is written", file=sys.stderr)
        return 130
    return 0


def extrapolate(options: argparse.Namespace) -> None:
    """Measure each factor, keep the best, and write what a run would leave.

    Raises:
        OSError, ValueError: if a checkpoint cannot be read, the two do not fit together, or the
            folder exists.
    """
    from vrp.evaluation.trained import find_checkpoint, load_trained
    from vrp.training import run_files
    from vrp.training.build import build_generator
    from vrp.training.checkpoint import load_checkpoint, save_checkpoint
    from vrp.training.compilation import use_kept_kernels
    from vrp.training.device import set_up_device
    from vrp.training.progress import Progress
    from vrp.training.start import some, unlike
    from vrp.training.validation import make_validation

    begun = time.perf_counter()
    folder = options.output / options.name
    if folder.exists():
        raise ValueError(f"{folder} exists; choose another name, or remove it")
    device = set_up_device("auto", options.threads)
    earlier, later = (
        load_trained(*find_checkpoint(name, key))
        for name, key in ((options.earlier, "EARLIER"), (options.later, "LATER"))
    )
    if wrong := unlike(later.policy, earlier.policy):
        raise ValueError(f"{options.earlier} and {options.later} are not alike: {some(wrong)}")
    first, last = (
        {name: weight.detach().clone() for name, weight in trained.policy.named_parameters()}
        for trained in (earlier, later)
    )
    config = load_checkpoint(later.file)["config"]
    chosen = config.get("validation")
    if chosen is None:
        raise ValueError(f"LATER: {options.later} names no validation set to choose the factor on")
    validation = make_validation(
        build_generator(config), chosen["set"], chosen["limit"], chosen["decode"]
    )
    asked = replace(validation, decode=options.decode)
    policy = later.policy.to(device)
    use_kept_kernels(policy, device)
    costs = {}
    print(f"{options.decode} on the first {chosen['limit']:,} of {validation.name}")
    for factor in dict.fromkeys(options.factors):
        policy.load_state_dict(between(first, last, factor), strict=False)  # no statistics
        solution = asked(policy, device)
        costs[factor] = solution.cost.mean().item()
        gap = validation.gap(solution)
        shown = "" if gap is None else f"  {gap:6.3f} %"
        print(f"factor {factor:<6g}{costs[factor]:.5f}{shown}", flush=True)
    best = min(costs, key=costs.__getitem__)
    policy.load_state_dict(between(first, last, best), strict=False)
    solution = validation(policy, device)
    cost, gap = solution.cost.mean().item(), validation.gap(solution)
    origin = {
        "name": options.later,
        "sha256": later.sha256,
        "instances": later.instances,
        "extrapolated": {
            "from": options.earlier,
            "sha256": earlier.sha256,
            "factor": best,
            "tried": list(costs),
            "decode": options.decode,
        },
    }
    seconds = time.perf_counter() - begun
    progress = Progress(seconds=seconds, best_cost=cost, validated_step=0)
    rounding = validation.rounding(policy, device, solution)
    found = run_files.provenance(policy, device, rounding, origin)
    folder.mkdir(parents=True)
    kept = run_files.policy_content(config, progress, policy.cpu(), found)
    save_checkpoint(folder / "best.pt", kept)
    row = run_files.Row.of(progress, cost, gap)
    lines = [run_files.COLUMNS, row.texts().values()]
    run_files.write_metrics(folder / "metrics.csv", lines)
    run_files.write_summary(folder, progress, validation, policy, found)
    print(f"written:    {folder}, factor {best:g}; its {chosen['decode']} cost is {cost:.5f}")
    print(f"to measure: python scripts/evaluate.py checkpoint={folder} data=...")


def between(first: dict[str, Tensor], last: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    """Weights on the straight line through two, at 0 the first and at 1 the last."""
    return {name: held + factor * (last[name] - held) for name, held in first.items()}


if __name__ == "__main__":
    settle_heap()
    sys.exit(main())
