"""The statistics against closed forms, scipy, hand-worked numbers and simulation."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vrp.study.power import equivalence_power, seeds_needed
from vrp.study.statistics import (
    difference_p,
    equivalence_test,
    holm,
    mean_interval,
    one_seed,
    paired_difference,
    pairing,
)

quick = settings(max_examples=30, deadline=None)
finite = st.floats(1, 10, allow_nan=False).map(lambda x: round(x, 6))
samples = st.lists(finite, min_size=2, max_size=12)
shares = st.lists(st.floats(0, 1), max_size=12)


def test_mean_interval_is_the_textbook_one():
    """1 to 5: mean 3, sd sqrt(2.5), t(0.975, 4) = 2.776445."""
    found = mean_interval([1, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert (found.value, found.count) == (3, 5)
    assert found.sd == pytest.approx(math.sqrt(2.5))
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), abs=1e-6)


def test_one_number_has_no_interval():
    """Nothing is known of the spread."""
    found = mean_interval([4.8])
    assert (found.value, found.sd, found.is_bounded) == (4.8, None, False)


@pytest.mark.parametrize("sample", [[], [1.0, math.nan], [[1.0]]], ids=["empty", "nan", "nested"])
def test_no_sample_no_mean(sample):
    """An error that says what a sample is."""
    with pytest.raises(ValueError, match="finite numbers"):
        mean_interval(sample)


@quick
@given(samples, st.floats(0.5, 0.99))
def test_mean_interval_is_scipys(sample, confidence):
    """The same ends as scipy's t distribution gives."""
    found = mean_interval(sample, confidence)
    if np.std(sample) > 0:
        ends = stats.t.interval(confidence, len(sample) - 1, np.mean(sample), stats.sem(sample))
        assert (found.low, found.high) == pytest.approx(ends)


@quick
@given(samples, st.integers(0, 2**32))
def test_a_paired_difference_is_scipys(sample, draw):
    """As scipy's paired t-test has it, and whatever the order of the pairs."""
    other = sample + np.random.default_rng(draw).normal(0.1, 1, len(sample))
    expected = stats.ttest_rel(sample, other)
    found = paired_difference(sample, other)
    ends = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert difference_p(sample, other) == pytest.approx(expected.pvalue)
    assert paired_difference(sample[::-1], other[::-1]).value == pytest.approx(found.value)


def test_pairs_need_as_many_of_both():
    """Else it is not known who belongs to whom."""
    with pytest.raises(ValueError, match="2 and 1 numbers"):
        paired_difference([1, 2], [1])


def test_equal_samples_do_not_differ():
    """No spread and no difference: p is 1, and they are equivalent."""
    assert difference_p([1, 2], [1, 2]) == 1
    assert equivalence_test([1, 2], [1, 2], 0.5).p == 0


def test_equivalence_is_two_one_sided_tests():
    """Each p as scipy's one-sided test against the margin gives it."""
    random = np.random.default_rng(0)
    theirs = random.normal(5, 0.02, 8)
    ours = theirs + random.normal(0.004, 0.02, 8)
    found = equivalence_test(ours, theirs, 0.5)
    margin = 0.005 * theirs.mean()
    low = stats.ttest_1samp(ours - theirs, -margin, alternative="greater").pvalue
    high = stats.ttest_1samp(ours - theirs, margin, alternative="less").pvalue
    assert found.margin == pytest.approx(margin)
    assert (found.p_low, found.p_high, found.p) == pytest.approx((low, high, max(low, high)))


@quick
@given(samples, st.integers(0, 2**32), st.floats(0.1, 20))
def test_equivalence_is_the_90_percent_interval_within_the_margin(sample, draw, margin):
    """The two ways to decide at level 0.05 agree."""
    other = sample + np.random.default_rng(draw).normal(0, 0.3, len(sample))
    found = equivalence_test(sample, other, margin)
    interval = paired_difference(sample, other, confidence=0.9)
    inside = -found.margin < interval.low and interval.high < found.margin
    assert (found.p < 0.05) == inside


@pytest.mark.parametrize(("sd", "count"), [(0.31, 5), (0.50, 10), (0.74, 20)])
def test_seeds_for_the_spreads_that_were_planned_with(sd, count):
    """The plan's three spreads, to the two digits they are given with, ask for these seeds."""
    assert equivalence_power(count, sd - 0.005, 0.5, 0.05) > 0.8
    assert equivalence_power(count, sd + 0.005, 0.5, 0.05) < 0.8
    assert seeds_needed(sd - 0.005, 0.5, 0.05, 0.8) == count


def test_the_least_number_of_seeds_is_the_least():
    """One seed fewer has too little power."""
    for sd in (0.1, 0.4, 1.3):
        count = seeds_needed(sd, 0.5, 0.05, 0.8)
        assert equivalence_power(count, sd, 0.5, 0.05) >= 0.8
        assert count == 2 or equivalence_power(count - 1, sd, 0.5, 0.05) < 0.8
    assert seeds_needed(100, 0.5, 0.05, 0.8) is None
    assert seeds_needed(0, 0.5, 0.05, 0.8) == 2


@pytest.mark.parametrize("count", [2, 3, 10])
@pytest.mark.parametrize("difference", [0.0, 0.3, 0.5])
def test_power_is_owens_q(count, difference):
    """Another way to the same number: a double integral over mean and sd, by plain sums."""
    sd, margin, alpha = 0.4, 0.5, 0.05
    freedom = count - 1
    s = np.linspace(0, 8, 400_001) * sd  # (S,) sample standard deviations
    density = stats.chi.pdf(s / sd * math.sqrt(freedom), freedom) * math.sqrt(freedom) / sd
    half = margin - stats.t.ppf(1 - alpha, freedom) * s / math.sqrt(count)
    error = sd / math.sqrt(count)
    inside = stats.norm.cdf((half - difference) / error) - stats.norm.cdf(
        (-half - difference) / error
    )
    expected = np.trapezoid(np.where(half > 0, inside, 0) * density, s)
    assert equivalence_power(count, sd, margin, alpha, difference) == pytest.approx(
        expected, abs=1e-5
    )


@pytest.mark.parametrize(("count", "sd"), [(5, 0.31), (10, 0.50)])
@pytest.mark.parametrize("margins", [0, 1, 4], ids=["equal", "at the margin", "four margins"])
def test_equivalence_by_simulation(count, sd, margins):
    """It accepts with the computed power, at the margin at most 5 %, at four under 0.1 %."""
    times, cost = 4000, 100.0  # so that a percent is 1
    random = np.random.default_rng(count)
    theirs = random.normal(cost, 0.3, (times, count))
    ours = theirs + random.normal(margins * 0.5, sd, (times, count))
    pairs = zip(ours, theirs, strict=True)
    accepted = np.mean([equivalence_test(a, b, 0.5).p < 0.05 for a, b in pairs])
    expected = equivalence_power(count, sd, 0.5, 0.05, margins * 0.5)
    error = math.sqrt(max(expected * (1 - expected), 1e-9) / times)
    assert accepted == pytest.approx(expected, abs=4 * error + 1e-9)
    if margins == 1:
        assert accepted <= 0.05 + 3 * error
    if margins == 4:
        assert accepted < 0.001


@quick
@given(st.integers(2, 40), st.floats(0.05, 2), st.floats(0, 1.5))
def test_power_falls_with_the_difference_and_rises_with_the_seeds(count, sd, difference):
    """And it is a probability."""
    power = equivalence_power(count, sd, 0.5, 0.05, difference)
    assert 0 <= power <= 1
    assert power <= equivalence_power(count, sd, 0.5, 0.05) + 1e-9
    # At few seeds and a large spread the test accepts by luck; there more seeds may lose it.
    if difference == 0 and power > 0.2:
        assert power <= equivalence_power(count + 1, sd, 0.5, 0.05) + 1e-9
    if difference >= 0.5:
        assert power <= 0.05 + 1e-6


@pytest.mark.parametrize("bad", [(1, 1, 1, 0.05), (5, -1, 1, 0.05), (5, 1, 0, 0.05), (5, 1, 1, 1)])
def test_power_refuses_what_makes_no_sense(bad):
    """The error gives the values and what is allowed."""
    with pytest.raises(ValueError, match="allowed"):
        equivalence_power(*bad)


def test_holm_by_hand():
    """0.01 x 4, 0.02 x 3, then 0.03 x 2 = 0.06 and 0.04 x 1, raised to the one before."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@quick
@given(shares)
def test_holm_keeps_the_order_and_never_lowers(p_values):
    """Between each p and Bonferroni's, in the same order."""
    adjusted = holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1, len(p_values) * p) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert all(np.diff(np.array(adjusted)[order]) >= 0)


def test_holm_refuses_what_is_no_probability():
    """The error gives the values."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, 1.5])


def test_pairing_by_hand():
    """Two samples that move together: r by hand, and the ratio of the variances."""
    x, y = [1.0, 2.0, 3.0, 4.0], [1.5, 2.0, 3.5, 4.0]
    found = pairing(x, y)
    # Deviations -1.5 -0.5 0.5 1.5 and -1.25 -0.75 0.75 1.25: sums of products 4.5, squares 5, 4.25
    r = 4.5 / math.sqrt(5 * 4.25)
    assert found.correlation.value == pytest.approx(r)
    half = 1.959964 / math.sqrt(1)
    assert found.correlation.low == pytest.approx(math.tanh(math.atanh(r) - half), abs=1e-6)
    assert found.unpaired_variance == pytest.approx((5 + 4.25) / 3)
    assert found.paired_variance == pytest.approx((5 + 4.25 - 2 * 4.5) / 3)
    assert found.ratio.value == pytest.approx(0.25 / 9.25)
    assert found.ratio.low <= found.ratio.value <= found.ratio.high


def test_pairing_saves_nothing_where_nothing_is_shared():
    """A ratio around 1 for independent samples, and 1 - r for equal variances."""
    random = np.random.default_rng(1)
    x, y = random.normal(5, 1, (2, 400))
    found = pairing(x, y)
    assert found.ratio.value == pytest.approx(1, abs=0.15)
    assert found.ratio.low < 1 < found.ratio.high
    assert found.ratio.value == pytest.approx(1 - found.correlation.value, abs=0.02)


@pytest.mark.parametrize("pair", [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3])])
def test_pairing_needs_three_pairs_that_vary(pair):
    """Else there is no correlation."""
    with pytest.raises(ValueError, match=r"at least 3|does not vary"):
        pairing(*pair)


def test_one_seed_by_hand():
    """100, 101, 103: of six ordered pairs all but none reach 1 %, and four of them 1.9 %."""
    sample = [100.0, 101.0, 103.0]
    assert one_seed(sample, 1).share.value == pytest.approx(5 / 6)  # 100 against 101: -0.99 %
    assert one_seed(sample, 1.9).share.value == pytest.approx(4 / 6)
    assert one_seed(sample, 3).share.value == pytest.approx(1 / 6)
    assert one_seed(sample, 1).largest == pytest.approx(3)
    assert not one_seed(sample, 5).share.is_bounded  # no resample can show what was never seen


@quick
@given(st.lists(finite, min_size=3, max_size=12), st.floats(0.1, 50))
def test_one_seed_counts_all_ordered_pairs(sample, percent):
    """The share by plain counting, within its interval's range, which is a probability's."""
    pairs = list(permutations(range(len(sample)), 2))
    limit = percent * (1 - 1e-12)
    hits = sum(abs(sample[i] / sample[j] - 1) * 100 >= limit for i, j in pairs)
    found = one_seed(sample, percent)
    assert found.share.value == pytest.approx(hits / len(pairs))
    assert found.share.is_bounded == (hits > 0 and len(sample) >= 8)
    assert not found.share.is_bounded or 0 <= found.share.low <= found.share.high <= 1


def test_one_seed_of_normal_outcomes():
    """The normal figure by its formula; the counted one comes to it for many seeds."""
    sample = np.random.default_rng(2).normal(100, 1, 200)
    found = one_seed(sample, 1)
    expected = 2 * stats.norm.sf(0.01 * sample.mean() / (math.sqrt(2) * sample.std(ddof=1)))
    assert found.normal_share.value == pytest.approx(expected)
    assert found.normal_share.low < expected < found.normal_share.high
    assert found.share.value == pytest.approx(expected, abs=0.03)
    assert found.share.low < found.share.value < found.share.high


def test_a_copy_of_a_seed_is_no_comparison():
    """Where all seeds differ by far, no resample shows two that agree."""
    share = one_seed([2.0**i for i in range(8)], 1).share
    assert (share.low, share.value, share.high) == (1, 1, 1)


def test_one_pair_can_make_a_correlation():
    """Four pairs without any and one far away; without it nothing is left."""
    x, y = [0.0, 1.0, 0.0, 1.0, 9.0], [0.0, 0.0, 1.0, 1.0, 9.0]
    found = pairing(x, y)
    assert found.correlation.value > 0.95
    least, most = found.without_one
    assert least == pytest.approx(0)
    assert most >= found.correlation.value
    assert pairing([1.0, 2.0, 4.0], [1.0, 3.0, 2.0]).without_one is None


def test_equal_outcomes_never_differ():
    """Neither counted nor normal."""
    found = one_seed([5.0, 5.0, 5.0], 1)
    assert (found.share.value, found.normal_share.value) == (0, 0)
