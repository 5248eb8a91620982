"""What the study's figures have in common: colours, ticks, and SVG that is always the same."""

from __future__ import annotations

import io

import matplotlib.style
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = {"conv1d": "#0072B2", "linear": "#D55E00", "embedding": "#009E73"}
DASHES = {"linear": (0, (5, 2))}  # over conv1d's line, which shows through where they agree
GREY = "#555555"
OTHERS = ("#0072B2", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#009E73", "#999999")
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
DRAWN_ALIKE = matplotlib.style.context(["default", _SETTINGS])


def to_svg(figure: Figure) -> bytes:
    """Without date, version or anything else that changes from run to run."""
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None, "Format": None}
    figure.savefig(buffer, format="svg", metadata=metadata)
    # matplotlib leaves blanks at line ends, which git complains about.
    lines = buffer.getvalue().decode().splitlines()
    return ("\n".join(line.rstrip() for line in lines) + "\n").encode()


def percent_ticks(ends: tuple[float, float]) -> tuple[list[float], list[str]]:
    """For an axis that is logarithmic beyond 1 on both sides of 0: places and numbers."""
    places = (-50, -10, -5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 10, 20, 50)
    shown = [x for x in places if ends[0] <= x <= ends[1]]
    return shown, [f"{x:g}" for x in shown]
