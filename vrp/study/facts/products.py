"""Matrix products against element-wise ones."""

from __future__ import annotations

import torch
from torch import nn

from vrp.study.facts.record import Budget, Check, Fact, error_of, verdict


def linear(_: Budget, shift: float = 0.0) -> Fact:
    """Linear by hand on (128, 256, 8); `shift` is added to the result by hand."""
    layer = nn.Linear(8, 32).double()
    points = torch.rand(128, 256, 8, generator=torch.Generator().manual_seed(0)).double()
    by_hand = points @ layer.weight.T + layer.bias + shift
    apart = (layer(points) - by_hand).abs().max().item()
    return Fact(
        name="matmul and Linear",
        claim="Linear computes input @ weight.T + bias, on the last axis of any input.",
        verdict=verdict(apart < 1e-14),
        figure=f"largest difference {apart:.1e} in float64, on (128, 256, 8)",
        why="The weight is kept as (out, in), hence the transpose.",
    )


def element_wise(_: Budget) -> Fact:
    """The product with * against Linear, where the shapes allow it."""
    cases, notes = [], []
    for rows, outputs in ((4, 5), (3, 3), (1, 5)):
        layer = nn.Linear(3, outputs, bias=False)
        points = torch.rand(rows, 3, generator=torch.Generator().manual_seed(0))
        shapes = f"({rows}, 3) * ({outputs}, 3)"
        if error := error_of(lambda points=points, layer=layer: points * layer.weight):
            cases.append(False)
            notes.append(f"{shapes} {error}")
            continue
        wanted, found = layer(points), points * layer.weight
        cases.append(wanted.shape == found.shape and torch.allclose(wanted, found))
        notes.append(f"{shapes} gives {tuple(found.shape)}, Linear {tuple(wanted.shape)}")
    same = "" if cases[1] else " with other numbers"
    return Fact(
        name="matmul and element-wise",
        claim="A Linear layer multiplies input and weight element by element.",
        verdict=verdict(*cases),
        figure=f"{notes[0]}; {notes[1]}{same}; {notes[2]}",
        why="Each output is a sum over the inputs; * does not sum.",
    )


def shapes(_: Budget) -> Fact:
    """Where mm and matmul both work and agree."""
    cases, notes = [], []
    for left, right in (((4, 3), (3, 5)), ((3,), (3,)), ((2, 4, 3), (3, 5)), ((1, 5), (1, 5))):
        a, b = torch.ones(left), torch.ones(right)
        mm = error_of(lambda a=a, b=b: torch.mm(a, b)) or f"{tuple(torch.mm(a, b).shape)}"
        matmul = error_of(lambda a=a, b=b: a @ b) or f"{tuple((a @ b).shape)}"
        cases.append(mm == matmul)
        notes.append(f"{left} {right}: {mm} / {matmul}")
    return Fact(
        name="mm and matmul",
        claim="mm and matmul can stand for each other.",
        verdict=verdict(*cases),
        figure="mm / matmul of " + "; ".join(notes),
        why="mm takes two matrices only; matmul also takes vectors, and repeats a matrix over "
        "the batch. Neither transposes (1, 5) by itself.",
    )


def features_and_weights(_: Budget, seed: int = 7) -> Fact:
    """A neuron of five inputs, all numbers from the seed, four ways to compute it."""
    generator = torch.Generator().manual_seed(seed)
    features, weights = (torch.randn(1, 5, generator=generator) for _draw in range(2))
    bias = torch.randn(1, 1, generator=generator)
    right = torch.sigmoid((features * weights).sum() + bias).item()
    product = torch.sigmoid(features @ weights.T + bias).item()
    outer = features.T @ weights  # (5, 5)
    wrong = torch.sigmoid((outer + bias).sum()).item()
    once = torch.sigmoid(outer.sum() + bias).item()
    total = outer.sum().item()
    return Fact(
        name="features and weights",
        claim=f"With seed {seed}, turning the features instead of the weights gives the neuron's "
        "output as well: sum(features.T @ weights + bias).",
        verdict=verdict(abs(wrong - right) < 1e-4),
        figure=f"{wrong:.4f}; right are sum(features * weights) + bias, {right:.4f}, and "
        f"features @ weights.T + bias, {product:.4f}; the bias added once to the turned "
        f"product: {once:.4f}",
        why=f"(5, 1) @ (1, 5) is the outer product, 25 numbers of sum {total:.3f} instead of "
        f"{(features * weights).sum():.3f}, and the bias {bias.item():.3f} joins each: "
        f"sigmoid({total:.3f} + 25 x {bias.item():.3f}).",
    )


FACTS: dict[str, Check] = {
    "matmul and Linear": linear,
    "matmul and element-wise": element_wise,
    "mm and matmul": shapes,
    "features and weights": features_and_weights,
}
