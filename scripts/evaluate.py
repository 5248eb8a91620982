"""Measure a checkpoint: `python scripts/evaluate.py checkpoint=PATH data=kool20 decode=beam`."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/evaluate.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.heap import settle_heap  # noqa: E402

if __name__ == "__main__":
    settle_heap()  # before the imports that take time

from scripts.launcher import Job, launch  # noqa: E402
from scripts.schema import EvaluateConfig  # noqa: E402

if TYPE_CHECKING:
    from vrp.evaluation.evaluate import Evaluation


def prepare(job: Job) -> Callable[[], int]:
    """Load and check all that the config names; nothing is solved yet."""
    from vrp.evaluation.evaluate import make_evaluation

    return partial(work, make_evaluation(job.config), job.overridden)


def work(evaluation: "Evaluation", typed: tuple[str, ...]) -> int:
    """Solve, write, and print the result; the exit code. `typed` are the keys that were given."""
    from vrp.evaluation.following import following
    from vrp.evaluation.printed import caution, report

    if evaluation.outside:
        print(f"caution: {caution(evaluation.outside)}", file=sys.stderr, flush=True)
    outcome = evaluation.run()
    summary = evaluation.summary(outcome)
    folder, written = evaluation.write(outcome.solution, summary)
    starts_anywhere = evaluation.trained.policy.starts_anywhere
    after = following(summary, evaluation.search, evaluation.config, starts_anywhere, typed)
    print(report(summary, folder, written, after))
    if outcome.exit_code == 1:
        print(f"stopped: {outcome.ended}", file=sys.stderr, flush=True)
    return outcome.exit_code


if __name__ == "__main__":
    launch(prepare, EvaluateConfig, "evaluate")
