"""Figures of how runs learn; matplotlib is the extra `study`."""

from __future__ import annotations

import math

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from vrp.study.drawing import COLOURS, DASHES, DRAWN_ALIKE, GREY, OTHERS, to_svg
from vrp.study.learning import Band


@DRAWN_ALIKE
def learning_curves(by_instances: dict[str, Band], by_seconds: dict[str, Band], unit: str) -> bytes:
    """Mean with its 95 % interval over seeds: on the left by instances, on the right by seconds."""
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _bands(left, by_instances, 1000)
    _bands(right, by_seconds, 60)
    left.set(xlabel="training instances (thousands)", ylabel=unit)
    right.set(xlabel="minutes in training steps, on shared machines")
    values = [value for band in by_instances.values() for value in band.mean]
    if min(values) > 0 and max(values) > 3 * min(values):
        _by_ratio(left)
    for panel in (left, right):
        panel.grid(alpha=0.3)
    left.legend(frameon=False)
    return to_svg(figure)


@DRAWN_ALIKE
def chance_lines(bands: dict[str, Band]) -> bytes:
    """Shares of pairs in percent, by percent of the budget, with their intervals."""
    figure = Figure(figsize=(8.4, 3.2), layout="constrained")
    panel = figure.subplots()
    _bands(panel, bands, 1)
    panel.set(
        xlabel="budget (%)", ylabel="pairs 1 % or more apart (%)", xlim=(0, 100), ylim=(0, 100)
    )
    panel.grid(alpha=0.3)
    panel.legend(frameon=False)
    return to_svg(figure)


@DRAWN_ALIKE
def learning_lines(bands: dict[str, Band], unit: str, are_ordered: bool) -> bytes:
    """Means over seeds by training instances, each named at its end, over the runs' thin lines.

    Args:
        bands: by name; `linear` is drawn as what the others are compared with.
        unit: of the values.
        are_ordered: whether the others are steps of one scale, in order; their colours are then.
    """
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    panel = figure.subplots()
    values = [value for band in bands.values() for value in band.mean]
    for band in bands.values():
        values += [] if band.each is None else band.each.ravel().tolist()
    is_log = min(values) > 0 and max(values) > 3 * min(values)
    scale = math.log if is_log else float
    low, high = scale(min(values)), scale(max(values))
    low, high = low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1)
    others = [name for name in bands if name != "linear"]
    colours = dict(zip(others, _colours(len(others), are_ordered), strict=True))
    colours["linear"] = COLOURS["linear"]
    for name, band in bands.items():
        style = DASHES["linear"] if name == "linear" else "-"
        order = 4 if name == "linear" else 3
        if band.each is not None and band.count > 1 and name != "linear":
            panel.plot(band.x / 1000, band.each.T, color=colours[name], linewidth=0.6, alpha=0.45)
        panel.plot(
            band.x / 1000, band.mean, color=colours[name], linestyle=style, linewidth=1.6,
            zorder=order,
        )  # fmt: skip
    ends = {name: (scale(band.mean[-1]) - low) / (high - low) for name, band in bands.items()}
    for name, height in labels_apart(ends, 0.055).items():
        panel.annotate(
            name, (1, height), xycoords="axes fraction", xytext=(6, 0), textcoords="offset points",
            va="center", fontsize=9, color=colours[name], annotation_clip=False,
        )  # fmt: skip
    if is_log:
        _by_ratio(panel)
        low, high = math.exp(low), math.exp(high)
    panel.set_ylim(low, high)
    panel.margins(x=0)
    panel.set(xlabel="training instances (thousands)", ylabel=unit)
    panel.grid(alpha=0.3)
    return to_svg(figure)


def _bands(panel: Axes, bands: dict[str, Band], unit: float) -> None:
    for name, band in bands.items():
        colour = COLOURS.get(name, GREY)
        x = band.x / unit
        panel.plot(
            x, band.mean, color=colour, linestyle=DASHES.get(name, "-"), zorder=3,
            label=f"{name} ({band.count} seeds)",
        )  # fmt: skip
        if band.count > 1:
            panel.fill_between(x, band.low, band.high, color=colour, alpha=0.2, linewidth=0)


def _by_ratio(panel: Axes) -> None:
    """A logarithmic y axis whose few numbers do not meet."""
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_locator(NullLocator())


def _colours(count: int, are_ordered: bool) -> list:
    if not are_ordered:
        return [OTHERS[i % len(OTHERS)] for i in range(count)]
    # From pale to dark, without the palest, which white swallows.
    return [colormaps["viridis_r"](0.3 + 0.7 * i / max(count - 1, 1)) for i in range(count)]


def labels_apart(heights: dict[str, float], least: float) -> dict[str, float]:
    """Heights for labels that do not overlap, in the same order and near their lines' ends.

    Args:
        heights: of the lines' ends, by name, as fractions of the panel.
        least: between two labels; the lowest is at least half of it above the panel's bottom.
    """
    names = sorted(heights, key=heights.__getitem__)
    # Without the room that the labels below need, heights only have to rise: neighbours that
    # fall are pooled at their mean, which moves all of them as little as can be.
    pools: list[list[float]] = []
    for i, name in enumerate(names):
        pools.append([heights[name] - i * least])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    moved = [max(_mean(pool), least / 2) for pool in pools for _ in pool]
    return {name: moved[i] + i * least for i, name in enumerate(names)}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
