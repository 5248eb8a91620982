"""Random instances from an explicit `torch.Generator`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from vrp.problem.instances import Instances


@dataclass(frozen=True)
class InstanceGenerator(ABC):
    """Places of some distribution on the unit square, integer demands uniform.

    Args:
        num_customers: C, at least 1.
        capacity: of the vehicle, at least `max_demand` unless deliveries may be split.
        min_demand: smallest demand, at least 1.
        max_demand: largest demand, inclusive.
        split_delivery: whether a customer may be served in several visits.

    Raises:
        ValueError: for a value out of range; names it and what is allowed.
    """

    num_customers: int
    capacity: int
    min_demand: int = 1
    max_demand: int = 9
    split_delivery: bool = False

    def __post_init__(self) -> None:
        if self.num_customers < 1:
            raise ValueError(f"num_customers is {self.num_customers}; it must be at least 1")
        if not 1 <= self.min_demand <= self.max_demand:
            raise ValueError(
                f"min_demand is {self.min_demand} and max_demand {self.max_demand}; "
                "they must satisfy 1 <= min_demand <= max_demand"
            )
        if self.capacity < 1:
            raise ValueError(f"capacity is {self.capacity}; it must be at least 1")
        if self.capacity < self.max_demand and not self.split_delivery:
            raise ValueError(
                f"capacity {self.capacity} is below the largest possible demand "
                f"{self.max_demand}; raise capacity, lower max_demand or set split_delivery=true"
            )

    def __call__(self, num_instances: int, generator: torch.Generator) -> Instances:
        """`num_instances` instances on the CPU, a function of the generator's state alone.

        Raises:
            ValueError: if `num_instances` is below 1.
        """
        if num_instances < 1:
            raise ValueError(f"num_instances is {num_instances}; it must be at least 1")
        coordinates = self.places(num_instances, generator)
        demand = torch.randint(
            self.min_demand,
            self.max_demand + 1,
            (num_instances, self.num_customers),
            generator=generator,
        )
        return Instances(
            depot=coordinates[:, 0].contiguous(),
            customers=coordinates[:, 1:].contiguous(),
            demand=demand,
            capacity=torch.full((num_instances,), self.capacity),
            split_delivery=self.split_delivery,
        )

    @abstractmethod
    def places(self, num_instances: int, generator: torch.Generator) -> Tensor:
        """(N, V, 2) coordinates in the unit square, the depot first."""


@dataclass(frozen=True)
class UniformGenerator(InstanceGenerator):
    """Depot and customers uniform on the unit square, integer demands uniform.

    Arguments and errors are those of `InstanceGenerator`.

    Source: Nazari et al. (2018), section 4: demand 1 to 9, capacity 20, 30, 40 and 50 for
    10, 20, 50 and 100 customers.
    """

    def places(self, num_instances: int, generator: torch.Generator) -> Tensor:
        """(N, V, 2) coordinates, uniform."""
        return torch.rand(num_instances, self.num_customers + 1, 2, generator=generator)


@dataclass(frozen=True)
class ClusteredGenerator(InstanceGenerator):
    """Customers around a few centres, depot and centres uniform, integer demands uniform.

    Each customer belongs to a centre at random and lies at a normal distance from it along each
    axis; what falls outside the unit square is mirrored at its edge.

    Args:
        num_clusters: centres of each instance, at least 1.
        spread: standard deviation around a centre along each axis, in (0, 0.5].

    The other arguments and the errors are those of `InstanceGenerator`.
    """

    num_clusters: int = 3
    spread: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_clusters < 1:
            raise ValueError(f"num_clusters is {self.num_clusters}; it must be at least 1")
        if not 0 < self.spread <= 0.5:
            raise ValueError(f"spread is {self.spread}; it must be in (0, 0.5]")

    def places(self, num_instances: int, generator: torch.Generator) -> Tensor:
        """(N, V, 2) coordinates, the customers clustered."""
        n, c = num_instances, self.num_customers
        depot = torch.rand(n, 1, 2, generator=generator)
        centres = torch.rand(n, self.num_clusters, 2, generator=generator)
        member = torch.randint(self.num_clusters, (n, c, 1), generator=generator)
        offset = self.spread * torch.randn(n, c, 2, generator=generator)
        customers = centres.gather(1, member.expand(-1, -1, 2)) + offset
        customers = 1 - (1 - customers.abs()).abs()
        return torch.cat([depot, customers.clamp(0, 1)], 1)


@dataclass(frozen=True)
class BandedGenerator(InstanceGenerator):
    """Uniform, but for a band along the upper edge of each axis where nodes are rare.

    What a policy learns of coordinates that it seldom sees is measured on uniform instances.

    Args:
        band: width of the rare band, in (0, 1).
        share: how many of all coordinates fall into it, in [0, 1].

    The other arguments and the errors are those of `InstanceGenerator`.
    """

    band: float = 0.25
    share: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.band < 1:
            raise ValueError(f"band is {self.band}; it must be above 0 and below 1")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is {self.share}; it must be from 0 to 1")

    def places(self, num_instances: int, generator: torch.Generator) -> Tensor:
        """(N, V, 2) coordinates, each in the band with probability `share`."""
        shape = (num_instances, self.num_customers + 1, 2)
        within = torch.rand(shape, generator=generator)
        rare = torch.rand(shape, generator=generator) < self.share
        return torch.where(rare, 1 - self.band * within, (1 - self.band) * within)
