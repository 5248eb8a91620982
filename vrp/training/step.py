"""One training step, from random numbers to moved weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vrp.problem import InstanceGenerator
from vrp.problem.random_numbers import named_generator
from vrp.training.learner import Learned, Learner


def make_optimizer(config: dict, learner: Learner) -> torch.optim.Optimizer:
    """Adam over all that learns."""
    parameters = [p for p in learner.parameters() if p.requires_grad]
    return torch.optim.Adam(
        parameters, config["learning_rate"], weight_decay=config["weight_decay"], fused=True
    )


def learning_rate(config: dict, instances: int) -> float:
    """Of the step after so many training instances; no function of time."""
    rate = config["learning_rate"]
    done = instances / config["decay_instances"]
    decay = config["learning_rate_decay"]
    if decay == "linear":
        return rate * max(0.0, 1 - done)
    if decay == "steps":
        passed = sum(done >= at for at in config["learning_rate_steps"])
        return rate * config["learning_rate_factor"] ** passed
    return rate


def check_weights(module: nn.Module) -> None:
    """Raise a FloatingPointError where a weight is no finite number."""
    sums = torch.stack([p.detach().sum() for p in module.parameters()])
    if not sums.isfinite().all():
        raise FloatingPointError("a weight is not finite")


class TrainingStep:
    """Draws instances, lets the learner play them, and moves the weights.

    The random numbers of step s come from generators made from (seed, purpose, s) alone.

    Args:
        config: plain and complete, as `configs/config.yaml` composes it.
        generator: of the instances.
        learner: on the device.
        optimizer: of the learner.
        device: where to train.
    """

    def __init__(
        self,
        config: dict,
        generator: InstanceGenerator,
        learner: Learner,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
    ) -> None:
        self.config = config
        self.generator = generator
        self.learner = learner
        self.optimizer = optimizer
        self.device = device

    def __call__(
        self,
        step: int,
        seen: int,
        lap: Callable[[str], None] = lambda part: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> tuple[Learned, Tensor]:
        """Train once.

        Args:
            step: number of steps before.
            seen: number of training instances before.
            lap: told the name of each part as it ends, for measurements.
            stopped: whether the run is to end; see `Baseline.after_step`.

        Returns:
            What was found, and the norm of all gradients before they were clipped, ().

        Raises:
            FloatingPointError: if the policy's output, the loss, a gradient or a weight is not
                finite; the weights are then as before.
        """
        config, learner = self.config, self.learner
        learner.train()
        seed, batch_size = config["seed"], config["batch_size"]
        instances = self.generator(batch_size, named_generator(seed, f"instances/0/{step}"))
        draws = learner.draw(instances, named_generator(seed, f"actions/0/{step}"))
        instances, draws = instances.to(self.device), draws.to(self.device)
        lap("generate")
        try:
            learned = learner(instances, draws, lap)
        except FloatingPointError:
            check_weights(learner)  # says more, if that is why
            raise
        self.optimizer.zero_grad()
        learned.loss.backward()
        lap("backward")
        norm = self._clip_gradients()
        if not torch.isfinite(learned.loss + norm):
            raise FloatingPointError(
                f"the loss is {learned.loss.item():g}, the gradient norm {norm.item():g}; stopped "
                "before the update"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, seen)
        self.optimizer.step()
        lap("optimizer")
        learner.baseline.after_step(learner.policy, seen + batch_size, stopped)
        lap("baseline")
        return learned, norm

    def _clip_gradients(self) -> Tensor:
        """Clip as configured; the norm of all gradients before.

        `global` means one norm for the policy and one for the baseline: the critic's early
        gradients are a hundred times the policy's and would all but stop it.
        """
        limit = self.config["grad_clip"] or torch.inf
        norms = []
        for part in (self.learner.policy, self.learner.baseline):
            learning = [p for p in part.parameters() if p.grad is not None]
            alone = self.config["grad_clip_kind"] == "per_variable"
            for parameters in [[p] for p in learning] if alone else [learning]:
                if parameters:  # the norm of nothing would stand on the CPU
                    norms.append(torch.nn.utils.clip_grad_norm_(parameters, limit))
        return torch.linalg.vector_norm(torch.stack(norms))
