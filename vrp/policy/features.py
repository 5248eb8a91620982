"""What a network sees of demands and loads."""

from __future__ import annotations

from torch import Tensor

from vrp.problem.instances import Instances


def goods_scale(instances: Instances, scale_demand: bool) -> Tensor:
    """(N,) float32 factor that turns goods into network input.

    1 / capacity, so that demand and load lie in [0, 1]; or 1 for the raw integers that the code
    of Nazari et al. (2018) feeds its network.
    """
    capacity = instances.capacity.float()
    return capacity.reciprocal() if scale_demand else capacity.new_ones(capacity.shape)
