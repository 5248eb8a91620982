"""Normalisation layers against a shift of the inputs.

A network without attention learns a customer's distance to the middle of the square: two inputs,
32 hidden units, a normalisation before their tanh, one output.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from tqdm import tqdm

from vrp.study.facts.record import Budget, Check, Fact, verdict

_HIDDEN = 32
_WAYS = (  # name, kind of layer, whether the test batch's own statistics are used
    ("none", "none", False),
    ("BatchNorm, stored statistics", "batch", False),
    ("BatchNorm, the batch's own", "batch", True),
    ("LayerNorm", "layer", False),
)
_MIDDLE = 0.5
_STEPS = 1000  # of Adam; fewer leave the network untrained, and nothing is learned from it


def _network(kind: str) -> nn.Sequential:
    between = {"none": nn.Identity, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[kind]
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Linear(2, _HIDDEN), between(_HIDDEN), nn.Tanh(), nn.Linear(_HIDDEN, 1)
    )
    for layer in (network[0], network[3]):
        bound = layer.in_features**-0.5
        for parameter in layer.parameters():
            parameter.data.uniform_(-bound, bound, generator=generator)
    return network


def _batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    points = torch.rand(256, 2, generator=generator)
    return points, (points - _MIDDLE).norm(dim=1, keepdim=True)


@cache
def trained(kind: str, steps: int, offset: float) -> nn.Sequential:
    """The network after Adam on inputs that are all moved by `offset`."""
    network, generator = _network(kind), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _step in tqdm(range(steps), f"normalisation {kind}", leave=False, disable=None):
        points, target = _batch(generator)
        optimizer.zero_grad()
        (network(points + offset) - target).square().mean().backward()
        optimizer.step()
    return network


@torch.no_grad()
def error(network: nn.Sequential, offset: float, batch_statistics: bool = False) -> float:
    """Root mean squared error on 256 unseen customers moved by `offset`."""
    points, target = _batch(torch.Generator().manual_seed(2))
    stored = {name: value.clone() for name, value in network.state_dict().items()}
    network.train(batch_statistics)
    found = (network(points + offset) - target).square().mean().sqrt().item()
    network.load_state_dict(stored)
    return found


def shifted(_: Budget, offset: float = 0.5) -> Fact:
    """Trained in the unit square, used on inputs moved by `offset`."""
    found = {}
    for name, kind, own in _WAYS:
        network = trained(kind, _STEPS, 0.0)
        found[name] = error(network, 0.0, own), error(network, offset, own)
    held = [after < 2 * before for name, (before, after) in found.items() if name != "none"]
    return Fact(
        name="normalisation",
        claim="A normalisation layer protects the network against covariate shift: the same "
        "task on inputs that have moved.",
        verdict=verdict(*held),
        figure=f"error before and after a shift of {offset:g}: "
        + "; ".join(f"{name} {a:.3f}, {b:.3f}" for name, (a, b) in found.items()),
        why="A shift moves each hidden unit by a constant, which the batch's own mean takes out "
        "exactly. Stored means do not know of it, and a mean over units is another number.",
    )


def off_centre(_: Budget, offset: float = 10.0) -> Fact:
    """Trained on inputs that are off centre from the start."""
    found = {
        name: (
            error(trained(kind, _STEPS, 0.0), 0.0, own),
            error(trained(kind, _STEPS, offset), offset, own),
        )
        for name, kind, own in _WAYS
    }
    held = [after < 2 * before for name, (before, after) in found.items() if name != "none"]
    return Fact(
        name="normalisation in training",
        claim="With normalisation, training does not mind inputs that are off centre.",
        verdict=verdict(*held),
        figure=f"error after {_STEPS:,} steps on centred inputs and on inputs moved by "
        f"{offset:g}: " + "; ".join(f"{name} {a:.3f}, {b:.3f}" for name, (a, b) in found.items()),
        why="Only a mean over the batch removes what all inputs have in common. The stored mean "
        "lags behind the weights, which an input of that size multiplies.",
    )


FACTS: dict[str, Check] = {
    "normalisation": shifted,
    "normalisation in training": off_centre,
}
