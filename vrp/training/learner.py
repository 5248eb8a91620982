"""One step of learning as one ordinary forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vrp.policy.base import Policy, Tape
from vrp.policy.choice import Choice
from vrp.problem.environment import max_steps
from vrp.problem.instances import Instances
from vrp.problem.tours import tour_length
from vrp.search.rollout import rollout
from vrp.search.starts import each_customer
from vrp.training.baselines.base import Baseline
from vrp.training.reinforce import advantage, emphasise_leader, reinforce_loss


@dataclass(frozen=True)
class Learned:
    """What one forward pass found.

    Attributes:
        loss: () with gradient, of policy and baseline together.
        cost: (N, K) float32 of the sampled tours.
        advantages: (N, K), before any is weighed.
        entropy: () mean over the open steps, in nats.
        baseline_loss: ().
    """

    loss: Tensor
    cost: Tensor
    advantages: Tensor
    entropy: Tensor
    baseline_loss: Tensor


@dataclass(frozen=True)
class Draws:
    """The random numbers of one step.

    Attributes:
        uniforms: (T, N, K) float32 in [0, 1), T = `max_steps`, that choose the actions.
        dropout_mask: (N, K, M), or None.
    """

    uniforms: Tensor
    dropout_mask: Tensor | None

    def to(self, device: torch.device) -> Draws:
        """The same numbers on `device`."""
        mask = self.dropout_mask
        return Draws(self.uniforms.to(device), None if mask is None else mask.to(device))


class Learner(nn.Module):
    """Encodes with gradient, plays without, replays with gradient.

    Args:
        policy: learns to act.
        baseline: learns, or knows, what to expect.
        num_rollouts: K solutions per instance.
        multistart: let each of them begin with another customer (Kwon et al. 2020), which takes
            K of them at most. Fewer are the first K: generators give customers no order.
        leader_weight: of the advantage of each instance's shortest tour (Wang et al. 2024).
        entropy_weight: of the mean entropy of a step, in nats, taken from the loss.

    Raises:
        ValueError: if the baseline cannot work with that policy or that K, or if a leader would
            be pushed down.
    """

    def __init__(
        self,
        policy: Policy,
        baseline: Baseline,
        num_rollouts: int,
        multistart: bool = False,
        *,
        leader_weight: float = 1.0,
        entropy_weight: float = 0.0,
    ) -> None:
        super().__init__()
        baseline.check(policy, num_rollouts)
        if leader_weight != 1 and not baseline.allows_leader:
            raise ValueError(
                f"leader_weight is {leader_weight:g}; it must be 1 unless baseline=shared, since "
                "beside another baseline even the shortest tour may be worse than expected"
            )
        self.policy = policy
        self.baseline = baseline
        self.num_rollouts = num_rollouts
        self.multistart = multistart
        self.leader_weight = leader_weight
        self.entropy_weight = entropy_weight
        self._tape: Tape | None = None  # of the last pass, whose backward pass is over

    def compile_kernels(self) -> None:
        """Fuse the inner loops from the next call on."""
        self.baseline.compile_kernels()
        self.policy.compile_kernels()

    def draw(self, instances: Instances, generator: torch.Generator) -> Draws:
        """The random numbers for one pass over CPU `instances`, from a CPU generator."""
        n, k = len(instances), self.num_rollouts
        uniforms = torch.rand(max_steps(instances), n, k, generator=generator)
        return Draws(uniforms, self.policy.dropout_mask(n, k, generator))

    def forward(
        self, instances: Instances, draws: Draws, lap: Callable[[str], None] = lambda part: None
    ) -> Learned:
        """Sample K tours of each instance and weigh their log-probabilities.

        Args:
            instances: N problems, on the device.
            draws: for just these.
            lap: told the name of each part as it ends, for measurements.
        """
        encoding = self.policy.encode(instances)
        fixed = encoding.detach()
        lap("encode")
        most = len(draws.uniforms)
        tape = self.policy.new_tape(fixed, self.num_rollouts, most, self._tape)
        self._tape = tape
        actions = rollout(
            self.policy,
            instances,
            fixed,
            self.num_rollouts,
            Choice(draws.uniforms),
            each_customer(instances)[:, : self.num_rollouts] if self.multistart else None,
            draws.dropout_mask,
            tape,
        )
        cost = tour_length(instances, actions).float()
        lap("rollout")
        expected, baseline_loss = self.baseline(self.policy, fixed, instances, cost)
        advantages = advantage(cost, expected)
        lap("baseline")
        replay = self.policy.log_probs(
            encoding, instances, actions, int(self.multistart), draws.dropout_mask, tape
        )
        weighed = emphasise_leader(advantages, cost, self.leader_weight)
        loss = reinforce_loss(weighed, replay.log_prob.sum(-1)) + baseline_loss
        entropy = replay.entropy.sum() / replay.counted.sum().clamp(min=1)
        if self.entropy_weight:
            loss = loss - self.entropy_weight * entropy
        learned = Learned(
            loss=loss,
            cost=cost,
            advantages=advantages,
            entropy=entropy.detach(),
            baseline_loss=baseline_loss.detach(),
        )
        lap("replay")
        return learned
