"""Projections of a node's whole input x_i = [static; embed(demand_i); embed(load - demand_i)].

The two scalars of x_i are embedded by affine maps and then projected, so they reach each tanh as
demand_i * (a - b) + load * b + constant with two vectors a and b. While deliveries are not split,
the demand of every node that may be chosen is its first one: its term joins the key of the node
once per instance, the load's term joins the query, and no step touches a product per node.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from vrp.policy.additive import KeyFactors, key_factors
from vrp.policy.record import TensorRecord


@dataclass(frozen=True)
class Projection(TensorRecord):
    """A projection of all x_i of a batch, in its parts.

    Attributes:
        nodes: (N, V, M), all that depends on the instance alone.
        per_load: (M,), to be multiplied with the load at each step.
        per_demand: (M,), to be multiplied with the remaining demand, where deliveries may be
            split; None where the demand is already in `nodes`.
        shared: `additive.key_factors(nodes)`; None for values, for split
            deliveries, and for demands that are not scaled.
    """

    nodes: Tensor
    per_load: Tensor
    per_demand: Tensor | None
    shared: KeyFactors | None


class NodeProjection(nn.Module):
    """W [x_i; ...]: the part of a projection that reads x_i."""

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.static = nn.Linear(embedding_dim, embedding_dim)
        self.demand = nn.Linear(embedding_dim, embedding_dim, bias=False)
        self.load = nn.Linear(embedding_dim, embedding_dim, bias=False)

    def forward(
        self,
        nodes: Tensor,
        demand: Tensor,
        demand_embedding: nn.Linear,
        load_embedding: nn.Linear,
        split_delivery: bool,
        factored: bool,
    ) -> Projection:
        """Project (N, V, M) nodes with their scaled first demand (N, V); `factored` for keys whose
        demands are scaled, which bounds how far they differ.
        """
        of_demand = self.demand.weight @ demand_embedding.weight[:, 0]
        of_load = self.load.weight @ load_embedding.weight[:, 0]
        constant = (
            self.static.bias
            + self.demand.weight @ demand_embedding.bias
            + self.load.weight @ load_embedding.bias
        )
        projected = linear(nodes, self.static.weight, constant)
        per_demand = of_demand - of_load  # the load after the visit falls with the demand
        if not split_delivery:
            projected = torch.addcmul(projected, demand[..., None], per_demand)
        return Projection(
            nodes=projected,
            per_load=of_load,
            per_demand=per_demand if split_delivery else None,
            shared=key_factors(projected) if factored and not split_delivery else None,
        )
