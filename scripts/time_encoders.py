"""What the encoder's layer changes in a training step: `python scripts/time_encoders.py`.

The encoders take turns, on a machine that should do nothing else. With `--output`, every turn goes
to a file; as `steps.csv` in a report's folder it is part of the report. Until the last case is
timed the file is called `steps.csv.partial`, so a complete one stays until another is complete.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vrp.study.steps import StepTime

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/time_encoders.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.arguments import whole  # noqa: E402
from scripts.cores import Reading, choose_waiting  # noqa: E402
from scripts.heap import settle_heap  # noqa: E402
from scripts.study_configs import CASES, encoder_configs  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Time, print, and write; 2 and one line if the file cannot be written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "cases", nargs="*", default=[*CASES], metavar="CASE",
        help=f"{', '.join(CASES)}; all unless given",
    )  # fmt: skip
    parser.add_argument("--turns", type=whole(20), default=300, help="of each encoder, at least 20")
    parser.add_argument("--threads", type=whole(1), help="of the CPU; all unless given")
    parser.add_argument("--output", type=Path, help="a file for every turn")
    options = parser.parse_args(arguments)
    for case in options.cases:
        if case not in CASES:
            parser.error(f"CASE is {case}; allowed: {', '.join(CASES)}")
    choose_waiting(Reading.now())
    from vrp.study.steps import write_steps
    from vrp.study.timing import time_steps
    from vrp.training.device import set_up_device

    try:
        set_up_device("cpu", options.threads)
        if options.output:
            if options.output.is_dir():
                raise ValueError(f"--output is {options.output}, a folder; it must be a file")
            options.output.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=options.output.parent):
                pass
    except (OSError, ValueError) as error:
        print(f"not timed: {error}", file=sys.stderr)
        return 2
    steps: list[StepTime] = []
    partial = options.output and options.output.with_name(f"{options.output.name}.partial")
    try:
        for case in options.cases:
            found = time_steps(case, encoder_configs(CASES[case]), options.turns)
            _print(found)
            steps += found
            if options.output:
                write_steps(partial, steps)
    except KeyboardInterrupt:
        kept = (
            f"{partial} has the cases before" if options.output and steps else "nothing is written"
        )
        print(f"interrupted; {kept}", file=sys.stderr)
        return 130
    if options.output:
        partial.replace(options.output)
        print(f"turns: {options.output}")
    return 0


def _print(steps: list[StepTime]) -> None:
    from vrp.study.steps import summarised

    first = steps[0]
    print(
        f"{first.problem}, batch {first.batch_size}, {first.num_rollouts} tours, "
        f"threads: {first.threads}; medians"
    )
    for timed in summarised(steps):
        line = f"{timed.encoder:10} step {timed.step_ms:6.1f} ms"
        line += f", encoder alone {timed.encoder_ms:5.2f} ms"
        if timed.speed is not None:
            line += f", speed {timed.speed.value:.3f} of linear's"
            line += f" ({timed.speed.low:.3f} to {timed.speed.high:.3f})"
        print(line)


if __name__ == "__main__":
    settle_heap()
    sys.exit(main())
