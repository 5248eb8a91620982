"""The critic: a network that learns what to expect."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vrp.policy.base import Encoding, Policy
from vrp.problem.environment import legal_mask, reset
from vrp.problem.instances import Instances
from vrp.training.baselines.base import Baseline


class CriticBaseline(Baseline):
    """A network that weights the embedded inputs by the policy's probabilities.

    The probabilities are those of the first step: they, and so the expected cost, depend on the
    instance alone and not on the actions taken. The embedded inputs are the policy's node
    embeddings and the scaled demands, with no gradient into the policy. Two dense layers follow,
    the first with ReLU. The released code has another critic: embeddings of its own, three
    attention blocks from a zero state instead of the policy's probabilities, then the two layers.

    Args:
        embedding_dim: M, of the policy.

    Source: Nazari et al. (2018), section 3.3 and section 4.2.
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.hidden = nn.Linear(embedding_dim + 1, embedding_dim)
        self.output = nn.Linear(embedding_dim, 1)

    def check(self, policy: Policy, num_rollouts: int) -> None:
        """Raise a ValueError if the policy's embeddings are of another size."""
        if policy.encoder.embedding_dim != self.embedding_dim:
            raise ValueError(
                f"the critic's embedding_dim is {self.embedding_dim}, "
                f"the policy's {policy.encoder.embedding_dim}; they must be equal"
            )

    def forward(
        self, policy: Policy, encoding: Encoding, instances: Instances, cost: Tensor
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
