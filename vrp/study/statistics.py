"""The study's statistics, on plain lists of numbers; scipy is the extra `study`.

A sample is one number per seed. Two samples are paired when the same seeds stand at the same
places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
_RESAMPLES = 1000  # of a bootstrap
_LEAST_RESAMPLED = 8  # outcomes


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its confidence interval.

    Attributes:
        value: the estimate.
        low: lower end; minus infinity where the sample is too small to say.
        high: upper end; infinity likewise.
        count: numbers in the sample.
        sd: standard deviation of the sample, n - 1 in the denominator; None for a single number
            and where the estimate is no mean.
    """

    value: float
    low: float
    high: float
    count: int
    sd: float | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether both ends are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def scaled(self, factor: float) -> Interval:
        """In another unit; `factor` is above 0."""
        sd = None if self.sd is None else self.sd * factor
        return Interval(self.value * factor, self.low * factor, self.high * factor, self.count, sd)


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided paired t-tests of a difference against plus and minus a margin.

    Attributes:
        difference: mean of the paired differences.
        sd: their standard deviation.
        count: pairs.
        margin: half the width of the range that counts as equal, above 0.
        p_low: of the test that the difference is above -margin.
        p_high: of the test that it is below margin.
    """

    difference: float
    sd: float
    count: int
    margin: float
    p_low: float
    p_high: float

    @property
    def p(self) -> float:
        """Of the equivalence: the larger of the two."""
        return max(self.p_low, self.p_high)


@dataclass(frozen=True)
class Pairing:
    """What sharing seeds saves.

    Attributes:
        correlation: Pearson's, with Fisher's interval.
        without_one: the least and the most that it becomes when one pair is left out; None for
            fewer than four pairs.
        paired_variance: of the difference within pairs.
        unpaired_variance: of the difference of two numbers of different seeds: the sum of the
            two samples' variances.
        ratio: the first over the second: the share of the seeds that a paired study needs of an
            unpaired one. Its interval is what the ends of the correlation's give for these
            variances.
    """

    correlation: Interval
    without_one: tuple[float, float] | None
    paired_variance: float
    unpaired_variance: float
    ratio: Interval


@dataclass(frozen=True)
class OneSeed:
    """How often one run against one other run shows a difference that is only chance.

    Attributes:
        percent: the difference looked for, of the other run's outcome.
        share: of all ordered pairs of different seeds that show it, bootstrap interval over
            seeds; without an interval where none does, since no resample then can.
        normal_share: the same for normal outcomes of this mean and standard deviation; its
            interval is that of the standard deviation.
        largest: difference found, in percent.
    """

    percent: float
    share: Interval
    normal_share: Interval
    largest: float


def mean_interval(sample: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean with Student's t-interval; unbounded for a single number.

    Raises:
        ValueError: for an empty sample or one with a number that is not finite.
    """
    x = _sample(sample)
    if x.size == 1:
        return Interval(float(x[0]), -math.inf, math.inf, 1)
    sd = float(x.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, x.size - 1)) * sd / math.sqrt(x.size)
    mean = float(x.mean())
    return Interval(mean, mean - half, mean + half, x.size, sd)


def paired_difference(
    ours: Sequence[float], theirs: Sequence[float], confidence: float = CONFIDENCE
) -> Interval:
    """Mean of ours minus theirs, seed by seed, with its t-interval.

    Raises:
        ValueError: unless both have the same length, at least 1.
    """
    return mean_interval(_differences(ours, theirs), confidence)


def difference_p(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The two-sided paired t-test's p; 1 where all differences are 0.

    Raises:
        ValueError: unless both have the same length, at least 2.
    """
    x = _differences(ours, theirs, least=2)
    sd = float(x.std(ddof=1))
    if sd == 0:
        return 1.0 if x[0] == 0 else 0.0
    t = float(x.mean()) / (sd / math.sqrt(x.size))
    return float(2 * stats.t.sf(abs(t), x.size - 1))


def equivalence_test(
    ours: Sequence[float], theirs: Sequence[float], margin_percent: float
) -> Equivalence:
    """Whether the mean difference lies within a margin, in percent of the mean of theirs.

    The margin is taken as a fixed number; that the mean of theirs is itself an estimate moves it
    by a fraction of a percent of itself.

    Args:
        ours: costs by seed.
        theirs: costs of the reference for the same seeds.
        margin_percent: above 0.

    Raises:
        ValueError: unless both have the same length, at least 2, and the margin is above 0.

    Source: Schuirmann (1987), J. Pharmacokinetics and Biopharmaceutics 15, 657-680.
    """
    x = _differences(ours, theirs, least=2)
    margin = margin_percent / 100 * float(np.mean(theirs))
    if not margin > 0:
        raise ValueError(f"the margin is {margin}; it must be above 0")
    mean, sd = float(x.mean()), float(x.std(ddof=1))
    error = sd / math.sqrt(x.size)
    if error == 0:
        return Equivalence(mean, sd, x.size, margin, float(mean <= -margin), float(mean >= margin))
    p_low = float(stats.t.sf((mean + margin) / error, x.size - 1))
    p_high = float(stats.t.cdf((mean - margin) / error, x.size - 1))
    return Equivalence(mean, sd, x.size, margin, p_low, p_high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given.

    Raises:
        ValueError: for a p-value outside 0 to 1.

    Source: Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values are {list(p_values)}; each must be between 0 and 1")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def pairing(ours: Sequence[float], theirs: Sequence[float]) -> Pairing:
    """How much two samples move together, and what that saves.

    Raises:
        ValueError: unless both have the same length, at least 3, and both vary.

    Source: the correlation's interval is that of Fisher (1921), Metron 1, 3-32.
    """
    differences = _differences(ours, theirs, least=3)
    x, y = _sample(ours), _sample(theirs)
    if x.std() == 0 or y.std() == 0:
        raise ValueError("a sample does not vary; there is no correlation")
    r = float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))
    if x.size > 3 and abs(r) < 1:
        half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) / math.sqrt(x.size - 3)
        low, high = math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
    else:
        low, high = -1.0, 1.0
    paired = float(differences.var(ddof=1))
    unpaired = float(x.var(ddof=1) + y.var(ddof=1))
    # var(x - y) = var x + var y - 2 r sd x sd y
    common = 2 * float(x.std(ddof=1) * y.std(ddof=1)) / unpaired
    ratio = Interval(paired / unpaired, 1 - high * common, 1 - low * common, x.size)
    return Pairing(Interval(r, low, high, x.size), _without_one(x, y), paired, unpaired, ratio)


def _without_one(x: np.ndarray, y: np.ndarray) -> tuple[float, float] | None:
    """Least and most correlation of all but one pair; None for fewer than four."""
    if x.size < 4:
        return None
    rest = [np.delete(np.stack((x, y)), i, axis=1) for i in range(x.size)]
    found = [float(np.corrcoef(pairs)[0, 1]) for pairs in rest if pairs.std(1).all()]
    return (min(found), max(found)) if found else None


def one_seed(sample: Sequence[float], percent: float) -> OneSeed:
    """How often two runs that differ in nothing but the seed differ by at least `percent`.

    Every seed is compared with every other, in both orders, each time in percent of the second.
    In a resample of the seeds, pairs of a seed with its own copy are left out, since they would
    always agree. Fewer than eight seeds are not resampled: their intervals would be too short or
    say nothing.

    Args:
        sample: outcomes above 0 of at least 3 seeds.
        percent: above 0.

    Raises:
        ValueError: for too few outcomes, or one that is not above 0.

    Source: percentile intervals, Efron and Tibshirani (1993), An Introduction to the Bootstrap,
    chapter 13; that copies are not compared is ours.
    """
    x = _sample(sample, least=3)
    if not (x > 0).all() or not percent > 0:
        raise ValueError("outcomes and percent must be above 0")
    # The rounding of a decimal fraction shall not decide: 101 against 100 is 1 %.
    found = np.abs(x[:, None] / x[None, :] - 1) * 100
    shows = found >= percent * (1 - 1e-12)
    different = ~np.eye(x.size, dtype=bool)
    share = float(shows[different].mean())
    shares = []
    for places in _resampled(x.size):
        counted = places[:, None] != places[None, :]
        if counted.any():
            shares.append(shows[np.ix_(places, places)][counted].mean())
    shown = share and x.size >= _LEAST_RESAMPLED
    ends = _percentiles(np.array(shares)) if shown else (-math.inf, math.inf)
    interval = Interval(share, *ends, x.size)
    return OneSeed(percent, interval, _normal_share(x, percent), float(found.max()))


def _normal_share(x: np.ndarray, percent: float) -> Interval:
    """How often two normal numbers differ by that much: their difference has sd times root 2."""
    sd, freedom = float(x.std(ddof=1)), x.size - 1
    outside = (1 - CONFIDENCE) / 2
    ends = [math.sqrt(freedom / float(stats.chi2.ppf(q, freedom))) for q in (1 - outside, outside)]
    size = percent / 100 * float(x.mean()) / math.sqrt(2)
    found = [2 * float(stats.norm.sf(size / (sd * by))) if sd else 0.0 for by in (1, *ends)]
    return Interval(*found, x.size)


def _sample(values: Sequence[float], least: int = 1) -> np.ndarray:
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or x.size < least or not np.isfinite(x).all():
        raise ValueError(f"the sample is {values}; it must be at least {least} finite numbers")
    return x


def _differences(ours: Sequence[float], theirs: Sequence[float], least: int = 1) -> np.ndarray:
    x, y = _sample(ours, least), _sample(theirs, least)
    if x.size != y.size:
        raise ValueError(f"{x.size} and {y.size} numbers; pairs need as many of both")
    return x - y


def _resampled(count: int) -> np.ndarray:
    """(_RESAMPLES, count) places drawn with replacement, the same at every call."""
    return np.random.default_rng(0).integers(0, count, (_RESAMPLES, count))


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    outside = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(values, [outside, 100 - outside])
    return float(low), float(high)
