"""Times the study's training step with each encoder, the encoders in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from tqdm import tqdm

from vrp.policy import PointerPolicy
from vrp.policy.encoders import Conv1dEncoder, EmbeddingEncoder, Encoder, LinearEncoder
from vrp.problem import UniformGenerator
from vrp.study.steps import StepTime
from vrp.training.baselines import SharedBaseline
from vrp.training.learner import Learner

BATCH, ROLLOUTS = 64, 8  # of the study's runs
_MADE: dict[str, Callable[[int], Encoder]] = {
    "conv1d": Conv1dEncoder,
    "linear": LinearEncoder,
    "embedding": EmbeddingEncoder,
}
_WARMUP = 3  # turns that are not counted


@dataclass(frozen=True)
class _Timed:
    """What one encoder does in a turn."""

    step: Callable[[], None]
    alone: Callable[[], None]


def time_steps(turns: int, width: int = 128) -> list[StepTime]:
    """The step of the study's default run on VRP10, compiled where that is possible.

    Args:
        turns: of each encoder.
        width: of the embeddings, M.
    """
    timed = {name: _timed(make(width), width) for name, make in _MADE.items()}
    order, found = list(timed), []
    for turn in tqdm(range(-_WARMUP, turns), "training steps", leave=False, disable=None):
        first = turn % len(order)
        for name in order[first:] + order[:first]:  # nobody is always after the same
            work = timed[name]
            step, alone = _milliseconds(work.step), _milliseconds(work.alone)
            if turn >= 0:
                found.append(
                    StepTime(
                        "vrp10", name, turn, BATCH, ROLLOUTS, step, alone,
                        torch.get_num_threads(), "cpu", torch.__version__,
                    )
                )  # fmt: skip
    return found


def _timed(encoder: Encoder, width: int) -> _Timed:
    learner = Learner(PointerPolicy(encoder, width, glimpses=0), SharedBaseline(), ROLLOUTS).train()
    learner.policy.initialise(0)
    learner.compile_kernels()
    optimizer = torch.optim.Adam(learner.parameters(), 1e-3, fused=True)
    generator = UniformGenerator(num_customers=10, capacity=20)
    random = torch.Generator().manual_seed(0)

    def step() -> None:
        instances = generator(BATCH, random)
        learned = learner(instances, learner.draw(instances, random))
        optimizer.zero_grad()
        learned.loss.backward()
        optimizer.step()

    points = generator(BATCH, random).coordinates()
    gradient = torch.ones(*points.shape[:2], width)
    return _Timed(step, lambda: encoder(points).backward(gradient))


def _milliseconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return round(1000 * (time.perf_counter() - begun), 4)
