"""What learning curves say: bands over seeds, how soon a quality is reached, whether it is flat."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from vrp.study.comparison import Comparison
from vrp.study.records import CurvePoint, Run
from vrp.study.statistics import Interval, difference_p, mean_interval

_GRID = 60  # points of a band by seconds
_TARGET = 0.25  # of the reference's budget: the value there is what a slowdown is measured by
LATE = 0.75  # of a run's instances: after them its last quarter begins


@dataclass(frozen=True)
class Curve:
    """A run's validation, its values in percent to the reference or as costs.

    Attributes:
        instances: (n,) training instances.
        train_seconds: (n,) seconds in training steps.
        values: (n,) validation gap or cost.
    """

    instances: np.ndarray
    train_seconds: np.ndarray
    values: np.ndarray

    def at(self, instances: float) -> float:
        """The value there, between two validations on the straight line."""
        return float(np.interp(instances, self.instances, self.values))

    def first_below(self, target: float) -> float | None:
        """Instances at which the curve first comes down to a value; None if it never does."""
        below = np.flatnonzero(self.values <= target)
        if not below.size:
            return None
        i = int(below[0])
        if i == 0:
            return float(self.instances[0])
        (x0, x1), (y0, y1) = self.instances[i - 1 : i + 1], self.values[i - 1 : i + 1]
        return float(x0 + (x1 - x0) * (y0 - target) / (y0 - y1))


@dataclass(frozen=True)
class Band:
    """Curves of several seeds as one.

    Attributes:
        x: (n,) instances or seconds.
        mean: (n,) over the seeds.
        low: (n,) lower end of the mean's 95 % interval.
        high: (n,) upper end.
        count: seeds.
        each: (count, n) the seeds' own values; None where they have none.
    """

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: int
    each: np.ndarray | None = None

    def tail(self) -> Band:
        """Without its first point."""
        each = None if self.each is None else self.each[:, 1:]
        return Band(self.x[1:], self.mean[1:], self.low[1:], self.high[1:], self.count, each)


@dataclass(frozen=True)
class Slowdown:
    """How many more instances one kind of run needs than another, seed by seed.

    Attributes:
        ratio: geometric mean over the seeds with its interval; a lower bound where a run never
            got there, since it is counted as if it had with its last instance.
        p: of a ratio other than 1, from the two-sided t-test of its logarithm over the seeds;
            None without two pairs, and where a run never got there: of a bound the spread is not
            known.
        reached: how many of the first kind's runs got there.
        count: pairs.
    """

    ratio: Interval
    p: float | None
    reached: int
    count: int


class Curves:
    """The curves of all runs that were validated at least twice.

    Args:
        points: all lines of curves.csv.
        runs: to look at; their values are gaps if all of them have gaps, or were validated on
            instances on which another one has.
        as_costs: whether values are costs all the same.
    """

    def __init__(
        self, points: Iterable[CurvePoint], runs: Iterable[Run], as_costs: bool = False
    ) -> None:
        validations = {run.key: run.validation for run in runs}
        found: dict[tuple, list[CurvePoint]] = {}
        for point in points:
            if point.key in validations and point.val_cost is not None:
                found.setdefault(point.key, []).append(point)
        references = {
            validations[key]: point.val_cost / (1 + point.val_gap / 100)
            for key, row in found.items()
            for point in row
            if point.val_gap is not None
        }
        found = {
            key: [_with_gap(point, references.get(validations[key])) for point in row]
            for key, row in found.items()
        }
        found = {key: row for key, row in found.items() if len(row) > 1}
        have_gaps = all(p.val_gap is not None for row in found.values() for p in row)
        self.are_gaps = have_gaps and not as_costs
        self._curves = {key: self._curve(row) for key, row in found.items()}

    def _curve(self, row: Sequence[CurvePoint]) -> Curve:
        values = [p.val_gap if self.are_gaps else p.val_cost for p in row]
        columns = ([p.instances for p in row], [p.train_seconds for p in row], values)
        return Curve(*(np.asarray(column, np.float64) for column in columns))

    @property
    def unit(self) -> str:
        """Of the values, for an axis."""
        return "gap on validation (%)" if self.are_gaps else "cost on validation"

    def of(self, runs: Iterable[Run]) -> list[Curve]:
        """Those of some runs; runs without one are left out."""
        return [self._curves[run.key] for run in runs if run.key in self._curves]

    def slowdown(self, comparison: Comparison, reference: Iterable[Run]) -> Slowdown | None:
        """Instances until a value is reached, against the comparison's reference, seed by seed.

        All seeds share one target: the mean value of the reference at a quarter of its budget,
        where its curve still falls. A target of each pair's own would hold the noise of one of the
        two runs, and the other would seem slow whatever it is.

        Args:
            comparison: of two kinds of run that were validated on the same instances.
            reference: runs that the target is the mean of; those without a curve are left out.

        Returns:
            None without curves, or where the target is no better than an untrained policy. Pairs
            whose reference does not reach the target are left out.
        """
        early = [c.at(_TARGET * c.instances[-1]) for c in self.of(reference)]
        if not early:
            return None
        target = float(np.mean(early))
        logs, reached = [], 0
        for pair in zip(comparison.ours, comparison.theirs, strict=True):
            both = self.of(pair)
            if len(both) < 2:
                continue
            at = [curve.first_below(target) for curve in both]
            if 0 in at or at[1] is None:
                continue
            reached += at[0] is not None
            mine, other = (
                float(curve.instances[-1]) if place is None else place
                for curve, place in zip(both, at, strict=True)
            )
            logs.append(math.log(mine / other))
        if not logs:
            return None
        found = mean_interval(logs)
        ratio = Interval(*(_exp(x) for x in (found.value, found.low, found.high)), found.count)
        is_known = reached == len(logs) > 1
        p = difference_p(logs, [0.0] * len(logs)) if is_known else None
        return Slowdown(ratio, p, reached, len(logs))


def band_by_instances(curves: Sequence[Curve]) -> Band | None:
    """At the instances where the first curve was validated and all others have got to.

    None unless these are two at least.
    """
    if not curves:
        return None
    least, most = _shared([curve.instances for curve in curves])
    x = curves[0].instances
    x = x[(x >= least) & (x <= most)]
    if x.size < 2:
        return None
    return _band(x, [np.interp(x, curve.instances, curve.values) for curve in curves])


def band_by_seconds(curves: Sequence[Curve]) -> Band | None:
    """At even steps over the seconds that all curves have; None if there are none.

    It begins where all have been validated after their start: between an untrained policy and the
    first validation a straight line says nothing.
    """
    curves = [curve for curve in curves if len(curve.train_seconds) > 1]
    if not curves:
        return None
    least, most = _shared([curve.train_seconds[1:] for curve in curves])
    if least >= most:
        return None
    x = np.linspace(least, most, _GRID)
    return _band(x, [np.interp(x, curve.train_seconds, curve.values) for curve in curves])


def late_fall(points: Iterable[CurvePoint], runs: Iterable[Run], after: float) -> Interval | None:
    """How much the validation cost fell in the last part of the runs, in percent.

    Args:
        points: all lines of curves.csv.
        runs: to take the mean over.
        after: where the last part begins, as a share of a run's instances.

    Returns:
        The mean with its interval; None without curves.
    """
    rows: Mapping[tuple, list[CurvePoint]] = {run.key: [] for run in runs}
    for point in points:
        if point.key in rows and point.val_cost is not None:
            rows[point.key].append(point)
    falls = []
    for row in rows.values():
        if len(row) < 2:
            continue
        x, cost = [p.instances for p in row], [p.val_cost for p in row]
        before = float(np.interp(after * x[-1], x, cost))
        falls.append(100 * (1 - cost[-1] / before))
    return mean_interval(falls) if falls else None


Flatness = Literal["yes", "no", "not shown"]


def flatness(fall: Interval, margin_percent: float) -> Flatness:
    """Whether a late fall is small: its whole interval within the margin, beyond it, or neither."""
    if -margin_percent < fall.low and fall.high < margin_percent:
        return "yes"
    return "no" if fall.low > margin_percent or fall.high < -margin_percent else "not shown"


def _with_gap(point: CurvePoint, reference_cost: float | None) -> CurvePoint:
    if point.val_gap is not None or reference_cost is None:
        return point
    return replace(point, val_gap=100 * (point.val_cost / reference_cost - 1))


def values_at(points: Iterable[CurvePoint], runs: Iterable[Run], part: float) -> list[float]:
    """The validation cost of each run after a part of its instances; runs without one left out."""
    curves = Curves(points, runs, as_costs=True).of(runs)
    return [curve.at(part * curve.instances[-1]) for curve in curves]


def _shared(axes: Sequence[np.ndarray]) -> tuple[float, float]:
    return max(float(x[0]) for x in axes), min(float(x[-1]) for x in axes)


def _band(x: np.ndarray, values: Sequence[np.ndarray]) -> Band:
    """(n,) places and for each curve its (n,) values there."""
    each = np.stack(values)
    intervals = [mean_interval(column) for column in each.T]
    columns = (
        [i.value for i in intervals],
        [i.low for i in intervals],
        [i.high for i in intervals],
    )
    return Band(x, *(np.asarray(column) for column in columns), len(values), each)


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf
