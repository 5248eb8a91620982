"""nn.LSTM: its shapes and its equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vrp.policy.lstm import lstm_step
from vrp.study.facts.record import Budget, Check, Fact, verdict

_PYTORCH_ORDER = (0, 1, 2, 3)  # input, forget, cell, output
_TENSORFLOW_ORDER = (0, 2, 1, 3)  # input, cell, forget, output


def weights(_: Budget, hidden: int = 16) -> Fact:
    """Input 100 and hidden size 16."""
    layer = nn.LSTM(100, hidden)
    shape, recurrent = tuple(layer.weight_ih_l0.shape), tuple(layer.weight_hh_l0.shape)
    return Fact(
        name="LSTM weights",
        claim="An LSTM of hidden size 16 on inputs of 100 has an input matrix of 16 x 100.",
        verdict=verdict(shape == (16, 100)),
        figure=f"{shape}, recurrent {recurrent}, two biases of {len(layer.bias_ih_l0)}",
        why="The matrices of the four gates stand on top of each other; each is 16 x 100.",
    )


def states(_: Budget, layers: int = 1) -> Fact:
    """Outputs and states of 3 sequences of 7 steps, hidden size 16."""
    layer = nn.LSTM(100, 16, layers, batch_first=True)
    output, (hidden, cell) = layer(torch.zeros(3, 7, 100))
    return Fact(
        name="LSTM states",
        claim="With batch_first the hidden and the cell state have the batch first, too.",
        verdict=verdict(hidden.shape[0] == 3, cell.shape[0] == 3),
        figure=f"output {tuple(output.shape)}, hidden {tuple(hidden.shape)}, cell "
        f"{tuple(cell.shape)}",
        why="batch_first speaks of input and output; states are (layers, N, hidden).",
    )


def _apart(order: tuple[int, ...], dtype: torch.dtype = torch.float64) -> float:
    """nn.LSTM against our equations with the four blocks read in `order`, over 7 steps."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.LSTM(5, 8).to(dtype)
    for parameter in layer.parameters():
        parameter.data.uniform_(-1, 1, generator=generator)
    inputs = torch.randn(7, 3, 5, generator=generator).to(dtype)

    def blocks(parameter: Tensor) -> Tensor:
        parts = parameter.chunk(4)
        return torch.cat([parts[n] for n in order])

    hidden = cell = inputs.new_zeros(3, 8)
    outputs = []
    for x in inputs:
        gates = x @ blocks(layer.weight_ih_l0).T + blocks(layer.bias_ih_l0)
        gates = gates + hidden @ blocks(layer.weight_hh_l0).T + blocks(layer.bias_hh_l0)
        hidden, cell = lstm_step(gates, cell)
        outputs.append(hidden)
    return (layer(inputs)[0] - torch.stack(outputs)).abs().max().item()


def equations(_: Budget, order: tuple[int, ...] = _PYTORCH_ORDER) -> Fact:
    """Seven steps by our `lstm_step`."""
    apart, single = _apart(order), _apart(order, torch.float32)
    return Fact(
        name="LSTM gates",
        claim="nn.LSTM computes c = f c + i g and h = o tanh(c), each gate from an affine map of "
        "input and hidden state.",
        verdict=verdict(apart < 1e-12, single < 1e-5),
        figure=f"largest difference over 7 steps {apart:.1e} in float64, {single:.1e} in float32",
        why="i, f and o are sigmoids, g is a tanh; the two biases of each gate are added.",
    )


def gate_order(_: Budget, order: tuple[int, ...] = _TENSORFLOW_ORDER) -> Fact:
    """The same weights read in another order."""
    apart = _apart(order)
    return Fact(
        name="LSTM gate order",
        claim="The order of the four blocks is the same everywhere, so weights carry over from "
        "TensorFlow as they are.",
        verdict=verdict(apart < 1e-12),
        figure=f"read as input, cell, forget, output: outputs off by up to {apart:.2f}",
        why="PyTorch keeps input, forget, cell, output; TensorFlow 1's cell, which the paper's "
        "code uses, input, cell, forget, output, and it adds 1 to the forget gate.",
    )


FACTS: dict[str, Check] = {
    "LSTM weights": weights,
    "LSTM states": states,
    "LSTM gates": equations,
    "LSTM gate order": gate_order,
}
