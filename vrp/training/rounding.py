"""How much a policy's rounded products change what it believes."""

from __future__ import annotations

import torch
from torch import Tensor

from vrp.policy.base import Policy, evaluating
from vrp.problem.instances import Instances

# Nats: a tour is then e times as likely, or as unlikely, as the weights say. Our training runs have
# shown 0.02 at 20 customers to 0.7 at 100, where tours still became shorter.
LIMIT = 1.0


@torch.no_grad()
def rounding_error(policy: Policy, instances: Instances, tours: Tensor) -> float | None:
    """Mean absolute difference of a tour's log-probability from that in float32, in nats.

    Args:
        policy: left as it is.
        instances: N problems, on the policy's device.
        tours: (N, T) int64 actions, one legal tour each.

    Returns:
        None where the policy's products are float32 already.
    """
    if policy.products(instances.device) == torch.float32:
        return None
    found = []
    for network in (policy, policy.in_float32()):
        with evaluating(network):
            replay = network.log_probs(network.encode(instances), instances, tours[:, None])
        found.append(replay.log_prob.sum(-1))
    return (found[0] - found[1]).abs().mean().item()
