"""Initial parameters, each drawn from the seed and its own name.

So changing one part of a network leaves the start of all others as it was, and two encoders
with equal parameter names and sizes start from equal numbers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vrp.policy.blocks import BlockLinear
from vrp.policy.normalisation import InstanceNorm
from vrp.problem.random_numbers import named_generator

SCHEMES = ("torch", "glorot")


def check_scheme(scheme: str) -> str:
    """`scheme` itself.

    Raises:
        ValueError: if it is not one of `SCHEMES`.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"init is {scheme!r}; allowed: {', '.join(SCHEMES)}")
    return scheme


def initialise_layers(module: nn.Module, scheme: str, seed: int, prefix: str) -> None:
    """Set the parameters of all Linear, Conv1d, Embedding and LSTM layers below `module`.

    Args:
        module: its own parameters and those of its children are set.
        scheme: `torch`, PyTorch's defaults (uniform with bound 1/sqrt(fan in) for weight and
            bias, standard normal for an embedding); or `glorot`, those of the TensorFlow layers
            in the code of Nazari et al. (2018) (uniform with bound sqrt(6/(fan in + fan out)),
            zero bias, forget-gate bias 1). A `BlockLinear` has the fans that it states.
        seed: any integer.
        prefix: put before each parameter's name; ends in a dot or is empty.

    Raises:
        ValueError: for an unknown scheme.
        TypeError: for a layer that has parameters and no rule.
    """
    check_scheme(scheme)
    for path, layer in module.named_modules():
        own = dict(layer.named_parameters(recurse=False))
        if not own:
            continue
        stem = f"{prefix}{path}." if path else prefix
        for name, parameter in own.items():
            generator = named_generator(seed, stem + name)
            _fill(layer, name, parameter, scheme, generator)


@torch.no_grad()
def _fill(
    layer: nn.Module, name: str, parameter: Tensor, scheme: str, generator: torch.Generator
) -> None:
    values = torch.empty(parameter.shape)
    if isinstance(layer, nn.Embedding):
        if scheme == "torch":
            values.normal_(generator=generator)
        else:
            _uniform(values, math.sqrt(6 / sum(parameter.shape)), generator)
    elif isinstance(layer, (nn.Linear, nn.Conv1d)):
        fan_out, fan_in = layer.weight.shape[:2]
        if isinstance(layer, BlockLinear):
            fan_out, fan_in = layer.fan_out, layer.fan_in
        if scheme == "torch":
            _uniform(values, 1 / math.sqrt(fan_in), generator)
        elif name == "weight":
            _uniform(values, math.sqrt(6 / (fan_in + fan_out)), generator)
        else:
            values.zero_()
    elif isinstance(layer, nn.LSTM):
        hidden = layer.hidden_size
        if scheme == "torch":
            _uniform(values, 1 / math.sqrt(hidden), generator)
        elif name.startswith("weight"):
            # TensorFlow keeps both matrices in one kernel of (input + hidden, 4 hidden).
            _uniform(values, math.sqrt(6 / (layer.input_size + 5 * hidden)), generator)
        else:
            values.zero_()
            if name.startswith("bias_ih"):
                values[hidden : 2 * hidden] = 1.0  # PyTorch's order: input, forget, cell, output
    elif isinstance(layer, (InstanceNorm, nn.BatchNorm1d, nn.RMSNorm)):
        values.fill_(1.0 if name == "weight" else 0.0)
    else:
        raise TypeError(f"no rule to initialise {name} of {type(layer).__name__}")
    parameter.copy_(values)


def _uniform(values: Tensor, bound: float, generator: torch.Generator) -> None:
    values.uniform_(-bound, bound, generator=generator)
