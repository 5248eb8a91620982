"""Measure a checkpoint: `python scripts/evaluate.py checkpoint=PATH data=kool20 decode=beam`."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/evaluate.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.launcher import Job, launch  # noqa: E402
from scripts.schema import EvaluateConfig  # noqa: E402

if TYPE_CHECKING:
    from vrp.evaluation.evaluate import Evaluation


def prepare(job: Job) -> Callable[[], int]:
    """Load and check all that the config names; nothing is solved yet."""
    from vrp.evaluation.evaluate import make_evaluation
    from vrp.training.memory import keep_freed_memory

    keep_freed_memory()
    return partial(work, make_evaluation(job.config))


def work(evaluation: "Evaluation") -> int:
    """Solve, write, and print the result; the exit code."""
    from vrp.evaluation.printed import report

    solution, seconds, code = evaluation.run()
    summary = evaluation.summary(solution, seconds)
    written = evaluation.write(solution, summary)
    print(report(summary, evaluation.config, evaluation.output, written))
    return code


if __name__ == "__main__":
    launch(prepare, EvaluateConfig, "evaluate")
