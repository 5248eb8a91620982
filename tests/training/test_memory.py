"""What a training step holds in memory at the largest size of the papers."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runs import composed

from vrp.training.build import build_generator, build_learner
from vrp.training.step import TrainingStep, make_optimizer

_BATCH = 64


def peak_after_step(batch_size: int) -> float:
    """GB that this process held at most, after a step of `experiment=pomo100`."""
    config = composed("experiment=pomo100", f"batch_size={batch_size}", "device=cpu")
    generator = build_generator(config)
    learner = build_learner(config, generator)
    learner.policy.initialise(0)
    optimizer = make_optimizer(config, learner)
    step = TrainingStep(config, generator, learner, optimizer, torch.device("cpu"))
    step(0, 0, stopped=lambda: False)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in other units")
def test_a_hundred_starts_of_a_hundred_customers_fit():
    """C = K = 100 in batches of 64 shall fit in 16 GB; half of that is allowed here."""
    found = subprocess.run(
        [sys.executable, Path(__file__)], capture_output=True, text=True, check=True
    )
    small, large = map(float, found.stdout.split())
    assert small + (_BATCH - 2) * (large - small) / 6 < 8


if __name__ == "__main__":
    print(peak_after_step(2), peak_after_step(8))
