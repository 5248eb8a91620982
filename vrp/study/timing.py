"""Times the study's training step with each encoder, the encoders in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn
from tqdm import tqdm

from vrp.policy.base import Policy
from vrp.problem.random_numbers import named_generator
from vrp.study.steps import StepTime
from vrp.training.build import build_generator, build_learner
from vrp.training.learner import Learned
from vrp.training.step import TrainingStep, make_optimizer

_WARMUP = 3  # turns that are not counted
_LAST = ("pointer_vector", "combine")  # layers without whose output all nodes score alike


@dataclass(frozen=True)
class Timed:
    """What one encoder does in a turn."""

    step: Callable[[], tuple[Learned, Tensor]]  # a whole training step, as `TrainingStep`
    alone: Callable[[], None]  # the encoder, forward and backward


def time_steps(problem: str, configs: Mapping[str, dict], turns: int) -> list[StepTime]:
    """The training step of each config, compiled where that is possible.

    All policies choose uniformly and stay as they are, so that with the same random
    numbers they play the same tours: only the encoder differs.

    Args:
        problem: as runs.csv names it.
        configs: plain and complete, by the name of their encoder.
        turns: of each encoder.

    Raises:
        ValueError: without a config.
    """
    if not configs:
        raise ValueError(f"there is no config to time the steps of {problem} with")
    timed = {name: make_timed(config) for name, config in configs.items()}
    order, found = list(timed), []
    for turn in tqdm(range(-_WARMUP, turns), f"steps of {problem}", leave=False, disable=None):
        first = turn % len(order)
        for name in order[first:] + order[:first]:  # so that no encoder always follows the same one
            work = timed[name]
            step, alone = _milliseconds(work.step), _milliseconds(work.alone)
            if turn >= 0:
                found.append(
                    StepTime(
                        problem, name, turn, configs[name]["batch_size"],
                        configs[name]["num_rollouts"], step, alone, torch.get_num_threads(), "cpu",
                        str(torch.__version__),
                    )
                )  # fmt: skip
    return found


def make_timed(config: dict) -> Timed:
    """A policy that chooses uniformly and stays as it is; `config` is plain and complete."""
    config = config | {"learning_rate": 0.0, "weight_decay": 0.0}
    generator = build_generator(config)
    learner = build_learner(config, generator).train()
    learner.policy.initialise(config["seed"])
    learner.baseline.initialise(config["seed"], learner.policy)
    _let_choose_uniformly(learner.policy)
    learner.compile_kernels()
    step = TrainingStep(
        config, generator, learner, make_optimizer(config, learner), torch.device("cpu")
    )
    numbers, policy = count(), learner.policy
    points = generator(config["batch_size"], named_generator(0, "points")).coordinates()
    gradient = torch.ones(*points.shape[:2], policy.encoder.embedding_dim)

    def once() -> tuple[Learned, Tensor]:
        number = next(numbers)
        return step(number, number * config["batch_size"])

    return Timed(once, lambda: policy.embed(points).backward(gradient))


def _let_choose_uniformly(policy: Policy) -> None:
    for name in _LAST:
        layer: nn.Linear | None = getattr(policy, name, None)
        if layer is not None:
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)


def _milliseconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return round(1000 * (time.perf_counter() - begun), 4)
