"""The published attention networks written down plainly, on state dicts in their authors' names.

Each step's query, glimpse and pointer are computed as the papers' equations say, node by node
tables and shared projections unknown, in float64 and differentiable.

Sources: Kool et al. (2019), section 3 and appendix C.1; Kwon et al. (2020), section 5; the names in
their code releases, of which POMO has had two, and what the notebooks of the first one compute.
"""

from __future__ import annotations

import math

import torch
from textbook import Play
from torch import Tensor

from vrp.policy import AttentionPolicy
from vrp.problem import Instances

EPSILON = 1e-5  # of PyTorch's normalisations


def kool_state(policy: AttentionPolicy) -> dict[str, Tensor]:
    """The weights of `policy` as Kool's code names and shapes them."""
    w = dict(policy.named_parameters()) | dict(policy.named_buffers())
    heads = policy.num_heads

    def per_head(matrix: Tensor) -> Tensor:
        return matrix.unflatten(0, (heads, -1)).transpose(1, 2)  # (H, M, D)

    keys, values = w["keys_values.weight"].chunk(2)
    state = {
        "init_embed_depot.weight": w["depot_encoder.layer.weight"],
        "init_embed_depot.bias": w["depot_encoder.layer.bias"],
        "init_embed.weight": torch.cat([w["encoder.layer.weight"], w["demand.weight"]], 1),
        "init_embed.bias": w["encoder.layer.bias"],
        "project_node_embeddings.weight": torch.cat([keys, values, w["pointer.weight"]]),
        "project_fixed_context.weight": w["graph.weight"],
        "project_step_context.weight": torch.cat([w["query.weight"], w["load.weight"]], 1),
        "project_out.weight": w["combine.weight"],
    }
    places = {
        "norm_attention": "1.normalizer",
        "expand": "2.module.0",
        "contract": "2.module.2",
        "norm_feed_forward": "3.normalizer",
    }
    for i in range(len(policy.trunk)):
        ours, theirs = f"trunk.{i}", f"embedder.layers.{i}"
        rows = w[f"{ours}.queries_keys_values.weight"].chunk(3)
        for part, matrix in zip(("query", "key", "val"), rows, strict=True):
            state[f"{theirs}.0.module.W_{part}"] = per_head(matrix)
        out = w[f"{ours}.combine.weight"]
        state[f"{theirs}.0.module.W_out"] = out.T.unflatten(0, (heads, -1))
        for name, place in places.items():
            for key, value in w.items():
                if key.startswith(f"{ours}.{name}."):
                    state[f"{theirs}.{place}.{key.rpartition('.')[2]}"] = value
    return state


def pomo_state(policy: AttentionPolicy) -> dict[str, Tensor]:
    """The weights of `policy` as POMO's later code names and shapes them."""
    w = dict(policy.named_parameters()) | dict(policy.named_buffers())
    norm = "norm_by_EMB" if "trunk.0.norm_attention.running_mean" in w else "norm"
    query = {"Wq_last.weight": torch.cat([w["query.weight"], w["load.weight"]], 1)}
    names = f"add_n_normalization_1.{norm}", f"add_n_normalization_2.{norm}", "feed_forward"
    return _either_pomo(w, "decoder", query, *names)


def notebook_state(policy: AttentionPolicy) -> dict[str, Tensor]:
    """The weights of `policy` as POMO's notebooks name and shape them."""
    w = dict(policy.named_parameters()) | dict(policy.named_buffers())
    query = {"Wq.weight": torch.cat([w[f"{x}.weight"] for x in ("graph", "query", "load")], 1)}
    norms = "addAndNormalization1.norm_by_EMB", "addAndNormalization2.norm_by_EMB"
    return _either_pomo(w, "node_prob_calculator", query, *norms, "feedForward")


def _either_pomo(
    w: dict[str, Tensor],
    decoder: str,
    query: dict[str, Tensor],
    norm_1: str,
    norm_2: str,
    feed_forward: str,
) -> dict[str, Tensor]:
    keys, values = w["keys_values.weight"].chunk(2)
    state = {f"{decoder}.{name}": weight for name, weight in query.items()}
    state |= {
        "encoder.embedding_depot.weight": w["depot_encoder.layer.weight"],
        "encoder.embedding_depot.bias": w["depot_encoder.layer.bias"],
        "encoder.embedding_node.weight": torch.cat(
            [w["encoder.layer.weight"], w["demand.weight"]], 1
        ),
        "encoder.embedding_node.bias": w["encoder.layer.bias"],
        f"{decoder}.Wk.weight": keys,
        f"{decoder}.Wv.weight": values,
        f"{decoder}.multi_head_combine.weight": w["combine.weight"],
        f"{decoder}.multi_head_combine.bias": w["combine.bias"],
    }
    places = {
        "combine": "multi_head_combine",
        "norm_attention": norm_1,
        "expand": f"{feed_forward}.W1",
        "contract": f"{feed_forward}.W2",
        "norm_feed_forward": norm_2,
    }
    layers = sum(name.endswith("queries_keys_values.weight") for name in w)
    for i in range(layers):
        ours, theirs = f"trunk.{i}", f"encoder.layers.{i}"
        rows = w[f"{ours}.queries_keys_values.weight"].chunk(3)
        for part, matrix in zip("qkv", rows, strict=True):
            state[f"{theirs}.W{part}.weight"] = matrix
        for name, place in places.items():
            for key, value in w.items():
                if key.startswith(f"{ours}.{name}."):
                    state[f"{theirs}.{place}.{key.rpartition('.')[2]}"] = value
    return state


def kool_logits(state: dict[str, Tensor], instances: Instances, play: Play, training: bool):
    """(N, K, T, V) float64 logits along given tours, minus infinity where not legal."""
    w = {name: value.double() for name, value in state.items()}
    h = _features(w, "init_embed_depot", "init_embed", instances)
    layer = 0
    while f"embedder.layers.{layer}.0.module.W_query" in w:
        place = f"embedder.layers.{layer}"
        query, key, value, out = (
            w[f"{place}.0.module.W_{p}"] for p in ("query", "key", "val", "out")
        )
        summed = torch.zeros_like(h)
        for q, k, v, o in zip(query, key, value, out, strict=True):
            scores = (h @ q) @ (h @ k).transpose(1, 2) / math.sqrt(q.shape[1])
            summed = summed + scores.softmax(-1) @ (h @ v) @ o
        h = _norm(w, f"{place}.1.normalizer", h + summed, training)
        inner = torch.relu(_affine(w, f"{place}.2.module.0", h))
        h = _norm(
            w, f"{place}.3.normalizer", h + _affine(w, f"{place}.2.module.2", inner), training
        )
        layer += 1
    keys, values, pointer = (h @ w["project_node_embeddings.weight"].T).chunk(3, -1)
    graph = h.mean(1) @ w["project_fixed_context.weight"].T
    context = _context(h, instances, play) @ w["project_step_context.weight"].T
    context = context + graph[:, None, None]
    heads = len(w["embedder.layers.0.0.module.W_query"])
    glimpse = _glimpse(context, keys, values, play.legal, heads) @ w["project_out.weight"].T
    return _pointer(glimpse, pointer, play.legal)


def pomo_logits(
    state: dict[str, Tensor], instances: Instances, play: Play, heads: int, training: bool
):
    """As `kool_logits`."""
    w = {name: value.double() for name, value in state.items()}
    kind = "norm" if "encoder.layers.0.add_n_normalization_1.norm.weight" in w else "norm_by_EMB"
    norms = f"add_n_normalization_1.{kind}", f"add_n_normalization_2.{kind}"
    h = _pomo_nodes(w, instances, heads, training, *norms, "feed_forward")
    context = _context(h, instances, play) @ w["decoder.Wq_last.weight"].T
    keys, values = h @ w["decoder.Wk.weight"].T, h @ w["decoder.Wv.weight"].T
    glimpse = _glimpse(context, keys, values, play.legal, heads)
    return _pointer(_affine(w, "decoder.multi_head_combine", glimpse), h, play.legal)


def notebook_logits(
    state: dict[str, Tensor], instances: Instances, play: Play, heads: int, training: bool
):
    """As `kool_logits`."""
    w = {name: value.double() for name, value in state.items()}
    norms = "addAndNormalization1.norm_by_EMB", "addAndNormalization2.norm_by_EMB"
    h = _pomo_nodes(w, instances, heads, training, *norms, "feedForward")
    place = "node_prob_calculator"
    last = _context(h, instances, play)
    graph = h.mean(1)[:, None, None].expand(*last.shape[:3], -1)
    query = torch.cat([graph, last], -1) @ w[f"{place}.Wq.weight"].T
    keys, values = h @ w[f"{place}.Wk.weight"].T, h @ w[f"{place}.Wv.weight"].T
    glimpse = _glimpse(query, keys, values, play.legal, heads)
    return _pointer(_affine(w, f"{place}.multi_head_combine", glimpse), h, play.legal)


def _pomo_nodes(
    w: dict[str, Tensor],
    instances: Instances,
    heads: int,
    training: bool,
    norm_1: str,
    norm_2: str,
    feed_forward: str,
) -> Tensor:
    """(N, V, M) behind the trunk, its layers' parts being called so."""
    h = _features(w, "encoder.embedding_depot", "encoder.embedding_node", instances)
    layer = 0
    while f"encoder.layers.{layer}.Wq.weight" in w:
        place = f"encoder.layers.{layer}"
        query, key, value = (h @ w[f"{place}.W{p}.weight"].T for p in "qkv")
        parts = [
            (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
            for q, k, v in zip(*(x.chunk(heads, -1) for x in (query, key, value)), strict=True)
        ]
        seen = _affine(w, f"{place}.multi_head_combine", torch.cat(parts, -1))
        h = _norm(w, f"{place}.{norm_1}", h + seen, training)
        inner = torch.relu(_affine(w, f"{place}.{feed_forward}.W1", h))
        inner = _affine(w, f"{place}.{feed_forward}.W2", inner)
        h = _norm(w, f"{place}.{norm_2}", h + inner, training)
        layer += 1
    return h


def _affine(w: dict[str, Tensor], place: str, x: Tensor) -> Tensor:
    return x @ w[f"{place}.weight"].T + w[f"{place}.bias"]


def _features(w: dict[str, Tensor], depot: str, customer: str, instances: Instances) -> Tensor:
    goods = instances.demand.double() / instances.capacity.double()[:, None]
    x = torch.cat([instances.customers.double(), goods[..., None]], -1)
    first = _affine(w, depot, instances.depot.double())
    return torch.cat([first[:, None], _affine(w, customer, x)], 1)


def _norm(w: dict[str, Tensor], place: str, x: Tensor, training: bool) -> Tensor:
    if f"{place}.running_mean" not in w:  # over the nodes of an instance
        mean, variance = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
    elif training:  # over all nodes of the batch
        mean, variance = x.mean((0, 1)), x.var((0, 1), correction=0)
    else:
        mean, variance = w[f"{place}.running_mean"], w[f"{place}.running_var"]
    normal = (x - mean) / torch.sqrt(variance + EPSILON)
    return normal * w[f"{place}.weight"] + w[f"{place}.bias"]


def _context(h: Tensor, instances: Instances, play: Play) -> Tensor:
    """[h of the node last visited; load over capacity], (N, K, T, M + 1)."""
    n, k, _ = play.actions.shape
    before = torch.cat([torch.zeros(n, k, 1, dtype=torch.int64), play.actions[..., :-1]], -1)
    last = h[torch.arange(n)[:, None, None], before]
    load = play.load.double() / instances.capacity.double()[:, None, None]
    return torch.cat([last, load[..., None]], -1)


def _glimpse(query: Tensor, keys: Tensor, values: Tensor, legal: Tensor, heads: int) -> Tensor:
    parts = []
    for q, k, v in zip(*(x.chunk(heads, -1) for x in (query, keys, values)), strict=True):
        scores = torch.einsum("nktd,nvd->nktv", q, k) / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~legal, -torch.inf).softmax(-1)
        parts.append(torch.einsum("nktv,nvd->nktd", weights, v))
    return torch.cat(parts, -1)


def _pointer(glimpse: Tensor, keys: Tensor, legal: Tensor) -> Tensor:
    scores = torch.einsum("nktm,nvm->nktv", glimpse, keys) / math.sqrt(keys.shape[-1])
    return (10 * torch.tanh(scores)).masked_fill(~legal, -torch.inf)
