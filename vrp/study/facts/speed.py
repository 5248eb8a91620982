"""Linear against Conv1d with kernel 1 by the clock.

The layers take turns, so that what else the machine does falls on all of them, and the median
counts. Verdicts rest on ratios within this run; the microseconds are this machine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from vrp.study.facts.equality import apply_conv1d, twin_layers
from vrp.study.facts.record import Budget, Check, Fact, verdict
from vrp.study.steps import StepTime, summarised
from vrp.study.timing import time_steps

_TUTORIAL = (128, 256, 8, 32)  # N, C, in, out
_GRID = (
    (1, 21, 2, 128),
    (64, 11, 2, 128),
    (512, 21, 2, 128),
    (64, 101, 2, 128),
    _TUTORIAL,
    (64, 21, 128, 128),
)
_MANY = 5.0  # about half of the 9.5 that lie between the tutorial's figures
_FASTER = 1.1
_MATTERS = 0.1  # of a training step


def medians(works: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median seconds of each, taking turns for about `seconds` times their number."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    end = time.perf_counter() + seconds * len(works)
    while time.perf_counter() < end or len(next(iter(taken.values()))) < 4:
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - begun)
    # The first turns warm up.
    return {name: sorted(found[1:])[len(found[1:]) // 2] for name, found in taken.items()}


def _forms(size: tuple[int, int, int, int]) -> tuple[dict[str, Callable[[], Tensor]], Tensor]:
    """The layer in three forms, and their input, which wants a gradient."""
    n, c, inputs, outputs = size
    linear, conv1d = twin_layers(inputs, outputs, torch.float32)
    points = torch.rand(n, c, inputs).requires_grad_()
    turned = points.detach().transpose(1, 2).contiguous().requires_grad_()
    return {
        "Linear": lambda: linear(points),
        "Conv1d, channels second": lambda: conv1d(turned),
        "Conv1d, transposed there and back": lambda: apply_conv1d(conv1d, points),
    }, points


def _forward(size: tuple[int, int, int, int], seconds: float) -> dict[str, float]:
    forms, _points = _forms(size)
    with torch.no_grad():
        return medians(forms, seconds)


def _both(size: tuple[int, int, int, int], seconds: float) -> dict[str, float]:
    forms, _points = _forms(size)

    def trained(form: Callable[[], Tensor]) -> Callable[[], None]:
        gradient = torch.ones_like(form())
        return lambda: form().backward(gradient)

    return medians({name: trained(form) for name, form in forms.items()}, seconds)


def tutorial_case(budget: Budget, measure: Callable[..., dict[str, float]] = _forward) -> Fact:
    """128 sequences of 256 places, 8 channels to 32, forward."""
    taken = measure(_TUTORIAL, budget.seconds)
    linear, *others = taken.values()
    shown = "; ".join(
        f"{name} {1e6 * found:.0f} µs ({found / linear:.2f} times)" for name, found in taken.items()
    )
    return Fact(
        name="speed, tutorial's case",
        claim="On (128, 256, 8) to 32 Conv1d takes longer than Linear (by a tenth at least), and "
        "five times as long or more (151 µs and 1.43 ms).",
        verdict=verdict(
            *(found > limit * linear for limit in (_FASTER, _MANY) for found in others)
        ),
        figure=f"{shown}, forward, {torch.get_num_threads()} threads",
        why="Both are one matrix product; what differs is the library that does it, the layout "
        "it wants, and how many threads it uses at that size.",
    )


def _grid(measure: Callable[..., dict[str, float]], seconds: float) -> tuple[list[bool], str]:
    """Whether Linear is faster, for each shape and form, and the ratios in words."""
    cases, notes = [], []
    for size in tqdm(_GRID, "shapes", leave=False, disable=None):
        linear, *others = measure(size, seconds).values()
        cases += [found > _FASTER * linear for found in others]
        ratios = " and ".join(f"{found / linear:.2f}" for found in others)
        n, c, inputs, outputs = size
        notes.append(f"({n}, {c}, {inputs}) to {outputs}: {ratios}")
    return cases, "; ".join(notes)


def forward_grid(budget: Budget, measure: Callable[..., dict[str, float]] = _forward) -> Fact:
    """All shapes, forward."""
    cases, shown = _grid(measure, budget.seconds)
    return Fact(
        name="speed, forward",
        claim="Linear is faster than Conv1d with kernel 1 (by a tenth at least).",
        verdict=verdict(*cases),
        figure=f"Conv1d's time over Linear's, channels second and transposed: {shown}",
        why="With few input channels there is little to compute, and the cost of the call and of "
        "the layout decides. With 128 the libraries' products do, which another processor may rank "
        "otherwise.",
    )


def backward_grid(budget: Budget, measure: Callable[..., dict[str, float]] = _both) -> Fact:
    """All shapes, forward and backward."""
    cases, shown = _grid(measure, budget.seconds)
    return Fact(
        name="speed, backward",
        claim="With the backward pass, too, Linear is faster (by a tenth at least).",
        verdict=verdict(*cases),
        figure=f"Conv1d's time over Linear's, channels second and transposed: {shown}",
        why="The backward pass adds two matrix products, for the weight and for the input, which "
        "cost the same for both; the call and the layout count for less.",
    )


def training_step(budget: Budget, measure: Callable[..., Sequence[StepTime]] = time_steps) -> Fact:
    """The share of the encoder in a training step, for all three."""
    steps = measure("vrp10", budget.step_configs, budget.timed_steps)
    found = summarised(steps)
    return Fact(
        name="speed, training step",
        claim="The choice of the encoder's layer decides how long training takes: the encoder "
        "is a tenth or more of a step.",
        verdict=verdict(*(timed.share > _MATTERS for timed in found)),
        figure=f"VRP10, batch {steps[0].batch_size}, {steps[0].num_rollouts} tours: "
        + "; ".join(
            f"{timed.encoder} {timed.encoder_ms:.1f} ms of {timed.step_ms:.0f} ms, "
            f"{100 * timed.share:.1f} %"
            for timed in found
        ),
        why="It is computed once per instance, two numbers to 128; the decoder works at each of "
        "some 15 steps, for 8 tours.",
    )


FACTS: dict[str, Check] = {
    "speed, tutorial's case": tutorial_case,
    "speed, forward": forward_grid,
    "speed, backward": backward_grid,
    "speed, training step": training_step,
}
