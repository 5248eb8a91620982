"""The layout of POMO (Kwon et al. 2020), yd-kwon/POMO."""

from __future__ import annotations

import torch

from vrp.policy.foreign.parts import (
    converted,
    embeddings,
    feed_forward,
    linear,
    normalization,
    query,
)
from vrp.policy.foreign.source import Converted, Source


def from_pomo(source: Source, num_heads: int) -> Converted:
    """A network of NEW_py_ver, whose names begin as `encoder` and `decoder`."""
    weights = embeddings(source, "encoder.embedding_depot", "encoder.embedding_node")
    m = len(weights["demand.weight"])
    num_layers = source.layers(r"encoder\.layers\.(\d+)\.")
    # Their repository has had both normalisations.
    batch = "encoder.layers.0.add_n_normalization_1.norm_by_EMB.weight" in source.state
    norm, hidden = "norm_by_EMB" if batch else "norm", "F"
    for i in range(num_layers):
        theirs, ours = f"encoder.layers.{i}", f"trunk.{i}"
        rows = [source(f"{theirs}.W{part}.weight", m, m) for part in "qkv"]
        weights[f"{ours}.queries_keys_values.weight"] = torch.cat(rows)
        weights |= linear(source, f"{ours}.combine", f"{theirs}.multi_head_combine", m, m)
        for number, name in ((1, "attention"), (2, "feed_forward")):
            place = f"{theirs}.add_n_normalization_{number}.{norm}"
            weights |= normalization(source, f"{ours}.norm_{name}", place, batch, m)
        both = f"{theirs}.feed_forward.W1", f"{theirs}.feed_forward.W2"
        weights |= feed_forward(source, ours, *both, m, hidden)
        hidden = len(weights[f"{ours}.expand.bias"])
    keys_values = [source(f"decoder.W{part}.weight", m, m) for part in "kv"]
    weights["keys_values.weight"] = torch.cat(keys_values)
    weights |= linear(source, "combine", "decoder.multi_head_combine", m, m)
    weights |= query(source("decoder.Wq_last.weight", m, m + 1))
    arguments = {
        "normalization": "batch" if batch else "instance",
        "graph_context": False,
        "combine_bias": True,
        "pointer_projection": False,
    }
    return converted("pomo", weights, num_layers, num_heads, arguments)
