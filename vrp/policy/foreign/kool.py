"""The layout of Kool et al. (2019), wouterkool/attention-learn-to-route."""

from __future__ import annotations

import torch

from vrp.policy.foreign.parts import (
    converted,
    embeddings,
    feed_forward,
    normalization,
    query,
)
from vrp.policy.foreign.source import Converted, Source


def from_kool(source: Source) -> Converted:
    """A network whose names begin as `embedder` and `project`."""
    weights = embeddings(source, "init_embed_depot", "init_embed")
    m = len(weights["demand.weight"])
    num_layers = source.layers(r"embedder\.layers\.(\d+)\.")
    batch = "embedder.layers.0.1.normalizer.running_mean" in source.state
    num_heads = len(source("embedder.layers.0.0.module.W_query", "H", m, "D"))
    size, hidden = m // max(num_heads, 1), "F"
    for i in range(num_layers):
        theirs, ours = f"embedder.layers.{i}", f"trunk.{i}"
        # (H, M, D) each: row h D + d of our matrix is head h's unit d.
        heads = [
            source(f"{theirs}.0.module.W_{part}", num_heads, m, size)
            for part in ("query", "key", "val")
        ]
        out = source(f"{theirs}.0.module.W_out", num_heads, size, m)
        rows = [part.transpose(1, 2).flatten(0, 1) for part in heads]
        weights[f"{ours}.queries_keys_values.weight"] = torch.cat(rows)
        weights[f"{ours}.combine.weight"] = out.flatten(0, 1).T
        weights |= normalization(
            source, f"{ours}.norm_attention", f"{theirs}.1.normalizer", batch, m
        )
        both = f"{theirs}.2.module.0", f"{theirs}.2.module.2"
        weights |= feed_forward(source, ours, *both, m, hidden)
        hidden = len(weights[f"{ours}.expand.bias"])
        weights |= normalization(
            source, f"{ours}.norm_feed_forward", f"{theirs}.3.normalizer", batch, m
        )
    keys, values, pointer = source("project_node_embeddings.weight", 3 * m, m).chunk(3)
    weights |= {
        "keys_values.weight": torch.cat([keys, values]),
        "pointer.weight": pointer,
        "graph.weight": source("project_fixed_context.weight", m, m),
        "combine.weight": source("project_out.weight", m, m),
        **query(source("project_step_context.weight", m, m + 1)),
    }
    arguments = {
        "normalization": "batch" if batch else "instance",
        "graph_context": True,
        "combine_bias": False,
        "pointer_projection": True,
    }
    return converted("kool", weights, num_layers, num_heads, arguments, False)
