"""The batch record of the project: capacitated vehicle routing problems side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Instances:
    """N capacitated vehicle routing problems with C customers each.

    Checked when built on a CPU; a record that was moved to another device keeps what was
    checked before. A customer with demand 0 needs no visit, which is how a file may hold
    instances of unequal size.

    Attributes:
        depot: (N, 2) float32 coordinates in the unit square.
        customers: (N, C, 2) float32 coordinates in the unit square.
        demand: (N, C) int64, at least 1, or 0 for "no visit needed".
        capacity: (N,) int64, the most a vehicle can hold.
        split_delivery: whether a customer may be served in several visits.

    Raises:
        TypeError: for tensors of another type.
        ValueError: for shapes that do not fit, no customer, coordinates that are not finite or
            outside [0, 1], a negative demand, or a demand above the capacity where deliveries
            may not be split; names the instance, the customer and the value.
    """

    depot: Tensor
    customers: Tensor
    demand: Tensor
    capacity: Tensor
    split_delivery: bool = False

    def __post_init__(self) -> None:
        self._check_shapes()
        if self.device.type == "cpu":
            self._check_values()

    @property
    def num_instances(self) -> int:
        """N."""
        return self.customers.shape[0]

    @property
    def num_customers(self) -> int:
        """C."""
        return self.customers.shape[1]

    @property
    def num_nodes(self) -> int:
        """V = C + 1: the depot is node 0."""
        return self.customers.shape[1] + 1

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.customers.device

    def __len__(self) -> int:
        return self.num_instances

    def __getitem__(self, index: slice | Tensor) -> Instances:
        """The chosen instances: a slice, an index tensor or a boolean mask over N."""
        return replace(
            self,
            depot=self.depot[index],
            customers=self.customers[index],
            demand=self.demand[index],
            capacity=self.capacity[index],
        )

    @classmethod
    def join(cls, parts: list[Instances]) -> Instances:
        """Several batches of one size as one; all allow split deliveries or none does."""
        first = parts[0]
        return replace(
            first,
            depot=torch.cat([part.depot for part in parts]),
            customers=torch.cat([part.customers for part in parts]),
            demand=torch.cat([part.demand for part in parts]),
            capacity=torch.cat([part.capacity for part in parts]),
        )

    def to(self, device: torch.device | str) -> Instances:
        """The same instances on `device`."""
        return replace(
            self,
            depot=self.depot.to(device),
            customers=self.customers.to(device),
            demand=self.demand.to(device),
            capacity=self.capacity.to(device),
        )

    def coordinates(self) -> Tensor:
        """(N, V, 2) coordinates of all nodes, the depot first."""
        return torch.cat([self.depot[:, None], self.customers], dim=1)

    def node_demand(self) -> Tensor:
        """(N, V) int64 demand of all nodes, 0 for the depot."""
        return torch.nn.functional.pad(self.demand, (1, 0))

    def _check_shapes(self) -> None:
        wanted = {
            "depot": (torch.float32, "(N, 2)", 2),
            "customers": (torch.float32, "(N, C, 2)", 3),
            "demand": (torch.int64, "(N, C)", 2),
            "capacity": (torch.int64, "(N,)", 1),
        }
        for name, (dtype, shape, rank) in wanted.items():
            tensor = getattr(self, name)
            if tensor.dtype != dtype:
                raise TypeError(f"{name} must be {dtype}, not {tensor.dtype}")
            if tensor.dim() != rank:
                raise ValueError(f"{name} must have shape {shape}, not {tuple(tensor.shape)}")
        if self.num_customers == 0:
            raise ValueError("an instance needs at least one customer; customers has C = 0")
        num_instances, num_customers = self.customers.shape[:2]
        for name, found, allowed in [
            ("depot", self.depot.shape, (num_instances, 2)),
            ("customers", self.customers.shape, (num_instances, num_customers, 2)),
            ("demand", self.demand.shape, (num_instances, num_customers)),
            ("capacity", self.capacity.shape, (num_instances,)),
        ]:
            if tuple(found) != allowed:
                raise ValueError(f"{name} must have shape {allowed}, not {tuple(found)}")

    def _check_values(self) -> None:
        outside = ~((self.depot >= 0) & (self.depot <= 1))  # true for NaN as well
        if outside.any():
            n, axis = _first(outside)
            raise ValueError(
                f"depot of instance {n}: coordinate {'xy'[axis]} is "
                f"{self.depot[n, axis].item()}; coordinates must lie in [0, 1]"
            )
        outside = ~((self.customers >= 0) & (self.customers <= 1))
        if outside.any():
            n, c, axis = _first(outside)
            raise ValueError(
                f"customer {c + 1} of instance {n}: coordinate {'xy'[axis]} is "
                f"{self.customers[n, c, axis].item()}; coordinates must lie in [0, 1]"
            )
        if (self.capacity < 1).any():
            (n,) = _first(self.capacity < 1)
            raise ValueError(
                f"capacity of instance {n} is {self.capacity[n].item()}; it must be at least 1"
            )
        if (self.demand < 0).any():
            n, c = _first(self.demand < 0)
            raise ValueError(
                f"customer {c + 1} of instance {n}: demand is {self.demand[n, c].item()}; "
                "it must not be negative"
            )
        over = self.demand > self.capacity[:, None]
        if not self.split_delivery and over.any():
            n, c = _first(over)
            raise ValueError(
                f"customer {c + 1} of instance {n}: demand {self.demand[n, c].item()} is above "
                f"the capacity {self.capacity[n].item()}; allowed only with split deliveries"
            )


def _first(mask: Tensor) -> list[int]:
    return mask.nonzero()[0].tolist()
