"""Pictures of tours. matplotlib is the extra `plots` and is imported only here."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from vrp.problem.instances import Instances
from vrp.problem.tours import routes
from vrp.search.solution import Solution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_tours(
    instances: Instances,
    solution: Solution,
    reference_cost: list[float] | None = None,
    columns: int = 4,
) -> Figure:
    """One panel per instance: a colour per route, customers sized by demand.

    Args:
        instances: N problems, few enough to look at.
        solution: their tours.
        reference_cost: near-optimal costs, for the titles.
        columns: panels side by side.
    """
    from matplotlib.figure import Figure

    n = len(instances)
    columns = min(columns, n)
    rows = -(-n // columns)
    figure = Figure(figsize=(3.0 * columns, 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels[n:]:
        panel.set_axis_off()
    for i, panel in enumerate(panels[:n]):
        points = instances.coordinates()[i].cpu().numpy()
        demand = instances.demand[i].cpu().numpy()
        for number, route in enumerate(routes(solution.actions[i].numpy())):
            colour = _COLOURS[number % len(_COLOURS)]
            stops = points[[0, *route, 0]]
            # The legs from and to the depot are thin: the eye follows the route itself.
            panel.plot(*stops.T, color=colour, linewidth=0.7, alpha=0.5, zorder=1)
            panel.plot(*stops[1:-1].T, color=colour, linewidth=1.8, zorder=2)
            sizes = 12 + 9 * demand[[c - 1 for c in route]]
            panel.scatter(
                *stops[1:-1].T, s=sizes, color=colour, edgecolors="white", linewidths=0.6, zorder=3
            )
        panel.scatter(*points[0], marker="s", s=70, color="black", zorder=4)
        title = f"length {solution.cost[i].item():.3f}"
        if reference_cost is not None:
            gap = 100 * (solution.cost[i].item() / reference_cost[i] - 1)
            side = "below" if round(gap, 1) < 0 else "above"
            title += f"  ({abs(gap):.1f} % {side} near-optimal)"
        panel.set_title(title, fontsize=8)
        panel.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=[], yticks=[], aspect="equal")
    return figure
