"""What the layers start from."""

from __future__ import annotations

import torch
from torch import nn

from vrp.policy.encoders import Conv1dEncoder, LinearEncoder
from vrp.study.facts.record import Budget, Check, Fact, verdict

_SEEDS = 20


def default_start(_: Budget, shift: int = 0) -> Fact:
    """Conv1d and Linear made after one seed; with `shift`, after different ones."""
    torch_differs, ours_differ = 0, 0
    for seed in range(_SEEDS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            conv1d = nn.Conv1d(8, 32, 1)
            torch.manual_seed(seed + shift)
            linear = nn.Linear(8, 32)
        torch_differs += not _same_start(conv1d, linear)
        encoders = Conv1dEncoder(128), LinearEncoder(128)
        encoders[0].initialise(seed, "encoder.")
        encoders[1].initialise(seed + shift, "encoder.")
        ours_differ += not _same_start(encoders[0].layer, encoders[1].layer)
    return Fact(
        name="default start",
        claim="Conv1d and Linear differ in how PyTorch initialises them.",
        verdict=verdict(torch_differs > 0, ours_differ > 0),
        figure=f"of {_SEEDS} seeds, {torch_differs} give unequal numbers in torch's layers and "
        f"{ours_differ} in our encoders",
        why="Both draw weight, then bias, uniformly within 1/sqrt(inputs x kernel); one seed "
        "gives the same numbers to the last bit.",
    )


def _same_start(conv1d: nn.Conv1d, linear: nn.Linear) -> bool:
    return torch.equal(conv1d.weight[:, :, 0], linear.weight) and torch.equal(
        conv1d.bias, linear.bias
    )


def glorot(_: Budget, schemes: tuple[str, str] = ("torch", "glorot")) -> Fact:
    """Bounds of the encoder's weights and biases, estimated by the largest of 128 outputs."""
    bounds, biases = [], []
    for scheme in schemes:
        encoder = LinearEncoder(128, scheme)
        encoder.initialise(0, "encoder.")
        bounds.append(encoder.layer.weight.abs().max().item())
        biases.append(encoder.layer.bias.abs().max().item())
    same = all(abs(a - b) < 0.01 for a, b in (bounds, biases))
    return Fact(
        name="Glorot",
        claim="PyTorch's default start of the encoder is that of the paper's TensorFlow code.",
        verdict=verdict(same),
        figure=f"weights up to ±{bounds[0]:.3f} and ±{bounds[1]:.3f}, "
        f"biases up to ±{biases[0]:.3f} and ±{biases[1]:.3f}",
        why="PyTorch: 1/sqrt(2) for both. TensorFlow: sqrt(6/(2 + 128)) and zero.",
    )


FACTS: dict[str, Check] = {"default start": default_start, "Glorot": glorot}
