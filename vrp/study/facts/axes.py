"""Which axis holds what: transpose, permute, view and reshape of (N, C, 2) coordinates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vrp.study.facts.equality import apply_conv1d, twin_layers
from vrp.study.facts.record import Budget, Check, Fact, error_of, verdict


def _coordinates(customers: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(16, customers, 2, generator=generator)


def axis_order(_: Budget, sizes: tuple[int, ...] = (2, 5, 10), is_transposed: bool = False) -> Fact:
    """Conv1d(2, 8, 1) on coordinates that were not transposed, or were."""
    linear, conv1d = twin_layers(2, 8, torch.float32)
    cases, notes = [], []
    for customers in sizes:
        points = _coordinates(customers)
        given = points.transpose(1, 2) if is_transposed else points
        if error := error_of(lambda given=given: conv1d(given)):
            cases.append(False)
            notes.append(f"C = {customers} {error}")
            continue
        apart = (conv1d(given).transpose(1, 2) - linear(points)).abs().max().item()
        cases.append(apart < 1e-5)
        notes.append(f"C = {customers} taken, off by up to {apart:.2f}")
    return Fact(
        name="axis order",
        claim="Conv1d takes coordinates (N, C, 2) as Linear does.",
        verdict=verdict(*cases),
        figure="; ".join(notes),
        why="Its channels stand second. With exactly two customers the mistake fits and mixes "
        "the x of one with the x of the other.",
    )


def transpose(_: Budget) -> Fact:
    """To (N, 2, C) and back, and through Conv1d."""
    points = _coordinates(10)
    turned = points.transpose(1, 2)
    linear, conv1d = twin_layers(2, 8, torch.float32)
    apart = (apply_conv1d(conv1d, points) - linear(points)).abs().max().item()
    kept = torch.equal(turned[:, 1, 3], points[:, 3, 1])
    return Fact(
        name="transpose",
        claim="transpose(1, 2) gives Conv1d its (N, 2, C), and once more brings (N, C, M) back.",
        verdict=verdict(kept, torch.equal(turned.transpose(1, 2), points), apart < 1e-5),
        figure=f"{tuple(points.shape)} to {tuple(turned.shape)}; layers then agree to {apart:.1e}",
        why="It swaps two axes, so number [n, c, 1] is found at [n, 1, c].",
    )


def permute(_: Budget, then_contiguous: bool = False) -> Fact:
    """Memory and strides behind permute; with `then_contiguous`, after a copy."""
    points = _coordinates(10)
    turned = points.permute(0, 2, 1)
    if then_contiguous:
        turned = turned.contiguous()
    copied = turned.data_ptr() != points.data_ptr()
    return Fact(
        name="permute",
        claim="permute (like transpose) moves the numbers in memory.",
        verdict=verdict(copied),
        figure=f"{'another' if copied else 'the same'} address; strides {points.stride()} become "
        f"{turned.stride()}; contiguous: {turned.is_contiguous()}; equal to transpose(1, 2): "
        f"{torch.equal(turned, points.transpose(1, 2))}",
        why="Only the strides are swapped. contiguous() makes the copy.",
    )


def view(_: Budget, customers: int = 10) -> Fact:
    """A view as (N, 2, C) where a transpose was meant."""
    points = _coordinates(customers)
    wrong = points.view(16, 2, customers)
    right = points.transpose(1, 2)
    together = (wrong == right).all(1).float().mean().item()  # x and y where they belong
    _linear, conv1d = twin_layers(2, 8, torch.float32)
    apart = (conv1d(wrong) - conv1d(right)).abs().max().item()
    return Fact(
        name="view",
        claim="view(N, 2, C) or reshape puts the channels first as transpose(1, 2) does.",
        verdict=verdict(torch.equal(wrong, right)),
        figure=f"{100 * together:.0f} % of customers keep their x and y at C = {customers}; the "
        f"encoder's output is off by up to {apart:.2f}, without an error",
        why="view reads the same numbers in the same order: the first row becomes x and y of "
        "the first half of the customers.",
    )


def view_of_transposed(_: Budget) -> Fact:
    """Flattening what is contiguous and what is not."""
    points = _coordinates(10)
    kinds = {
        "contiguous": points,
        "transposed": points.transpose(1, 2),
        "transposed, then contiguous()": points.transpose(1, 2).contiguous(),
        "sliced in the last axis": points[..., 0],
    }
    errors = {name: error_of(lambda k=kind: k.view(-1)) for name, kind in kinds.items()}
    return Fact(
        name="view of non-contiguous",
        claim="view works on every tensor.",
        verdict=verdict(*(not error for error in errors.values())),
        figure="; ".join(f"{name}: {error or 'works'}" for name, error in errors.items()),
        why="It may not copy, so the new shape must follow from strides alone.",
    )


def reshape(_: Budget) -> Fact:
    """On a transposed tensor, where view fails."""
    points = _coordinates(10)
    turned = points.transpose(1, 2)
    flat = turned.reshape(-1)
    refused = error_of(lambda: turned.view(-1))
    copied = flat.data_ptr() != points.data_ptr()
    shared = points.reshape(-1).data_ptr() == points.data_ptr()
    return Fact(
        name="reshape",
        claim="reshape is view where that is possible and a copy where it is not.",
        verdict=verdict(bool(refused) and copied, shared),
        figure=f"transposed: view raises {refused or 'nothing'}, reshape "
        f"{'copies' if copied else 'shares'}; contiguous: reshape "
        f"{'shares' if shared else 'copies'}",
        why="So whether writing to the result changes the source depends on its strides.",
    )


def minus_one(_: Budget) -> Fact:
    """What -1 may stand for in 24 numbers."""
    numbers = torch.arange(24)
    asked = ((-1,), (4, -1), (2, -1, 3), (5, -1), (-1, -1))
    notes = []
    for shape in asked:
        error = error_of(lambda shape=shape: numbers.reshape(shape))
        notes.append(f"{shape} {error or tuple(numbers.reshape(shape).shape)}")
    return Fact(
        name="reshape -1",
        claim="-1 lets reshape find the size by itself.",
        verdict=verdict(*("Error" not in note for note in notes)),
        figure="24 numbers as " + "; ".join(notes),
        why="One -1, and the rest must divide the count.",
    )


def numpy_transpose(_: Budget) -> Fact:
    """numpy.transpose by the indices of its result, against torch."""
    array = np.arange(24).reshape(2, 3, 4)
    turned = np.transpose(array, (2, 0, 1))
    by_index = all(turned[k, i, j] == array[i, j, k] for i, j, k in np.ndindex(array.shape))
    tensor = torch.from_numpy(array)
    as_permute = np.array_equal(turned, tensor.permute(2, 0, 1).numpy())
    refused = error_of(lambda: tensor.transpose(2, 0, 1))
    return Fact(
        name="numpy.transpose",
        claim="numpy.transpose(a, (2, 0, 1)) is torch's permute: result[k, i, j] = a[i, j, k].",
        verdict=verdict(by_index, as_permute),
        figure=f"{array.shape} to {turned.shape}; all 24 indices as said: {by_index}; equal to "
        f"permute: {as_permute}; torch's transpose with three axes: {refused or 'works'}",
        why="Axis n of the result is axis axes[n] of the source; torch's transpose swaps two.",
    )


FACTS: dict[str, Check] = {
    "axis order": axis_order,
    "transpose": transpose,
    "permute": permute,
    "view": view,
    "view of non-contiguous": view_of_transposed,
    "reshape": reshape,
    "reshape -1": minus_one,
    "numpy.transpose": numpy_transpose,
}
