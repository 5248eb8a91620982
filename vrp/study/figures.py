"""Figures of what runs end with; matplotlib is the extra `study`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from vrp.study.drawing import COLOURS, DRAWN_ALIKE, GREY, OTHERS, percent_ticks, to_svg
from vrp.study.statistics import Interval


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
    colour: str = GREY
    note: str = ""


@DRAWN_ALIKE
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
            0, -0.66, f"margin ±{margin:g} %", ha="center", va="bottom", fontsize=8, color=GREY,
            bbox={"facecolor": "#E8E8E8", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    if zero:
        panel.axvline(0, color=GREY, linewidth=1, zorder=1)
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
        panel.set_xticks(*percent_ticks(ends))
        panel.minorticks_off()
    panel.grid(axis="x", alpha=0.3)
    panel.set_axisbelow(True)
    return to_svg(figure)


@DRAWN_ALIKE
def paired_points(ours: Sequence[float], theirs: Sequence[float], names: tuple[str, str]) -> bytes:
    """A point for each seed: the cost of the one encoder over that of the other."""
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    panel = figure.subplots()
    low, high = min(*ours, *theirs), max(*ours, *theirs)
    pad = 0.08 * (high - low) or 0.01
    ends = [low - pad, high + pad]
    panel.plot(ends, ends, color=GREY, linewidth=1, zorder=1)
    panel.text(
        ends[1] - pad, ends[1] - pad, "equal", ha="right", va="top", rotation=45,
        rotation_mode="anchor", fontsize=9, color=GREY,
    )  # fmt: skip
    panel.plot(theirs, ours, "o", color=COLOURS["conv1d"], markersize=6, alpha=0.8)
    panel.set(xlim=ends, ylim=ends, aspect="equal")
    panel.set(xlabel=f"mean tour length, {names[1]}", ylabel=f"mean tour length, {names[0]}")
    panel.locator_params(nbins=5)
    panel.grid(alpha=0.3)
    return to_svg(figure)


@DRAWN_ALIKE
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
    colours = (COLOURS["embedding"], COLOURS["conv1d"], *OTHERS[1:])
    for i, (name, points) in enumerate(series.items()):
        points = sorted(points)
        # Side by side, so that intervals at the same number of bins can be told apart.
        x = [bins * 1.06 ** (i - (len(series) - 1) / 2) for bins, _ in points]
        y = [interval.value for _, interval in points]
        colour = colours[i % len(colours)]
        panel.plot(x, y, "-", color=colour, label=name)
        for place, (_, interval) in zip(x, points, strict=True):
            face = colour if interval.is_bounded else "white"
            panel.plot(
                place, interval.value, "o", color=colour, markersize=5, markerfacecolor=face,
                zorder=3,
            )  # fmt: skip
            if interval.is_bounded:
                panel.plot(
                    [place] * 2, [interval.low, interval.high], "_-", color=colour, linewidth=2,
                    alpha=0.5,
                )  # fmt: skip
    panel.set_xscale("log", base=2)
    panel.set_xticks(counts, [str(bins) for bins in counts])
    panel.set_yscale("symlog", linthresh=1, linscale=1)
    values = [interval.value for points in series.values() for _, interval in points]
    ends = min(-1.0, 1.5 * min(values)), max(1.0, 1.5 * max(values))
    panel.set_ylim(*ends)
    panel.set_yticks(*percent_ticks(ends))
    panel.minorticks_off()
    panel.set(xlabel="bins per axis", ylabel=axis)
    panel.grid(alpha=0.3)
    panel.legend(frameon=False)
    return to_svg(figure)


def _spread(count: int) -> list[float]:
    """Small shifts, so that equal values do not hide each other."""
    return [0.1 * (i % 3 - 1) if count > 1 else 0.0 for i in range(count)]
