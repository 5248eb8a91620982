"""Weights set by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vrp.study.facts.record import Budget, Check, Fact, error_of, verdict


def _assign(layer: nn.Module, value: Tensor) -> None:
    layer.weight = value


def parameter(_: Budget, wrap: bool = False) -> Fact:
    """Assigning a tensor to Linear's weight; with `wrap`, as a Parameter."""
    layer, weight = nn.Linear(3, 5), torch.ones(5, 3)
    error = error_of(lambda: _assign(layer, nn.Parameter(weight) if wrap else weight))
    wrapped = error_of(lambda: _assign(nn.Linear(3, 5), nn.Parameter(weight)))
    return Fact(
        name="Parameter",
        claim="Linear's weight can be set to a tensor.",
        verdict=verdict(not error),
        figure=f"assigned: {error or 'works'}; as nn.Parameter: {wrapped or 'works'}",
        why="Once a name holds a Parameter, only another Parameter may take its place; or copy "
        "into it without gradient.",
    )


def wrong_shape(_: Budget, shape: tuple[int, int] = (3, 5)) -> Fact:
    """A weight of that shape on Linear(3, 5)."""
    layer = nn.Linear(3, 5)
    weight = nn.Parameter(torch.ones(shape))
    assigned = error_of(lambda: _assign(layer, weight))
    used = error_of(lambda: layer(torch.ones(2, 3)))
    bare = nn.Linear(3, 5, bias=False)
    bare.weight = weight
    made = error_of(lambda: bare(torch.ones(2, 5)))
    made = made or f"{tuple(bare(torch.ones(2, 5)).shape)}"
    return Fact(
        name="weight (3, 5)",
        claim=f"A hand-set weight of {shape} fits Linear(3, 5).",
        verdict=verdict(not used),
        figure=f"assigned: {assigned or 'without a word'}; used on (2, 3): {used or 'works'}; "
        f"without bias on (2, 5): {made}, while it is still printed as {bare}",
        why="Linear keeps (out, in) = (5, 3). Assigning checks the type and not the shape, so "
        "the error comes at the first use, or never.",
    )


FACTS: dict[str, Check] = {"Parameter": parameter, "weight (3, 5)": wrong_shape}
