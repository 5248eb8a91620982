"""How many instances are solved at once where the answer does not depend on it."""

from __future__ import annotations

_MOST = 1000
_PAIRS = 1000 * 51**2  # a policy's tables may grow with the pairs of an instance's nodes


def instances_at_once(num_nodes: int) -> int:
    """At least 1; above 51 nodes so few that such tables take no more than at 51."""
    return max(1, min(_MOST, _PAIRS // num_nodes**2))
