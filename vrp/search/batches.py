"""How many instances are solved side by side."""

from __future__ import annotations


def instances_at_once(num_nodes: int, most: int, pairs: int, copies: int = 1) -> int:
    """As many instances as memory is meant for, from 1 to `most`.

    What a policy knows of an instance may grow with the pairs of its nodes: the attention policy's
    tables take some 200 bytes for each while they are made.

    Args:
        num_nodes: V, of each instance.
        most: at least 1.
        pairs: of nodes in all that tables may hold; a single instance may have more.
        copies: of an instance that are held side by side, as `Search.copies` says.
    """
    return max(1, min(most, pairs // (copies * num_nodes**2)))
