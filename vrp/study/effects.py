"""How the report shows what a changed encoder does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vrp.study.analysis import Analysis, Effect
from vrp.study.document import Block, Picture
from vrp.study.learning import Curves, Slowdown, band_by_instances
from vrp.study.learning_figures import learning_lines
from vrp.study.price import STRICT_MASK
from vrp.study.records import Run
from vrp.study.wording import estimate, number, p_value, title

# The columns of `effect_cells`.
EQUIVALENCE = "p of equivalence"
EFFECT_HEADER = (
    "against linear", "p of a difference", EQUIVALENCE, "tours",
    "instances needed, as a multiple", "its p", "got there", "fall in the last quarter",
)  # fmt: skip


def where(analysis: Analysis, problem: str) -> str:
    """A problem and its main test, in words."""
    test = analysis.study.main_test(problem)
    return title(problem) if test is None else str(test).replace("`", "")


def effect_cells(effect: Effect) -> tuple[str, ...]:
    """A cell for each column of `EFFECT_HEADER`."""
    comparison, slowdown = effect.comparison, effect.slowdown
    return (
        "no partner"
        if comparison is None
        else estimate(comparison.percent, 2, sign=True, unit=" %"),
        p_value(effect.p),
        p_value(effect.p_equivalence),
        _verdict(effect),
        "-" if slowdown is None else _multiple(slowdown),
        p_value(effect.p_slowdown),
        "-" if slowdown is None else f"{slowdown.reached} of {slowdown.count}",
        estimate(effect.last_fall, 2, unit=" %"),
    )


def _verdict(effect: Effect) -> str:
    if effect.p is None:
        return "-"
    if effect.is_equivalent:
        return "equal"
    if effect.is_different:
        return "longer" if effect.is_longer else "shorter"
    return "not decided"


def _multiple(slowdown: Slowdown) -> str:
    if slowdown.reached < slowdown.count:
        return f"> {number(slowdown.ratio.value, 2)}"
    return estimate(slowdown.ratio, 2)


def learning_figure(
    analysis: Analysis, problem: str, kinds: Mapping[str, Sequence[Run]], which: str
) -> list[Block]:
    """A figure of how each kind of run learns, with plain linear; nothing without curves."""
    test = analysis.study.main_test(problem)
    linear = [] if test is None else analysis.study.plain(test).get("linear", {}).values()
    groups = {"linear": list(linear), **kinds}
    sets = {run.validation for run in groups["linear"]}
    groups = {kind: runs for kind, runs in groups.items() if {r.validation for r in runs} <= sets}
    curves = Curves(analysis.points, [run for runs in groups.values() for run in runs])
    bands = {kind: band_by_instances(curves.of(runs)) for kind, runs in groups.items()}
    bands = {kind: band.tail() for kind, band in bands.items() if band is not None}
    if len(bands) < 2:
        return []
    svg = learning_lines(bands, curves.unit, are_ordered=which == "bins")
    caption = (
        f"{title(problem)}: how the {which} change learning; mean over seeds, linear dashed, "
        "and thin the runs, which need not lie near their mean; the tables have the intervals at "
        "the end. The first point is the first validation after the start."
    )
    if any(run.variant == STRICT_MASK for runs in groups.values() for run in runs):
        caption += (
            f" Of `{STRICT_MASK}` the gap is to near-optimal tours of the usual vehicle, which "
            "its mask forbids."
        )
    return [Picture.named(f"{which} learning {problem}", svg, caption)]
