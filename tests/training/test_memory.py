"""What training steps hold in memory at the larger sizes of the papers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def peak_after(steps: int, experiment: str) -> float:
    """GB that this process held at most, after training steps as `experiment` makes them."""
    import torch
    from runs import composed

    from scripts.memory import peak_memory
    from vrp.training.build import build_generator, build_learner
    from vrp.training.step import TrainingStep, make_optimizer

    config = composed(f"experiment={experiment}", "device=cpu")
    generator = build_generator(config)
    learner = build_learner(config, generator)
    learner.policy.initialise(0)
    optimizer = make_optimizer(config, learner)
    train = TrainingStep(config, generator, learner, optimizer, torch.device("cpu"))
    for step in range(steps):
        train(step, step * config["batch_size"])
    return peak_memory()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks are counted otherwise")
@pytest.mark.parametrize(
    ("experiment", "steps", "most"),
    [
        ("pomo50", 2, 1.0),  # measured: 0.9
        ("pomo100", 1, 5.0),  # measured: 3.5
    ],
)
def test_a_batch_of_pomo_fits(experiment, steps, most):
    """A tour from each customer of each of 64 instances, in GB, with the heap as train.py has it.

    On one thread, as the number of threads changes it a little.
    """
    found = subprocess.run(
        [sys.executable, __file__, experiment, str(steps)], stdout=subprocess.PIPE, text=True,
        check=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert float(found.stdout) < most


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

    from scripts.heap import settle_heap

    settle_heap()
    print(peak_after(int(sys.argv[2]), sys.argv[1]))
