"""First customers of a multi-start."""

from __future__ import annotations

import torch
from torch import Tensor

from vrp.problem.instances import Instances


def each_customer(instances: Instances) -> Tensor:
    """(N, C) int64: every customer of an instance once, as the first node of a tour.

    In the place of a customer that needs no visit stands the first one that does, or the depot
    where none does.
    """
    needy = instances.demand > 0
    customers = torch.arange(1, instances.num_customers + 1, device=instances.device)
    first = torch.where(needy.any(1), customers[needy.int().argmax(1)], 0)
    return torch.where(needy, customers, first[:, None])


def repeated_starts(instances: Instances) -> Tensor:
    """(N, C) bool, true where `each_customer` repeats a start that another place gives, too."""
    return instances.demand == 0
