"""The greedy rollout: tours of a copy of the policy."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

from vrp.policy.base import Encoding, Policy, evaluating
from vrp.problem import InstanceGenerator
from vrp.problem.instances import Instances
from vrp.problem.random_numbers import named_generator
from vrp.problem.tours import tour_length
from vrp.search.deterministic import Stopped, at_once, solve
from vrp.search.rollout import greedy_choice, rollout
from vrp.training.baselines.averages import ExponentialBaseline
from vrp.training.baselines.base import Baseline


class RolloutBaseline(Baseline):
    """The greedy tour of a copy of the policy from an earlier time.

    After every epoch the policy and its copy solve the same instances greedily. If the policy is
    better and a one-sided paired t-test says so, it becomes the copy, and the next comparisons
    use other instances. In the first epochs, while there is nothing to copy, a moving average of
    the costs stands in. Where these epochs are several, the code of Kool et al. mixes the two by
    rising parts; their runs have one. The number of instances is large, so the test takes the
    normal distribution in the place of Student's.

    Instances are solved when a comparison is due: those of the copy, unless they are known from the
    comparison before, then with the policy, and with it the next ones where it is better. What a
    stop leaves undone the run's next piece goes on with; costs that are not known are NaN.

    Args:
        epoch_instances: training instances of an epoch (paper: 1,280,000).
        eval_instances: instances of a comparison, at least 100 (paper: 10,000).
        significance: of the test, in (0, 1) (paper: 0.05).
        warmup_epochs: epochs of the moving average (code: 1).
        decay: of the moving average, in [0, 1) (code: 0.8).

    Raises:
        ValueError: for a value out of range; names it and what is allowed.

    Source: Kool et al. (2019), section 4 and algorithm 1; the moving average is in their code.
    """

    def __init__(
        self,
        epoch_instances: int = 1_280_000,
        eval_instances: int = 10_000,
        significance: float = 0.05,
        warmup_epochs: int = 1,
        decay: float = 0.8,
    ) -> None:
        super().__init__()
        if epoch_instances < 1:
            raise ValueError(f"epoch_instances is {epoch_instances}; it must be at least 1")
        if eval_instances < 100:
            raise ValueError(f"eval_instances is {eval_instances}; it must be at least 100")
        if not 0 < significance < 1:
            raise ValueError(f"significance is {significance}; it must be in (0, 1)")
        if warmup_epochs < 0:
            raise ValueError(f"warmup_epochs is {warmup_epochs}; it must not be negative")
        self.epoch_instances = epoch_instances
        self.eval_instances = eval_instances
        self.significance = significance
        self.warmup_epochs = warmup_epochs
        self.average = ExponentialBaseline(decay)
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))
        self.register_buffer("replaced", torch.zeros((), dtype=torch.int64))
        for name in ("costs", "challenge", "following"):  # of copy, policy, policy as the next copy
            unknown = torch.full((eval_instances,), math.nan, dtype=torch.float64)
            self.register_buffer(name, unknown)
        self.register_buffer("p_value", torch.tensor(math.nan, dtype=torch.float64))
        # A number beside the buffer of a checkpoint: reading a buffer waits for the device.
        self._epochs = 0
        self.register_load_state_dict_post_hook(_read_epochs)

    def begin(self, policy: Policy, generator: InstanceGenerator, seed: int) -> None:
        """Take the copy; its weights are set by `initialise`, or by those of a checkpoint."""
        self.copy = copy.deepcopy(policy).requires_grad_(False)
        self._generator, self._seed = generator, seed

    def initialise(self, seed: int, policy: Policy) -> None:
        """Let the copy start where the policy starts."""
        self.copy.load_state_dict(policy.state_dict())

    def forward(
        self, policy: Policy, encoding: Encoding, instances: Instances, cost: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Baseline.forward`; no loss."""
        if self._epochs < self.warmup_epochs:
            return self.average(policy, encoding, instances, cost)
        return self._greedy(self.copy, instances).float(), cost.new_zeros(())

    def compile_kernels(self) -> None:
        """Fuse those of the copy."""
        self.copy.compile_kernels()

    def after_step(
        self, policy: Policy, instances: int, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """At the end of an epoch, let the policy replace its copy if it is better."""
        if not self.is_due(instances):
            return
        comparison = int(self.replaced)
        try:
            self._solve(self.copy, comparison, self.costs, stopped)
            self._solve(policy, comparison, self.challenge, stopped)
            is_better = self.is_better(self.challenge, self.costs)
            if is_better:
                self._solve(policy, comparison + 1, self.following, stopped)
        except Stopped:
            return
        self._set_epochs(instances // self.epoch_instances)
        if is_better:
            self.copy.load_state_dict(policy.state_dict())
            self.replaced += 1
            self.costs.copy_(self.following)
        self.challenge.fill_(math.nan)
        self.following.fill_(math.nan)

    def is_due(self, instances: int) -> bool:
        """Whether the policy has not been compared since the end of the last epoch."""
        return instances // self.epoch_instances > self._epochs

    def caution(self, max_instances: int) -> str | None:
        """As `Baseline.caution`: where the run is over before the epochs of the moving average."""
        warmup = self.warmup_epochs * self.epoch_instances
        if max_instances > warmup:
            return None
        return (
            f"max_instances is {max_instances} and the warm-up of baseline=rollout takes {warmup}: "
            "a moving average stands in to the end; a smaller baseline.epoch_instances ends it "
            "earlier"
        )

    def scalars(self) -> dict[str, float]:
        """Whether its copy is in use, how often it was replaced, and what the last test said."""
        shown = {
            "baseline/is_copy": float(self._epochs >= self.warmup_epochs),
            "baseline/replaced": float(self.replaced),
        }
        found = {"baseline/copy_cost": self.costs.mean().item(), "baseline/p": self.p_value.item()}
        return shown | {name: value for name, value in found.items() if not math.isnan(value)}

    def end_warmup(self) -> None:
        """Leave the epochs of the moving average behind."""
        self._set_epochs(max(self._epochs, self.warmup_epochs))

    def is_better(self, challenger: Tensor, incumbent: Tensor) -> bool:
        """Whether the challenger's costs (n,) are lower and the paired test is significant."""
        difference = challenger - incumbent
        error = difference.std() / math.sqrt(len(difference))
        self.p_value.copy_(torch.special.ndtr(difference.mean() / error))
        return bool(difference.mean() < 0) and self.p_value.item() < self.significance

    def _set_epochs(self, epochs: int) -> None:
        self._epochs = epochs
        self.epochs.fill_(epochs)

    def _solve(
        self, policy: Policy, comparison: int, costs: Tensor, stopped: Callable[[], bool]
    ) -> None:
        """Fill in the greedy costs of a comparison's instances, piece by piece, where unknown.

        Raises:
            Stopped: as soon as `stopped` says so; the costs then hold what is known.
        """
        known = costs.cpu().isfinite()
        if known.all():
            return
        name = f"rollout-baseline/{comparison}"
        instances = self._generator(self.eval_instances, named_generator(self._seed, name))
        piece = at_once(instances.num_nodes)
        for some in (slice(start, start + piece) for start in range(0, len(instances), piece)):
            if not known[some].all():
                found = solve(policy, instances[some], "greedy", costs.device, stopped)
                costs[some] = found.cost.to(costs.device)

    @torch.no_grad()
    def _greedy(self, policy: Policy, instances: Instances) -> Tensor:
        with evaluating(policy):
            encoding = policy.encode(instances)
            actions = rollout(policy, instances, encoding, 1, greedy_choice)
        return tour_length(instances, actions)


def _read_epochs(baseline: RolloutBaseline, _: object) -> None:
    baseline._epochs = int(baseline.epochs)
