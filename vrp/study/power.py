"""How many seeds an equivalence test takes; scipy is the extra `study`."""

from __future__ import annotations

import math

from scipy import integrate, stats

_MOST_SEEDS = 10_000  # that `seeds_needed` looks at


def equivalence_power(
    count: int, sd: float, margin: float, alpha: float, difference: float = 0.0
) -> float:
    """The probability that `statistics.equivalence_test` shows equivalence, for normal differences.

    Given the sample's standard deviation s, the test accepts when the mean difference is further
    inside the margin than t s / sqrt(n), a normal probability; it is integrated over s, so the
    result is exact up to the integration's error, as the bivariate noncentral t would give it.

    Args:
        count: pairs n, at least 2.
        sd: the true standard deviation of the differences, in the unit of the margin.
        margin: half the width of the range that counts as equal.
        alpha: level of each one-sided test.
        difference: the true mean difference.

    Raises:
        ValueError: for a count below 2, a negative sd, or a margin or alpha out of range.

    Source: Phillips (1990), J. Pharmacokinetics and Biopharmaceutics 18, 137-144.
    """
    if count < 2 or not sd >= 0 or not margin > 0 or not 0 < alpha < 0.5:
        raise ValueError(
            f"count {count}, sd {sd}, margin {margin}, alpha {alpha}; allowed: a count of at least "
            "2, an sd of at least 0, a margin above 0, an alpha between 0 and 0.5"
        )
    if sd == 0:
        return float(abs(difference) < margin)
    freedom = count - 1
    error = sd / math.sqrt(count)
    t = float(stats.t.ppf(1 - alpha, freedom))
    upper, lower = (margin - difference) / error, (-margin - difference) / error

    def density(ratio: float) -> float:
        """Of s / sd, times the probability to accept at this s."""
        inside = stats.norm.cdf(upper - t * ratio) - stats.norm.cdf(lower + t * ratio)
        return float(inside * stats.chi.pdf(ratio * math.sqrt(freedom), freedom))

    # Beyond `most` nothing is accepted; beyond `tail` no s is found.
    most = margin / error / t
    tail = float(stats.chi.isf(1e-14, freedom)) / math.sqrt(freedom)
    low = float(stats.chi.ppf(1e-14, freedom)) / math.sqrt(freedom)
    if most <= low:
        return 0.0
    value, _ = integrate.quad(density, low, min(most, tail), epsabs=1e-11, limit=200)
    return min(1.0, value * math.sqrt(freedom))


def seeds_needed(sd: float, margin: float, alpha: float, power: float) -> int | None:
    """The least number of pairs with this power when there is no difference; None beyond 10,000.

    Raises:
        ValueError: as `equivalence_power`, or for a power that is not between 0 and 1.
    """
    if not 0 < power < 1:
        raise ValueError(f"the power is {power}; it must be between 0 and 1")
    low, high = 1, 2  # power(low) is too small, power(high) suffices
    while equivalence_power(high, sd, margin, alpha) < power:
        if high >= _MOST_SEEDS:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = equivalence_power(middle, sd, margin, alpha) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high if high <= _MOST_SEEDS else None
