"""The parts that the layouts have in common, each from the names given to ours."""

from __future__ import annotations

import torch
from torch import Tensor

from vrp.policy.foreign.source import Converted, Source

_COUNT = "num_batches_tracked"
_STATISTICS = ("running_mean", "running_var")


def embeddings(source: Source, depot: str, customer: str) -> dict[str, Tensor]:
    """Two Linears, of depot and customers, as our encoders and the demand's weight."""
    weight = source(f"{customer}.weight", "M", 3)
    m = len(weight)
    return {
        "encoder.layer.weight": weight[:, :2],
        "encoder.layer.bias": source(f"{customer}.bias", m),
        "demand.weight": weight[:, 2:],
        "depot_encoder.layer.weight": source(f"{depot}.weight", m, 2),
        "depot_encoder.layer.bias": source(f"{depot}.bias", m),
    }


def linear(
    source: Source, ours: str, theirs: str, outputs: int | str, inputs: int
) -> dict[str, Tensor]:
    """A map with a bias."""
    weight = source(f"{theirs}.weight", outputs, inputs)
    return {f"{ours}.weight": weight, f"{ours}.bias": source(f"{theirs}.bias", len(weight))}


def feed_forward(
    source: Source, ours: str, first: str, second: str, m: int, hidden: int | str
) -> dict[str, Tensor]:
    """The two maps of a layer's feed-forward part."""
    expand = linear(source, f"{ours}.expand", first, hidden, m)
    hidden = len(expand[f"{ours}.expand.bias"])
    return expand | linear(source, f"{ours}.contract", second, m, hidden)


def normalization(source: Source, ours: str, theirs: str, batch: bool, m: int) -> dict[str, Tensor]:
    """A normalisation, with its statistics where it is one of batches."""
    parts = ("weight", "bias", *(_STATISTICS if batch else ()))
    weights = {f"{ours}.{part}": source(f"{theirs}.{part}", m) for part in parts}
    if batch:
        # PyTorch before 0.4.1 keeps no count, and evaluation asks for none.
        counted = f"{theirs}.{_COUNT}" in source.state
        weights[f"{ours}.{_COUNT}"] = source(f"{theirs}.{_COUNT}") if counted else torch.tensor(0)
    return weights


def query(weight: Tensor) -> dict[str, Tensor]:
    """The projection of [h_last; load]."""
    return {"query.weight": weight[:, :-1], "load.weight": weight[:, -1:]}


def converted(
    layout: str,
    weights: dict[str, Tensor],
    num_layers: int,
    num_heads: int,
    arguments: dict[str, bool | str],
    multistart: bool,
) -> Converted:
    """The whole network.

    Args:
        layout: its name.
        weights: in our names.
        num_layers: of the trunk.
        num_heads: of trunk and glimpse.
        arguments: of `AttentionPolicy`, those that the sizes do not say.
        multistart: as in `Converted`.
    """
    sizes = {
        "embedding_dim": weights["encoder.layer.bias"].shape[0],
        "num_layers": num_layers,
        "num_heads": num_heads,
        "feed_forward_dim": weights["trunk.0.expand.bias"].shape[0],
        "tanh_clipping": 10.0,
    }
    return Converted(
        layout,
        sizes | arguments,
        {name: tensor.contiguous().clone() for name, tensor in weights.items()},
        multistart,
    )
