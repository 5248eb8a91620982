"""Sizes: parameters, weights and outputs."""

from __future__ import annotations

from itertools import product

import torch
from torch import nn

from vrp.study.facts.record import Budget, Check, Fact, verdict


def parameters(_: Budget, kernel: int = 1) -> Fact:
    """Conv1d(8, 32, kernel) against Linear(8, 32)."""
    conv1d, linear = (
        sum(parameter.numel() for parameter in layer.parameters())
        for layer in (nn.Conv1d(8, 32, kernel), nn.Linear(8, 32))
    )
    return Fact(
        name="parameters",
        claim=f"Conv1d(8, 32, {kernel}) and Linear(8, 32) have equally many parameters.",
        verdict=verdict(conv1d == linear),
        figure=f"{conv1d} and {linear}",
        why="8 x 32 weights and 32 biases; a kernel of 1 adds an axis and no number.",
    )


def weights(_: Budget, kernel: int = 1) -> Fact:
    """The weights differ by an axis of the kernel's size."""
    conv1d = tuple(nn.Conv1d(8, 32, kernel).weight.shape)
    linear = tuple(nn.Linear(8, 32).weight.shape)
    return Fact(
        name="weight shapes",
        claim="The weights differ by one axis of size 1 only.",
        verdict=verdict(conv1d == (*linear, 1)),
        figure=f"{conv1d} and {linear}",
        why="Conv1d keeps (out, in, kernel), Linear (out, in): weight[:, :, 0] carries over.",
    )


def conv1d_strided(_: Budget, length: int = 50) -> Fact:
    """The example of Conv1d's documentation."""
    layer = nn.Conv1d(16, 33, 3, stride=2)
    shape = tuple(layer(torch.zeros(20, 16, length)).shape)
    return Fact(
        name="Conv1d shape",
        claim="Conv1d(16, 33, 3, stride 2) turns (20, 16, 50) into (20, 33, 24).",
        verdict=verdict(shape == (20, 33, 24)),
        figure=f"{shape}",
        why="(50 - 3) / 2 + 1 = 24.5, rounded down; the channels stand second.",
    )


_CONV2D = (  # what follows Conv2d(16, 33, ...), and the size on (20, 16, 50, 100)
    ({"kernel_size": 3, "stride": 2}, (20, 33, 24, 49)),
    ({"kernel_size": (3, 5), "stride": (2, 1), "padding": (4, 2)}, (20, 33, 28, 100)),
    (
        {"kernel_size": (3, 5), "stride": (2, 1), "padding": (4, 2), "dilation": (3, 1)},
        (20, 33, 26, 100),
    ),
)


def conv2d(_: Budget, height: int = 50) -> Fact:
    """The three examples of Conv2d's documentation, on the meta device: shapes only."""
    given = torch.empty(20, 16, height, 100, device="meta")
    found = [tuple(nn.Conv2d(16, 33, **how, device="meta")(given).shape) for how, _size in _CONV2D]
    return Fact(
        name="Conv2d shapes",
        claim="Each axis of a Conv2d follows the formula of Conv1d with its own kernel, stride, "
        "padding and dilation.",
        verdict=verdict(*(a == b for a, (_how, b) in zip(found, _CONV2D, strict=True))),
        figure="; ".join(map(str, found)),
        why="Kernel 3 stride 2; kernel (3, 5) stride (2, 1) padding (4, 2); the same with "
        "dilation (3, 1), all of (20, 16, 50, 100).",
    )


def notes_size(length: int, kernel: int, stride: int, padding: int) -> float:
    """The lecture notes' output size, which may come out as a fraction."""
    return (length - kernel + 2 * padding) / stride + 1


def pytorch_size(length: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """The output size by PyTorch's documentation."""
    return (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def output_size(_: Budget) -> Fact:
    """Both formulas against what Conv1d returns, over a grid of settings."""
    held: dict[str, list[bool]] = {"exact": [], "fraction": [], "dilated": []}
    official = []
    for length, kernel, stride, padding, dilation in product(
        (10, 11, 20, 50), (1, 2, 3, 5), (1, 2, 3), (0, 1, 2), (1, 2)
    ):
        layer = nn.Conv1d(1, 1, kernel, stride, padding, dilation, device="meta")
        size = layer(torch.empty(1, 1, length, device="meta")).shape[-1]
        noted = notes_size(length, kernel, stride, padding)
        dilated = dilation > 1 and kernel > 1
        kind = "dilated" if dilated else "exact" if noted.is_integer() else "fraction"
        held[kind].append(noted == size)
        official.append(pytorch_size(length, kernel, stride, padding, dilation) == size)

    def share(found: list[bool]) -> str:
        return f"{sum(found)} of {len(found)}"

    return Fact(
        name="output size",
        claim="A convolution's output has (length - kernel + 2 padding) / stride + 1 places.",
        verdict=verdict(*(all(found) for found in held.values())),
        figure=f"right in {share(held['exact'])} settings where the stride divides, in "
        f"{share(held['fraction'])} where it does not, in {share(held['dilated'])} with "
        f"dilation; PyTorch's formula in {share(official)}",
        why="PyTorch rounds down, and dilation stretches the kernel to "
        "dilation x (kernel - 1) + 1.",
    )


FACTS: dict[str, Check] = {
    "parameters": parameters,
    "weight shapes": weights,
    "Conv1d shape": conv1d_strided,
    "Conv2d shapes": conv2d,
    "output size": output_size,
}
