"""The study's figures, as SVG that is the same byte for byte; matplotlib is the extra `study`."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.style
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from vrp.study.learning import Band
from vrp.study.statistics import Interval

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = {"conv1d": "#0072B2", "linear": "#D55E00", "embedding": "#009E73"}
_DASHES = {"linear": (0, (5, 2))}  # over conv1d's line, which shows through where they agree
_GREY = "#555555"
_OTHERS = ("#0072B2", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#009E73")
_SETTINGS = {
    "svg.hashsalt": "vrp-rl",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "path.simplify": True,
}
# A decorator: the settings hold while a function draws, whatever a user's own are.
_DRAWN_ALIKE = matplotlib.style.context(["default", _SETTINGS])


@dataclass(frozen=True)
class Dots:
    """A row of a figure: what is measured, its single values, and their mean.

    Attributes:
        label: at the left.
        values: one per seed.
        interval: their mean with its interval.
        colour: of the row.
        note: at the right.
    """

    label: str
    values: tuple[float, ...]
    interval: Interval
    colour: str = _GREY
    note: str = ""


@_DRAWN_ALIKE
def dot_rows(
    rows: Sequence[Dots],
    axis: str,
    margin: float | None = None,
    marks: Sequence[tuple[float, str]] = (),
    zero: str = "",
    is_wide: bool = False,
) -> bytes:
    """Each row's values as points, and below them the mean with its 95 % interval.

    Args:
        rows: from top to bottom.
        axis: name of the values, with their unit.
        margin: half the width of a shaded range around 0.
        marks: values to mark by a line, with their names.
        zero: what a value of 0 is; draws a line there.
        is_wide: whether small values shall be told apart beside large ones: the axis is then
            logarithmic beyond 1, on both sides of 0.
    """
    height = (1.3 if margin is None else 1.6) + 0.62 * len(rows) + 0.22 * len(marks)
    figure = Figure(figsize=(8.4, height), layout="constrained")
    panel = figure.subplots()
    if margin is not None:
        panel.axvspan(-margin, margin, color="#E8E8E8", zorder=0, linewidth=0)
        panel.text(
            0, -0.66, f"margin ±{margin:g} %", ha="center", va="bottom", fontsize=8, color=_GREY,
            bbox={"facecolor": "#E8E8E8", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    if zero:
        panel.axvline(0, color=_GREY, linewidth=1, zorder=1)
    for i, row in enumerate(rows):
        for value, shift in zip(row.values, _spread(len(row.values)), strict=True):
            panel.plot(
                value, i - 0.16 + shift, "o", color=row.colour, markersize=5, alpha=0.55,
                markeredgewidth=0, zorder=2,
            )  # fmt: skip
        panel.plot(row.interval.value, i + 0.22, "D", color=row.colour, markersize=6, zorder=4)
        if row.interval.is_bounded:
            panel.plot(
                [row.interval.low, row.interval.high], [i + 0.22] * 2, color=row.colour,
                linewidth=2.2, zorder=3,
            )  # fmt: skip
        panel.text(
            1.01, i, row.note, transform=panel.get_yaxis_transform(), va="center", fontsize=9,
            color=row.colour,
        )  # fmt: skip
    bottom = len(rows) - 0.45
    for i, (value, name) in enumerate(marks):
        panel.axvline(value, color="black", linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        panel.annotate(
            name, (value, bottom + 0.36 * i), xytext=(4, 0), textcoords="offset points",
            fontsize=8, va="top", annotation_clip=False,
        )  # fmt: skip
    panel.set_yticks(range(len(rows)), [row.label for row in rows])
    for tick, row in zip(panel.get_yticklabels(), rows, strict=True):
        tick.set_color(row.colour)
    panel.set_ylim(bottom + 0.36 * len(marks), -0.65 if margin is None else -1.0)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
    panel.set_xlabel(axis)
    if is_wide:
        panel.set_xscale("symlog", linthresh=1, linscale=1)
        values = [value for row in rows for value in row.values]
        ends = min(-1.0, 1.5 * min(values)), max(1.0, 1.5 * max(values))
        panel.set_xlim(*ends)
        panel.set_xticks(*_percent_ticks(ends))
        panel.minorticks_off()
    panel.grid(axis="x", alpha=0.3)
    panel.set_axisbelow(True)
    return _to_svg(figure)


@_DRAWN_ALIKE
def paired_points(ours: Sequence[float], theirs: Sequence[float], names: tuple[str, str]) -> bytes:
    """A point for each seed: the cost of the one encoder over that of the other."""
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    panel = figure.subplots()
    low, high = min(*ours, *theirs), max(*ours, *theirs)
    pad = 0.08 * (high - low) or 0.01
    ends = [low - pad, high + pad]
    panel.plot(ends, ends, color=_GREY, linewidth=1, zorder=1)
    panel.text(
        ends[1] - pad, ends[1] - pad, "equal", ha="right", va="top", rotation=45,
        rotation_mode="anchor", fontsize=9, color=_GREY,
    )  # fmt: skip
    panel.plot(theirs, ours, "o", color=COLOURS["conv1d"], markersize=6, alpha=0.8)
    panel.set(xlim=ends, ylim=ends, aspect="equal")
    panel.set(xlabel=f"mean tour length, {names[1]}", ylabel=f"mean tour length, {names[0]}")
    panel.locator_params(nbins=5)
    panel.grid(alpha=0.3)
    return _to_svg(figure)


@_DRAWN_ALIKE
def learning_curves(by_instances: dict[str, Band], by_seconds: dict[str, Band], unit: str) -> bytes:
    """Mean with its 95 % interval over seeds: on the left by instances, on the right by seconds."""
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _bands(left, by_instances, 1000)
    _bands(right, by_seconds, 60)
    left.set(xlabel="training instances (thousands)", ylabel=unit)
    right.set(xlabel="minutes in training steps, on a shared machine")
    values = [value for band in by_instances.values() for value in band.mean]
    if min(values) > 0 and max(values) > 3 * min(values):
        _by_ratio(left)
    for panel in (left, right):
        panel.grid(alpha=0.3)
    left.legend(frameon=False)
    return _to_svg(figure)


@_DRAWN_ALIKE
def learning_lines(bands: dict[str, Band], unit: str, are_ordered: bool) -> bytes:
    """Means over seeds by training instances, each named at its end.

    Args:
        bands: by name; `linear` is drawn as what the others are compared with.
        unit: of the values.
        are_ordered: whether the others are steps of one scale, in order; their colours are then.
    """
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    panel = figure.subplots()
    values = [value for band in bands.values() for value in band.mean]
    is_log = min(values) > 0 and max(values) > 3 * min(values)
    scale = math.log if is_log else float
    low, high = scale(min(values)), scale(max(values))
    low, high = low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1)
    others = [name for name in bands if name != "linear"]
    colours = dict(zip(others, _colours(len(others), are_ordered), strict=True))
    colours["linear"] = COLOURS["linear"]
    for name, band in bands.items():
        style = _DASHES["linear"] if name == "linear" else "-"
        order = 4 if name == "linear" else 3
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
    return _to_svg(figure)


def _percent_ticks(ends: tuple[float, float]) -> tuple[list[float], list[str]]:
    """For an axis that is logarithmic beyond 1 on both sides of 0: places and numbers."""
    places = (-50, -10, -5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 10, 20, 50)
    shown = [x for x in places if ends[0] <= x <= ends[1]]
    return shown, [f"{x:g}" for x in shown]


def _by_ratio(panel: Axes) -> None:
    """A logarithmic y axis whose few numbers do not meet."""
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_locator(NullLocator())


def _colours(count: int, are_ordered: bool) -> list:
    if not are_ordered:
        return [_OTHERS[i % len(_OTHERS)] for i in range(count)]
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


@_DRAWN_ALIKE
def by_bins(series: dict[str, list[tuple[int, Interval]]], margin: float, axis: str) -> bytes:
    """Differences in percent over the number of bins, a line per kind of table.

    Args:
        series: bins and difference, by kind.
        margin: half the width of a shaded range around 0.
        axis: name of the differences, with their unit.
    """
    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    panel = figure.subplots()
    counts = sorted({bins for points in series.values() for bins, _ in points})
    panel.axhspan(-margin, margin, color="#E8E8E8", zorder=0, linewidth=0)
    panel.axhline(0, color=COLOURS["linear"], linewidth=1.5)
    panel.annotate(
        "linear", (1, 0), xycoords=("axes fraction", "data"), xytext=(6, 0),
        textcoords="offset points", va="center", color=COLOURS["linear"], annotation_clip=False,
    )  # fmt: skip
    colours = (COLOURS["embedding"], COLOURS["conv1d"], *_OTHERS[1:])
    for i, (name, points) in enumerate(series.items()):
        points = sorted(points)
        # Side by side, so that intervals at the same number of bins can be told apart.
        x = [bins * 1.06 ** (i - (len(series) - 1) / 2) for bins, _ in points]
        y = [interval.value for _, interval in points]
        panel.plot(x, y, "o-", color=colours[i % len(colours)], label=name, markersize=5)
        for place, (_, interval) in zip(x, points, strict=True):
            if interval.is_bounded:
                panel.plot(
                    [place] * 2, [interval.low, interval.high], color=colours[i % len(colours)],
                    linewidth=2, alpha=0.5,
                )  # fmt: skip
    panel.set_xscale("log", base=2)
    panel.set_xticks(counts, [str(bins) for bins in counts])
    panel.set_yscale("symlog", linthresh=1, linscale=1)
    values = [interval.value for points in series.values() for _, interval in points]
    ends = min(-1.0, 1.5 * min(values)), max(1.0, 1.5 * max(values))
    panel.set_ylim(*ends)
    panel.set_yticks(*_percent_ticks(ends))
    panel.minorticks_off()
    panel.set(xlabel="bins per axis", ylabel=axis)
    panel.grid(alpha=0.3)
    panel.legend(frameon=False)
    return _to_svg(figure)


def _to_svg(figure: Figure) -> bytes:
    """Without date, version or anything else that changes from run to run."""
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None, "Format": None}
    figure.savefig(buffer, format="svg", metadata=metadata)
    # matplotlib leaves blanks at line ends, which git complains about.
    lines = buffer.getvalue().decode().splitlines()
    return ("\n".join(line.rstrip() for line in lines) + "\n").encode()


def _bands(panel: Axes, bands: dict[str, Band], unit: float) -> None:
    for name, band in bands.items():
        colour = COLOURS.get(name, _GREY)
        x = band.x / unit
        panel.plot(
            x, band.mean, color=colour, linestyle=_DASHES.get(name, "-"), zorder=3,
            label=f"{name} ({band.count} seeds)",
        )  # fmt: skip
        if band.count > 1:
            panel.fill_between(x, band.low, band.high, color=colour, alpha=0.2, linewidth=0)


def _spread(count: int) -> list[float]:
    """Small shifts, so that equal values do not hide each other."""
    return [0.1 * (i % 3 - 1) if count > 1 else 0.0 for i in range(count)]
