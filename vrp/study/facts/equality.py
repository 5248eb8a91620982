"""Conv1d with kernel 1, Linear and Conv2d 1 x 1 as one function."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vrp.study.facts.record import Budget, Check, Fact, verdict

_SIZES = (  # N, C, in, out: the tutorial's, then the encoder's
    (128, 256, 8, 32),
    (512, 11, 2, 128),
    (64, 21, 2, 128),
    (3, 5, 2, 4),
)
# Of the largest number, in units of the type's relative spacing. An output adds 9 terms at
# most, a weight's gradient as many as there are customers.
_OUTPUT_LIMIT = 16
_GRADIENT_LIMIT = 256


def twin_layers(inputs: int, outputs: int, dtype: torch.dtype) -> tuple[nn.Linear, nn.Conv1d]:
    """A Linear and a Conv1d of kernel 1 with the same numbers, from seed 0."""
    generator = torch.Generator().manual_seed(0)
    linear, conv1d = nn.Linear(inputs, outputs), nn.Conv1d(inputs, outputs, 1)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.uniform_(-1, 1, generator=generator)
        conv1d.weight.copy_(linear.weight[..., None])
        conv1d.bias.copy_(linear.bias)
    return linear.to(dtype), conv1d.to(dtype)


def apply_conv1d(layer: nn.Conv1d, points: Tensor) -> Tensor:
    """(N, C, in) to (N, C, out)."""
    return layer(points.transpose(1, 2)).transpose(1, 2)


def _points(size: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(size, generator=generator).to(dtype).requires_grad_()


def _apart(a: Tensor, b: Tensor) -> float:
    """The largest difference, in spacings of the largest number."""
    return ((a - b).abs().max() / (a.abs().max() * torch.finfo(a.dtype).eps)).item()


def outputs(_: Budget, perturbation: float = 0.0) -> Fact:
    """Over sizes and precisions; `perturbation` is added to one weight of Conv1d."""
    worst, equal, cases = {}, 0, []
    for dtype in (torch.float32, torch.float64):
        for n, c, inputs, width in _SIZES:
            linear, conv1d = twin_layers(inputs, width, dtype)
            conv1d.weight.data[0, 0, 0] += perturbation
            points = _points((n, c, inputs), dtype)
            a, b = linear(points), apply_conv1d(conv1d, points)
            worst[dtype] = max(worst.get(dtype, 0.0), (a - b).abs().max().item())
            cases.append(_apart(a, b) <= _OUTPUT_LIMIT)
            equal += torch.equal(a, b)
    return Fact(
        name="equal outputs",
        claim="With the same weights, Conv1d of kernel 1 and Linear give the same outputs.",
        verdict=verdict(*cases),
        figure=f"largest difference {worst[torch.float32]:.1e} in float32 and "
        f"{worst[torch.float64]:.1e} in float64; {equal} of {len(cases)} cases to the last bit",
        why="The same sums of products in another order; what is left is rounding.",
    )


def gradients(_: Budget, perturbation: float = 0.0) -> Fact:
    """As `outputs`, for the gradients of weight, bias and input of a mean of squares."""
    worst, cases = {}, []
    for dtype in (torch.float32, torch.float64):
        for n, c, inputs, width in _SIZES:
            linear, conv1d = twin_layers(inputs, width, dtype)
            conv1d.weight.data[0, 0, 0] += perturbation
            points = _points((n, c, inputs), dtype)
            pairs = [
                torch.autograd.grad(made.square().mean(), (*layer.parameters(), points))
                for layer, made in (
                    (linear, linear(points)),
                    (conv1d, apply_conv1d(conv1d, points)),
                )
            ]
            for a, b in zip(*pairs, strict=True):
                apart = _apart(a, b.reshape(a.shape))
                worst[dtype] = max(worst.get(dtype, 0.0), apart * torch.finfo(dtype).eps)
                cases.append(apart <= _GRADIENT_LIMIT)
    return Fact(
        name="equal gradients",
        claim="With the same weights, their gradients for weight, bias and input are equal, too.",
        verdict=verdict(*cases),
        figure=f"largest difference, of the largest gradient: {worst[torch.float32]:.1e} in "
        f"float32, {worst[torch.float64]:.1e} in float64",
        why="A weight's gradient sums over all customers of the batch, in another order.",
    )


def conv2d(_: Budget, perturbation: float = 0.0) -> Fact:
    """Conv2d with kernel 1 x 1 over an image against Linear on its last axis."""
    linear, _conv1d = twin_layers(8, 32, torch.float64)
    layer = nn.Conv2d(8, 32, 1).double()
    with torch.no_grad():
        layer.weight.copy_(linear.weight[..., None, None] + perturbation)
        layer.bias.copy_(linear.bias)
    image = _points((20, 8, 15), torch.float64)[..., None].expand(-1, -1, -1, 10)
    made = layer(image).permute(0, 2, 3, 1)
    wanted = linear(image.permute(0, 2, 3, 1))
    return Fact(
        name="Conv2d 1x1",
        claim="Conv2d with a 1 x 1 kernel is a Linear layer for each pixel.",
        verdict=verdict(_apart(wanted, made) <= _OUTPUT_LIMIT),
        figure=f"largest difference {(made - wanted).abs().max():.1e} in float64",
        why="One affine map of the channels, whatever the number of other axes.",
    )


FACTS: dict[str, Check] = {
    "equal outputs": outputs,
    "equal gradients": gradients,
    "Conv2d 1x1": conv2d,
}
