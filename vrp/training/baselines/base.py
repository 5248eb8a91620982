"""The interface: what the cost of an instance is expected to be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from vrp.policy.base import Encoding, Policy
from vrp.policy.initialisation import initialise_layers
from vrp.problem import InstanceGenerator
from vrp.problem.instances import Instances


class Baseline(nn.Module, ABC):
    """Expected cost of an instance, and a loss for the parameters it may have.

    Attributes:
        allows_leader: whether `leader_weight` may be other than 1, as the shortest tour of an
            instance is never longer than expected.
    """

    allows_leader = False

    def check(self, policy: Policy, num_rollouts: int) -> None:
        """Raise a ValueError if the baseline cannot work with the policy or K = `num_rollouts`."""

    def begin(self, policy: Policy, generator: InstanceGenerator, seed: int) -> None:
        """Told once, before training or resuming, what will be trained on what."""

    def initialise(self, seed: int, policy: Policy) -> None:
        """Set every parameter from `seed` and its name; only a copy looks at `policy`."""
        initialise_layers(self, "glorot", seed, "baseline.")

    def compile_kernels(self) -> None:
        """Told when the policy's inner loops are fused."""

    def after_step(
        self, policy: Policy, instances: int, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """Told after every training step, and before the first of a resumed run.

        Args:
            policy: the acting policy.
            instances: seen in all.
            stopped: whether the run is to end; what takes long is then left for its next piece.
        """

    def is_due(self, instances: int) -> bool:
        """Whether a stop has left something of `after_step` undone, so many instances on."""
        return False

    def caution(self, max_instances: int) -> str | None:
        """Why a run of so many instances never gets to what the baseline is for; None if it does.

        A line, which names the values found and the key to change.
        """
        return None

    def scalars(self) -> dict[str, float]:
        """What TensorBoard shows of it."""
        return {}

    def end_warmup(self) -> None:
        """Work from now on as after any first epochs of another kind; for measurements."""

    @abstractmethod
    def forward(
        self, policy: Policy, encoding: Encoding, instances: Instances, cost: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Expected cost (N, K) or (N, 1), without gradient, and the baseline's own loss, ().

        Args:
            policy: the acting policy.
            encoding: of the instances, detached: no baseline trains the policy.
            instances: N problems.
            cost: (N, K) float32, of the sampled tours.
        """
