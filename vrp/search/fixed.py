"""Searches whose answer depends on neither random numbers nor the size of a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from vrp.policy.base import Policy, evaluating
from vrp.problem.instances import Instances
from vrp.search.base import Search
from vrp.search.greedy import Greedy, Multistart
from vrp.search.solution import Solution, join

FIXED: dict[str, Search] = {"greedy": Greedy(), "multistart": Multistart()}

_MOST = 1000
_PAIRS = 1000 * 51**2  # a policy's tables may grow with the pairs of an instance's nodes


class Stopped(Exception):
    """Work was given up half done, as its caller wished."""


def solve(
    policy: Policy,
    instances: Instances,
    decode: str,
    device: torch.device | str = "cpu",
    stopped: Callable[[], bool] = lambda: False,
) -> Solution:
    """Tours of all instances, in batches that fit into memory; leaves the policy as it is.

    Args:
        policy: on `device`.
        instances: N problems on the CPU.
        decode: one of `FIXED`.
        device: where to solve them.
        stopped: asked before each batch.

    Raises:
        Stopped: as soon as `stopped` says so.
    """
    search, batch, parts = FIXED[decode], instances_at_once(instances.num_nodes), []
    with evaluating(policy):
        for start in range(0, len(instances), batch):
            if stopped():
                raise Stopped
            some = instances[start : start + batch].to(device)
            parts.append(search(policy, some, torch.Generator()))
    return join(parts)


def instances_at_once(num_nodes: int) -> int:
    """At least 1; above 51 nodes so few that such tables take no more than at 51."""
    return max(1, min(_MOST, _PAIRS // num_nodes**2))
