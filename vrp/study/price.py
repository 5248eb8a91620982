"""What a rule that a change brings costs by itself, however well its policy is trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vrp.problem.datasets import STANDARD_SETS, reference
from vrp.study.records import CurvePoint, Run
from vrp.study.statistics import Interval, paired_difference

STRICT_MASK = "strict_mask"


def allowed_load(run: Run) -> int:
    """What a vehicle may carry under the run's rules: the strict mask leaves one unit unused."""
    return run.capacity - (STRICT_MASK in run.variant.split(","))


def price(run: Run, name: str) -> Interval | None:
    """By how much the run's rules make near-optimal tours longer, in percent.

    Args:
        run: one whose variant may have rules of its own.
        name: of a set of instances.

    Returns:
        The mean with its interval over the instances of the set that were solved under both
        rules; None where the rules are the usual ones or no such costs are known.
    """
    load = allowed_load(run)
    if load == run.capacity or run.split_delivery or name not in STANDARD_SETS:
        return None
    usual, own = reference(name, run.capacity), reference(name, load)
    if usual is None or own is None:
        return None
    n = min(len(usual.cost), len(own.cost))
    found = paired_difference(own.cost[:n], usual.cost[:n])
    return found.scaled(100 / float(usual.cost[:n].mean()))


def without(
    price_percent: float, points: Iterable[CurvePoint], runs: Iterable[Run]
) -> list[CurvePoint]:
    """The points of some curves, those of `runs` with costs and gaps freed of the price.

    They then say how near a policy has come to the tours that its own rules allow.
    """
    keys = {run.key for run in runs}
    return [_freed_point(p, price_percent) if p.key in keys else p for p in points]


def freed(gap: float, price_percent: float) -> float:
    """A gap to the usual near-optimal tours as one to those that the rules allow, in percent."""
    return 100 * ((1 + gap / 100) / (1 + price_percent / 100) - 1)


def _freed_point(point: CurvePoint, price_percent: float) -> CurvePoint:
    cost, gap = point.val_cost, point.val_gap
    return replace(
        point,
        val_cost=None if cost is None else cost / (1 + price_percent / 100),
        val_gap=None if gap is None else freed(gap, price_percent),
    )
