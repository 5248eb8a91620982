"""The paper's masking and network written down plainly, to hold the fast ones against.

Nothing is precomputed: each vehicle is played by itself with Python's integers, each x_i is
concatenated and projected at each step as equations 4 to 6 of Nazari et al. (2018) say, and
`torch.nn.LSTM` remembers. The network runs in float64 on the weights of a `PointerPolicy` and
is differentiable in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from vrp.policy import PointerPolicy
from vrp.problem import Instances


@dataclass(frozen=True)
class Play:
    """K random legal tours of N instances, and what was seen before each of T steps.

    Attributes:
        actions: (N, K, T) int64, padded with 0.
        legal: (N, K, T, V) bool.
        load: (N, K, T) int64.
        remaining: (N, K, T, V) int64, the demand not yet served.
        open: (N, K, T) bool.
    """

    actions: Tensor
    legal: Tensor
    load: Tensor
    remaining: Tensor
    open: Tensor


def random_play(instances: Instances, num_solutions: int, seed: int = 0, padding: int = 2) -> Play:
    """Legal nodes with equal chance, and `padding` steps more than the longest tour needs."""
    random = torch.Generator().manual_seed(seed)
    n, k = len(instances), num_solutions
    vehicles = [_vehicle(instances, i, random) for i in range(n) for _ in range(k)]
    seen = [[next(vehicle)] for vehicle in vehicles]
    for row, vehicle in zip(seen, vehicles, strict=True):
        while row[-1][-1]:
            row.append(next(vehicle))
    longest = max(map(len, seen)) + padding
    for row, vehicle in zip(seen, vehicles, strict=True):
        row.extend(next(vehicle) for _ in range(longest - len(row)))
    actions, legal, load, remaining, is_open = (
        torch.tensor([[step[i] for step in row] for row in seen]) for i in range(5)
    )
    return Play(
        actions=actions.view(n, k, longest),
        legal=legal.view(n, k, longest, -1),
        load=load.view(n, k, longest),
        remaining=remaining.view(n, k, longest, -1),
        open=is_open.view(n, k, longest),
    )


def _vehicle(instances: Instances, i: int, random: torch.Generator) -> Iterator[tuple]:
    """Endless steps of one vehicle: action, legal nodes, load, remaining demand, open."""
    capacity = int(instances.capacity[i])
    owed = [0, *instances.demand[i].tolist()]
    load, position = capacity, 0
    while True:
        split = instances.split_delivery
        legal = [owed[v] > 0 and (load > 0 if split else owed[v] <= load) for v in range(len(owed))]
        legal[0] = position != 0 or not any(owed)
        choices = [v for v, allowed in enumerate(legal) if allowed]
        action = choices[int(torch.randint(len(choices), (), generator=random))]
        yield action, legal, load, list(owed), position != 0 or any(owed)
        given = min(load, owed[action])
        owed[action] -= given
        load = capacity if action == 0 else load - given
        position = action


def textbook_logits(
    policy: PointerPolicy, instances: Instances, play: Play, dropout_mask: Tensor | None = None
) -> Tensor:
    """(N, K, T, V) float64 logits of the next node along given tours, -inf where not legal."""
    weight = {name: parameter.double() for name, parameter in policy.named_parameters()}
    nodes = policy.encoder(instances.coordinates()).double()  # (N, V, M)
    n, k, t = play.actions.shape
    v, m = nodes.shape[1:]

    def embed(name: str, goods: Tensor) -> Tensor:
        layer = weight[f"{name}_embedding.weight"], weight[f"{name}_embedding.bias"]
        return torch.nn.functional.linear(goods[..., None], *layer)

    def columns(name: str) -> Tensor:
        parts = [weight[f"{name}.{part}.weight"] for part in ("static", "demand", "load")]
        return torch.cat(parts, 1)  # (M, 3M)

    before = torch.cat([torch.zeros(n, k, 1, dtype=torch.int64), play.actions[..., :-1]], -1)
    visited = nodes[torch.arange(n)[:, None, None], before]  # (N, K, T, M)
    if dropout_mask is not None:
        visited = visited * dropout_mask[:, :, None]
    memory = {name[5:]: value for name, value in weight.items() if name.startswith("lstm.")}
    lstm = torch.nn.LSTM(m, m, batch_first=True)
    hidden, _ = functional_call(lstm, memory, (visited.reshape(n * k, t, m),))
    hidden = hidden.view(n, k, t, m)

    unit = instances.capacity.double() if policy.scale_demand else torch.ones(n).double()
    demand = play.remaining / unit[:, None, None, None]
    load = (play.load / unit[:, None, None])[..., None]
    x = torch.cat(
        [nodes[:, None, None].expand(n, k, t, v, m), embed("demand", demand),
         embed("load", load - demand)], -1,
    )  # (N, K, T, V, 3M)  # fmt: skip

    def attend(name: str, context: Tensor, of_x: Tensor, of_context: Tensor, bias: Tensor):
        both = torch.cat([x, context[..., None, :].expand(*x.shape[:-1], -1)], -1)
        inner = torch.tanh(both @ torch.cat([of_x, of_context], 1).T + bias)
        return inner @ weight[f"{name}_vector.weight"][0]

    if policy.glimpse is None:
        bias = weight["pointer.static.bias"]
        logits = attend("pointer", hidden, columns("pointer"), weight["query.weight"], bias)
    else:
        bias = weight["glimpse.static.bias"]
        scores = attend("glimpse", hidden, columns("glimpse"), weight["query.weight"], bias)
        attention = scores.masked_fill(~play.legal, -torch.inf).softmax(-1)
        context = (attention[..., None] * x).sum(-2)  # (N, K, T, 3M)
        # The context's own projection has a bias too; the two add up to one.
        bias = weight["pointer.static.bias"] + weight["values.static.bias"]
        logits = attend("pointer", context, columns("pointer"), columns("values"), bias)
    if policy.tanh_clipping:
        logits = policy.tanh_clipping * torch.tanh(logits)
    return logits.masked_fill(~play.legal, -torch.inf)


def textbook_log_prob(logits: Tensor, play: Play) -> Tensor:
    """(N, K, T) log-probability of each chosen node, 0 once the tour is closed."""
    chosen = logits.log_softmax(-1).gather(-1, play.actions[..., None])[..., 0]
    return torch.where(play.open, chosen, 0.0)
