"""Which customers an output depends on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from vrp.study.facts.equality import apply_conv1d
from vrp.study.facts.record import Budget, Check, Fact, verdict

_CUSTOMERS = 7


def influence(kernel: int) -> Tensor:
    """(C, C) largest derivative of output i by customer j, of a padded Conv1d."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv1d(2, 16, kernel, padding=kernel // 2).double()
    for parameter in layer.parameters():
        parameter.data.uniform_(-1, 1, generator=generator)
    points = torch.rand(1, _CUSTOMERS, 2, generator=generator).double()
    # (1, C, M, 1, C, 2)
    derivative = jacobian(lambda given: apply_conv1d(layer, given), points)
    return derivative[0, :, :, 0].abs().amax((1, 3))


def cross_correlation(kernel: int) -> Fact:
    """Whether a Conv1d of that kernel mixes customers, by its Jacobian."""
    found = influence(kernel)
    others = found - found.diag().diag()
    mixing = int((others > 0).sum())
    pairs = _CUSTOMERS * (_CUSTOMERS - 1)
    return Fact(
        name=f"cross-correlation {kernel}",
        claim="Conv1d is a cross-correlation along the customers, so an output mixes "
        f"neighbours (kernel {kernel}).",
        verdict=verdict(mixing > 0),
        figure=f"{mixing} of {pairs} derivatives by another customer are not 0, the largest "
        f"{others.max():.3f} (by the own customer {found.diag().max():.3f})",
        why="The window holds one customer: no neighbour, no order."
        if kernel == 1
        else f"The window holds {kernel} customers, so the order in which they are numbered "
        "counts.",
    )


def kernel_1(_: Budget) -> Fact:
    """The paper's kernel."""
    return cross_correlation(1)


def kernel_3(_: Budget) -> Fact:
    """The kernel that the argument is about."""
    return cross_correlation(3)


FACTS: dict[str, Check] = {"cross-correlation 1": kernel_1, "cross-correlation 3": kernel_3}
