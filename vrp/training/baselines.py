"""What the cost of an instance is expected to be, to subtract it from what it was."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from vrp.policy.initialisation import initialise_layers
from vrp.policy.pointer import Encoding, PointerPolicy
from vrp.problem.environment import legal_mask, reset
from vrp.problem.instances import Instances

__all__ = ["CriticBaseline", "ExponentialBaseline", "SharedBaseline"]


class Baseline(nn.Module, ABC):
    """Expected cost of an instance, and a loss for the parameters it may have."""

    def check(self, policy: PointerPolicy, num_rollouts: int) -> None:
        """Raise a ValueError if the baseline cannot work with the policy or K = `num_rollouts`."""

    def initialise(self, seed: int) -> None:
        """Set every parameter from `seed` and its name."""
        initialise_layers(self, "glorot", seed, "baseline.")

    @abstractmethod
    def forward(
        self, policy: PointerPolicy, encoding: Encoding, instances: Instances, cost: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Expected cost (N, K) or (N, 1), without gradient, and the baseline's own loss, ().

        Args:
            policy: the acting policy.
            encoding: of the instances, detached: no baseline trains the policy.
            instances: N problems.
            cost: (N, K) float32, of the sampled tours.
        """


class CriticBaseline(Baseline):
    """A network that weights the embedded inputs by the actor's probabilities.

    The probabilities are those of the first step: they, and so the expected cost, depend on the
    instance alone and not on the actions taken. The embedded inputs are the actor's node
    embeddings and the scaled demands, with no gradient into the actor. Two dense layers follow,
    the first with ReLU. The released code has another critic: embeddings of its own, three
    attention blocks from a zero state instead of the actor's probabilities, then the two layers.

    Args:
        embedding_dim: M, of the policy.

    Source: Nazari et al. (2018), section 3.3 and section 4.2.
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.hidden = nn.Linear(embedding_dim + 1, embedding_dim)
        self.output = nn.Linear(embedding_dim, 1)

    def check(self, policy: PointerPolicy, num_rollouts: int) -> None:
        """Raise a ValueError if the policy's embeddings are of another size."""
        if policy.encoder.embedding_dim != self.embedding_dim:
            raise ValueError(
                f"the critic's embedding_dim is {self.embedding_dim}, "
                f"the policy's {policy.encoder.embedding_dim}; they must be equal"
            )

    def forward(
        self, policy: PointerPolicy, encoding: Encoding, instances: Instances, cost: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Baseline.forward`; the loss is the mean squared error."""
        state = reset(instances, 1)
        start = policy.start(encoding, 1)
        logits, _ = policy.step(encoding, start, state, legal_mask(instances, state))
        demand = instances.node_demand() * encoding.scale[:, None]
        inputs = torch.cat([encoding.nodes, demand[..., None]], -1)  # (N, V, M + 1)
        summary = (logits.softmax(-1) @ inputs)[:, 0]
        value = self.output(self.hidden(summary).relu())  # (N, 1)
        return value.detach(), nn.functional.mse_loss(value.expand_as(cost), cost)


class ExponentialBaseline(Baseline):
    """A moving average of the mean cost of past batches; the first batch's own mean at first.

    Args:
        decay: weight of the past, in [0, 1).

    Raises:
        ValueError: if decay is out of range.
    """

    def __init__(self, decay: float = 0.8) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}; it must be in [0, 1)")
        self.decay = decay
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def forward(
        self, policy: PointerPolicy, encoding: Encoding, instances: Instances, cost: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Baseline.forward`; no loss."""
        mean = cost.mean()
        expected = torch.where(self.started, self.average, mean)
        self.average.copy_(self.decay * expected + (1 - self.decay) * mean)
        self.started.fill_(True)
        return expected.expand_as(cost), cost.new_zeros(())


class SharedBaseline(Baseline):
    """The mean cost of the other K - 1 solutions of the same instance.

    Source: Kool et al. (2019b), "Buy 4 REINFORCE samples, get a baseline for free!".
    """

    def check(self, policy: PointerPolicy, num_rollouts: int) -> None:
        """Raise a ValueError below 2 solutions per instance."""
        if num_rollouts < 2:
            raise ValueError(
                f"num_rollouts is {num_rollouts}; baseline=shared needs at least 2, "
                "or choose baseline=critic or baseline=exponential"
            )

    def forward(
        self, policy: PointerPolicy, encoding: Encoding, instances: Instances, cost: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Baseline.forward`; no loss."""
        others = (cost.sum(1, keepdim=True) - cost) / (cost.shape[1] - 1)
        return others, cost.new_zeros(())
