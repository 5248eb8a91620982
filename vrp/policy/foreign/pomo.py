"""The two layouts of POMO (Kwon et al. 2020), yd-kwon/POMO.

Its notebooks (OLD_ipynb_ver, the code of the paper) normalise over batches and add the mean of all
nodes to the query; its later code (NEW_py_ver) normalises over instances and leaves the mean out.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
    # Their repository has had both normalisations under these names.
    batch = "encoder.layers.0.add_n_normalization_1.norm_by_EMB.weight" in source.state
    norm = "add_n_normalization_{}." + ("norm_by_EMB" if batch else "norm")
    weights, num_layers = _trunk(source, norm, "feed_forward", batch)
    m = len(weights["demand.weight"])
    weights |= _decoder(source, "decoder", m)
    weights |= query(source("decoder.Wq_last.weight", m, m + 1))
    return converted("pomo", weights, num_layers, num_heads, _arguments(batch, False), True)


def from_notebooks(source: Source, num_heads: int) -> Converted:
    """A network of OLD_ipynb_ver, whose names begin as `encoder` and `node_prob_calculator`."""
    norm = "addAndNormalization{}.norm_by_EMB"
    weights, num_layers = _trunk(source, norm, "feedForward", True)
    m = len(weights["demand.weight"])
    weights |= _decoder(source, "node_prob_calculator", m)
    # Its inputs are the mean of all nodes, the node last visited and the load.
    whole = source("node_prob_calculator.Wq.weight", m, 2 * m + 1)
    weights |= {"graph.weight": whole[:, :m], **query(whole[:, m:])}
    arguments = _arguments(True, True)
    return converted("pomo-notebooks", weights, num_layers, num_heads, arguments, True)


def _trunk(source: Source, norm: str, forward: str, batch: bool) -> tuple[dict[str, Tensor], int]:
    """Embeddings and layers, and the number of these.

    Args:
        source: the state dict.
        norm: what a layer calls its normalisations, {} standing for 1 and 2.
        forward: what it calls its feed-forward part.
        batch: whether it normalises over batches.
    """
    weights = embeddings(source, "encoder.embedding_depot", "encoder.embedding_node")
    m, hidden = len(weights["demand.weight"]), "F"
    num_layers = source.layers(r"encoder\.layers\.(\d+)\.")
    for i in range(num_layers):
        theirs, ours = f"encoder.layers.{i}", f"trunk.{i}"
        rows = [source(f"{theirs}.W{part}.weight", m, m) for part in "qkv"]
        weights[f"{ours}.queries_keys_values.weight"] = torch.cat(rows)
        weights |= linear(source, f"{ours}.combine", f"{theirs}.multi_head_combine", m, m)
        for number, name in ((1, "attention"), (2, "feed_forward")):
            place = f"{theirs}.{norm.format(number)}"
            weights |= normalization(source, f"{ours}.norm_{name}", place, batch, m)
        both = f"{theirs}.{forward}.W1", f"{theirs}.{forward}.W2"
        weights |= feed_forward(source, ours, *both, m, hidden)
        hidden = len(weights[f"{ours}.expand.bias"])
    return weights, num_layers


def _decoder(source: Source, place: str, m: int) -> dict[str, Tensor]:
    """All of it but the query."""
    keys_values = [source(f"{place}.W{part}.weight", m, m) for part in "kv"]
    combine = linear(source, "combine", f"{place}.multi_head_combine", m, m)
    return {"keys_values.weight": torch.cat(keys_values), **combine}


def _arguments(batch: bool, graph: bool) -> dict[str, bool | str]:
    return {
        "normalization": "batch" if batch else "instance",
        "graph_context": graph,
        "combine_bias": True,
        "pointer_projection": False,
    }
