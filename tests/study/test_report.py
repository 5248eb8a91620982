"""The report from made-up runs whose truth is known."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import COST, PLAN, curve, curves, lost, pairs, run, steps, whole_study

from vrp.problem.datasets import reference
from vrp.study.analysis import Analysis
from vrp.study.answer import tally, verdict_text
from vrp.study.answer_embedding import embedding_costs
from vrp.study.comparison import SETTINGS
from vrp.study.document import Section, Table, Text, to_html
from vrp.study.learning_figures import labels_apart
from vrp.study.report import make_report, write_report
from vrp.study.statistics import holm
from vrp.study.study import Study


def exactly(differences: list[float], sweep: str = "encoders") -> list:
    """Pairs of conv1d and linear whose costs differ by these percentages of 5.0."""
    made = []
    for seed, percent in enumerate(differences):
        made.append(run("conv1d", seed, 5.0 * (1 + percent / 100), sweep))
        made.append(run("linear", seed, 5.0, sweep))
    return made


def section(report, title: str):
    """The one section with this in its title."""
    (found,) = (s for s in report.sections if title in s.title)
    return found


def words(found) -> str:
    """All texts of a section, as one."""
    return "\n".join(str(block) for block in found.blocks)


@pytest.fixture(scope="module")
def whole():
    """The runs and curves of a study with everything, and its report."""
    runs, points = whole_study()
    return runs, points, make_report(runs, points, PLAN)


# Differences in percent, with means and spreads that settle the matter; margin 0.5 %.
@pytest.mark.parametrize(
    ("differences", "verdict", "said"),
    [
        ([-0.1, 0.1, 0.0, -0.05, 0.05], "equivalent", "**Equivalent.**"),
        ([0.2, 0.21, 0.19, 0.2, 0.22], "equivalent", "it is smaller than the margin"),
        ([0.9, 1.1, 1.0, 0.95, 1.05], "different", "The whole interval lies beyond the margin"),
        ([-0.9, -1.1, -1.0, -0.95], "different", "shorter than Linear's on average"),
        ([0.4, 0.6, 0.9, 0.3, 0.8], "different", "is not decided."),
        ([-2.0, 2.0, 1.0, -1.0, 0.5], "undecided", "**Not decided.**"),
        ([-2.0, 2.0, 1.0, -1.0, 0.5], "undecided", "seeds would show equivalence"),
        ([0.1], "no data", "only one seed"),
        ([], "no data", "There is no seed"),
    ],
)
def test_the_answer_follows_the_data(differences, verdict, said):
    """Each branch: the verdict and the words for it."""
    runs = exactly(differences) or [lost(run("linear", 0, 5.0), "failed", "out of memory")]
    analysis = Analysis(runs, [], PLAN)
    assert analysis.verdict == verdict
    assert said in verdict_text(analysis)
    assert said in words(make_report(runs, [], PLAN).sections[0])


def test_the_answer_names_what_it_rests_on(whole):
    """Margin, confidence, seeds, budget and test set stand in the first section."""
    text = words(whole[2].sections[0])
    for said in ("0.5 %", "95 %", "9 seeds", "9 of 10 seeds", "400,000", "`kool10`", "0.05"):
        assert said in text


def test_28_of_30_runs_are_counted():
    """One run failed and one stopped; the count is honest, and both are listed."""
    runs = pairs({"conv1d": 0, "linear": 0, "embedding": 1})
    runs[3] = lost(runs[3], "failed", "ValueError: the loss\nis nan")
    runs[14] = lost(runs[14], "stopped")
    analysis = Analysis(runs, [], PLAN)
    assert tally(analysis) == "28 of 30 runs are counted (1 failed and 1 unfinished)."
    assert analysis.primary.seeds == [0, 1, 2, 5, 6, 7, 8, 9]
    account = words(section(make_report(runs, [], PLAN), "What was run"))
    assert "28 of 30 runs" in account
    assert "conv1d, seed 3): failed: ValueError: the loss is nan" in account
    assert "linear, seed 4): unfinished, 100,000 of 400,000 instances" in account


def test_a_planned_run_without_a_line_is_missing():
    """Leaving a failed run out of the file does not hide it."""
    runs = exactly([0.0, 0.1, 0.2])
    analysis = Analysis(runs, [], replace(PLAN, seeds=(0, 1, 2, 3)))
    assert tally(analysis) == "6 of 8 runs are counted (2 missing)."
    report = make_report(runs, [], replace(PLAN, seeds=(0, 1, 2, 3)))
    account = words(section(report, "What was run"))
    assert "linear, seed 3: in the plan, but not in the runs file" in account


def test_untested_and_stopped_runs_are_never_compared():
    """Also not a stopped one that was tested."""
    runs = exactly([0.0, 0.1, 0.2])
    runs[0] = replace(runs[0], status="stopped", instances=1000)
    runs[2] = replace(
        runs[2], checkpoint="", test_set="", decode="", test_instances=None, cost=None, gap=None,
        reference_instances=None,
    )  # fmt: skip
    assert Study(runs, replace(PLAN, seeds=(0, 1, 2))).primary().seeds == [2]


def test_the_pilot_is_never_counted():
    """Its runs change the pilot's lines and nothing else of the results."""
    runs = exactly([-0.1, 0.1, 0.0])
    pilot = exactly([5.0, 6.0, 7.5], sweep="pilot-vrp10")
    without, given = (Analysis(r, [], PLAN) for r in (runs, runs + pilot))
    assert given.primary == without.primary
    assert tally(given) == tally(without)
    report = make_report(runs + pilot, [], PLAN)
    said = words(section(report, "primary question"))
    assert "Pilot `pilot-vrp10` (3 pairs" in said
    assert "1.26 % of the cost, which asks for 56 seeds" in said
    assert "Pilot, never counted: `pilot-vrp10/vrp10-conv1d-s0`" in words(
        section(report, "What was run")
    )


def test_a_pilot_alone_is_no_result():
    """Not even where there is nothing else."""
    analysis = Analysis(exactly([0.0, 0.1, 0.2], sweep="pilot"), [], PLAN)
    assert analysis.verdict == "no data"
    assert not analysis.study.tested


def test_a_curve_is_flat_only_by_its_whole_interval():
    """Falls of 0.0 % and 0.6 % have a mean below the margin, and show nothing; and so not flat."""
    runs = exactly([0.0, 0.0])
    for falls, said in (
        ((0.0, 0.006), "'0.30 % (-3.51 to 4.11)', 'not shown'"),
        ((0.02, 0.0201), "'2.00 % (1.94 to 2.07)', 'no'"),
        ((-0.02, -0.0201), "'-2.01 % (-2.07 to -1.94)', 'no'"),
        ((0.001, 0.0011), "'0.10 % (0.04 to 0.17)', 'yes'"),
    ):
        points = []
        for made in runs:
            steady = [replace(p, val_gap=None, val_cost=5.0) for p in curves([made])]
            points += [*steady[:-1], replace(steady[-1], val_cost=5.0 * (1 - falls[made.seed]))]
        found = words(section(make_report(runs, points, PLAN), "Learning curves"))
        assert said in found


CHANGED = {
    "num_customers": 11, "capacity": 21, "split_delivery": True, "policy": "attention",
    "budget": 500_000, "instances": 500_000, "batch_size": 128, "num_rollouts": 1,
    "learning_rate": 1e-4, "settings": "baseline=critic", "precision": "tf32",
    "checkpoint": "best", "test_instances": 1000,
}  # fmt: skip


def test_every_setting_is_looked_at():
    """Those that pick a test apart, all are tried below."""
    assert {*CHANGED, "problem", "test_set", "decode"} == set(SETTINGS)


@pytest.mark.parametrize("setting", CHANGED)
@pytest.mark.parametrize("where", ["the encoders", "a change", "the pilot"])
def test_runs_that_differ_in_a_setting_are_not_compared(setting, where):
    """A ValueError that names both runs, the setting and both values."""
    runs = exactly([0.0, 0.1, 0.2])
    sweep = {"the encoders": "encoders", "a change": "suspects", "the pilot": "pilot"}[where]
    if where == "a change":
        runs += [run("linear", seed, 5.5, sweep, "reshape") for seed in range(3)]
    elif where == "the pilot":
        runs += exactly([0.0, 0.1], sweep)
    last = runs[-1]
    runs[-1] = replace(last, **{setting: CHANGED[setting]})
    with pytest.raises(ValueError, match="cannot be compared") as caught:
        make_report(runs, [], PLAN)
    message = str(caught.value)
    assert f"{sweep}/{last.run}" in message
    assert f"{setting} is {getattr(last, setting)!r} and {CHANGED[setting]!r}" in message
    assert message.count("/vrp10-") == 2


@pytest.mark.parametrize(
    "changed",
    [{"test_set": "clustered10"}, {"decode": "beam(width=10)"}, {"problem": "vrp10-other"}],
    ids=lambda changed: next(iter(changed)),
)
def test_tests_are_kept_apart(changed):
    """A result on another set or problem, or by another search, never meets the primary ones."""
    runs = exactly([0.0, 0.1, 0.2])
    others = [replace(r, cost=9.0, run=r.run + "-x", **changed) for r in runs]
    assert Study(runs + others, PLAN).primary() == Study(runs, PLAN).primary()


def test_what_is_not_as_planned_is_said_at_once():
    """A budget, a number of instances or seeds other than the plan's, in the first section."""
    runs = exactly([0.0, 0.1, 0.2])
    plan = replace(PLAN, budget=800_000, seeds=(0, 1, 2))
    said = words(make_report(runs, [], plan).sections[0])
    assert "**Not as planned:** `budget` is 400000 and not 800000." in said
    runs = [replace(r, test_instances=1000) for r in runs]
    said = words(make_report(runs, [], PLAN).sections[0])
    assert "`test_instances` is 1000 and not 10000; 3 of 10 seeds have both runs." in said
    plan = replace(PLAN, seeds=(0, 1, 2), test_instances=1000, budget=400_000)
    assert "Not as planned" not in words(make_report(runs, [], plan).sections[0])


def test_seeds_beside_the_plan_stay_out():
    """The primary test takes the plan's seeds; the report says that there are others."""
    runs = exactly([0.0, 0.1, 0.2, 9.0])
    report = make_report(runs, [], replace(PLAN, seeds=(0, 1, 2)))
    assert "stay out of this test: 3." in words(section(report, "primary question"))
    assert Analysis(runs, [], replace(PLAN, seeds=(0, 1, 2))).primary.seeds == [0, 1, 2]


def test_two_runs_of_one_seed_are_refused():
    """Which of them counts must not be chosen by chance."""
    runs = exactly([0.0, 0.1])
    runs.append(replace(runs[0], run="again"))
    with pytest.raises(ValueError, match="both of conv1d with seed 0"):
        make_report(runs, [], PLAN)


def test_a_run_is_paired_within_its_sweep():
    """A change's partner is its own sweep's linear; of the encoders' sweep where it has none."""
    runs = exactly([0.0, 0.1, 0.2])
    changed = [run("linear", seed, 5.5, "suspects", "reshape") for seed in range(3)]
    own = [run("linear", 0, 5.4, "suspects")]
    other = [run("linear", 0, 5.6, "tables")]
    study = Study(runs + changed + own + other, PLAN)
    found = study.against_linear("linear", "reshape", study.tests[0])
    assert found.costs[1] == [5.4, 5.0, 5.0]
    assert study.plain(study.tests[0])["linear"][0].sweep == "encoders"


def test_effects_and_ranks_are_those_put_in(whole):
    """The change with the largest harm and the slowest learning is first; TF32 does nothing."""
    analysis = Analysis(whole[0], whole[1], PLAN)
    found = {effect.name: effect for effect in analysis.suspects("vrp10")}
    assert list(found)[:3] == ["reshape", "strict_mask", "flatten"]
    assert found["reshape"].comparison.percent.value == pytest.approx(6, abs=0.5)
    assert found["reshape"].is_slower
    assert not found["tf32"].is_longer
    assert not found["tf32"].is_slower
    assert re.search(
        r"\| `reshape` \| - \| - \| 4 \| .* \| > 3\.93 \| - \| 0 of 4 \| \S+ % \(.*\) \| both \|",
        whole[2].markdown,
    )
    text = words(whole[2].sections[0])
    assert re.search(
        r"`reshape` \(\+[^)]+\), `strict_mask` \(\+[^)]+\) and `flatten` \(\+[^)]+\) show "
        r"longer training with worse results: of `reshape`, 4 of 4 runs never became as good",
        text,
    )
    assert re.search(r"Not decided: .*`tf32` \(", text)
    assert re.search(
        r"with worse results: `reshape` on VRP10. Tours are [56]\.\d\d % longer on average "
        r"\(95 % interval \S+ to \S+ %\), and run by run \+\d\.\d, .* and \+\d\.\d %\.",
        text,
    )


def test_no_change_is_blamed_without_reason():
    """If none makes tours longer, the answer says so."""
    runs = exactly([0.0, 0.1, 0.2])
    runs += [run("linear", s, 5.0 + d, "suspects", "tf32") for s, d in enumerate((0.01, -0.01, 0))]
    assert "none makes tours longer or learning slower" in words(
        make_report(runs, [], PLAN).sections[0]
    )


def test_slow_learning_is_measured():
    """A run that comes down 1.5 times as late, to the same end, needs as many more instances."""
    runs = exactly([0.0] * 4)
    runs += [run("linear", seed, 5.0, "suspects", "flatten") for seed in range(4)]
    analysis = Analysis(runs, curves(runs, {"flatten": 1.5}), PLAN)
    (effect,) = analysis.suspects("vrp10")
    assert (effect.slowdown.reached, effect.slowdown.count) == (4, 4)
    assert effect.slowdown.ratio.value == pytest.approx(1.5, rel=0.2)


def test_equal_encoders_learn_equally_fast():
    """Of two encoders that differ in noise alone, neither is the slower, whichever is asked."""
    found = []
    for draw in range(60):
        runs = pairs({"conv1d": 0, "linear": 0}, 5, draw=draw)
        noise = np.random.default_rng(draw)
        points = [
            replace(p, val_gap=p.val_gap * float(1 + noise.normal(0, 0.03))) for p in curves(runs)
        ]
        analysis = Analysis(runs, points, PLAN)
        ours = analysis.primary
        theirs = replace(
            ours, name="linear", reference="conv1d", ours=ours.theirs, theirs=ours.ours
        )
        found += [analysis.slowdown(comparison).ratio for comparison in (ours, theirs)]
    assert np.mean([math.log(ratio.value) for ratio in found]) == pytest.approx(0, abs=0.02)
    is_other = [not ratio.low <= 1 <= ratio.high for ratio in found[::2]]
    assert sum(is_other) <= 8  # of 60, where 3 are expected: more in 1 of 300 such tests


def test_learning_is_compared_on_equal_instances_only():
    """A change that was validated on another set has a final cost, and no speed of learning."""
    runs = exactly([0.0] * 4)
    runs += [run("linear", s, 5.5, "suspects", "reshape", validation="own") for s in range(4)]
    (effect,) = Analysis(runs, curves(runs), PLAN).suspects("vrp10")
    assert effect.is_longer
    assert effect.slowdown is None
    assert effect.shows == "longer tours"
    figures = make_report(runs, curves(runs), PLAN).figures
    assert "changes-learning-vrp10.svg" not in figures


def test_what_does_not_learn_is_no_slow_learning():
    """A change that ends where it began is worse than one that learns, and comes after it."""
    runs = exactly([0.0, 0.01, 0.02, 0.0])
    runs += [run("linear", s, 7.0 + s / 100, "suspects", "flattened") for s in range(4)]
    runs += [run("linear", s, 5.2 + s / 100, "suspects", "slow") for s in range(4)]
    points = [
        replace(p, val_cost=7.0, val_gap=54.0) if "flattened" in p.run else p for p in curves(runs)
    ]
    report = make_report(runs, points, PLAN)
    first, second = Analysis(runs, points, PLAN).suspects("vrp10")
    assert (first.name, first.shows) == ("slow", "both")
    assert (second.name, second.shows) == ("flattened", "longer tours, stops learning")
    said = words(report.sections[0])
    assert "`slow` (+" in said
    assert "shows longer training with worse results: 4 of 4 runs never became" in said
    assert "with nothing learned after a tenth of the budget: `flattened` (+" in said


def test_a_bound_has_no_p():
    """Three runs that never get there: the spread of their lateness is not known, only the end."""
    for cost, shown in ((6.5, "both"), (5.0, "neither")):
        runs = exactly([0.0, 0.01, 0.02])
        runs += [run("linear", s, cost, "suspects", "slow", val_gap=40.0) for s in range(3)]
        (effect,) = Analysis(runs, curves(runs), PLAN).suspects("vrp10")
        assert (effect.slowdown.reached, effect.slowdown.p, effect.p_slowdown) == (0, None, None)
        assert effect.slowdown.ratio.value > 2
        assert effect.shows == shown


def test_changes_at_another_rate_have_a_sentence_of_their_own():
    """They are compared with linear at that rate, and no change of the usual rate joins them."""
    runs = exactly([0.0, 0.01, 0.02])
    runs += [run("linear", s, 5.5 + s / 100, "suspects", "flattened") for s in range(3)]
    slow = {"test_set": "kool10", "capacity": 20, "learning_rate": 3e-4}
    for variant, cost in (("", 6.0), ("flattened", 6.2)):
        for seed in range(3):
            made = run("linear", seed, cost + seed / 100, "rate", variant, **slow)
            runs.append(replace(made, problem="vrp10-rate0.0003"))
    said = words(make_report(runs, [], PLAN).sections[0])
    usual, rate = said.split("**On VRP10 (learning rate 0.0003):**")
    assert re.search(r"`flattened` \(\+10\.\d\d %, \S+ to \S+\) makes tours longer", usual)
    assert "`flattened` (+3.33 %, +3.33 to +3.33) makes tours longer" in rate


def test_what_comes_closest_may_not_be_shown():
    """Late in every run and longer by its own interval, but one of many tests."""
    runs = exactly([0.0, 0.01, 0.02])
    for number in range(12):
        runs += [
            run("linear", s, 5.0 + (-1) ** s / 100, "suspects", f"x{number}") for s in range(3)
        ]
    for seed, cost in enumerate((5.5, 5.7, 5.9)):
        runs.append(run("linear", seed, cost, "suspects", "slow", val_gap=40.0))
    analysis = Analysis(runs, curves(runs), PLAN)
    slow = next(effect for effect in analysis.suspects("vrp10") if effect.name == "slow")
    assert (slow.shows, slow.slowdown.reached) == ("neither", 0)
    said = words(make_report(runs, curves(runs), PLAN).sections[0])
    assert re.search(
        r"with worse results: `slow` on VRP10. Tours are 1\d\.\d\d % longer on average "
        r"\(95 % interval .*, though not shown after correction, p = 0\.\d+\)",
        said,
    )


def test_the_blind_encoder_is_a_yardstick():
    """It is no change that was tried, and stands beside those that are."""
    runs = exactly([0.0, 0.01, 0.02])
    runs += [run("linear", s, 5.5 + s / 100, "suspects", "flattened") for s in range(3)]
    runs += [run("linear", 0, 7.0, "suspects", "blind")]
    report = make_report(runs, [], PLAN)
    said = words(report.sections[0])
    assert "Of 1 change tried" in said
    assert "sees no coordinates at all (`blind`) makes tours 40.00 % longer (one seed" in said
    assert re.search(r"\| `blind` \| no coordinates at all, a yardstick \|.* - \|", report.markdown)
    twice = Analysis([*runs, run("linear", 1, 7.1, "suspects", "blind")], [], PLAN)
    (flattened,), (more,) = Analysis(runs, [], PLAN).suspects("vrp10"), twice.suspects("vrp10")
    assert (more.p, more.p_equivalence) == (flattened.p, flattened.p_equivalence)


def test_rarely_seen_coordinates_are_judged_after_correction():
    """What is lost is compared seed by seed, and its p joins all others."""
    for more, said in ((9.0, "Yes: "), (-9.0, "No, less: "), (0.0, "That is not shown: ")):
        runs = pairs({"conv1d": 0, "linear": 0, "embedding": 1}, 3)
        random = np.random.default_rng(0)
        for usual in [r for r in runs if r.encoder != "conv1d"]:
            percent = 20 + random.normal(0, 0.2) + more * (usual.encoder == "embedding")
            name = f"{usual.encoder}-s{usual.seed}"
            cost = usual.cost * (1 + percent / 100)
            runs.append(replace(usual, sweep="rare", run=name, problem="banded10", cost=cost))
        analysis = Analysis(runs, [], PLAN)
        assert analysis.rare.more.value == pytest.approx(more, abs=0.5)
        assert analysis.adjusted_difference(analysis.rare) > analysis.rare.p
        assert f"goes on straight? {said}" in make_report(runs, [], PLAN).markdown


def test_what_a_rule_costs_is_no_slow_learning():
    """Under the strict mask a policy that learns as Linear does pays what the mask itself costs."""
    own, usual = (reference("kool10", capacity).cost for capacity in (19, 20))
    own_val, usual_val = (reference("kool10-val", capacity).cost for capacity in (19, 20))
    paid, paid_val = own.mean() / usual.mean(), own_val.mean() / usual_val.mean()
    runs = exactly([0.0, 0.01, 0.02, 0.0])
    plain = [r for r in runs if r.encoder == "linear"]
    points = curves(runs)
    for each in plain:
        strict = replace(
            each, sweep="suspects", run=f"strict-{each.seed}", variant="strict_mask",
            cost=each.cost * paid, gap=100 * ((1 + each.gap / 100) * paid - 1),
        )  # fmt: skip
        runs.append(strict)
        points += [
            replace(
                p, sweep="suspects", run=strict.run, val_cost=p.val_cost * paid_val, val_gap=None
            )
            for p in points
            if p.key == each.key
        ]
    (effect,) = Analysis(runs, points, PLAN).suspects("vrp10")
    assert effect.price.value == pytest.approx(100 * (paid - 1))
    assert effect.comparison.percent.value == pytest.approx(100 * (paid - 1))
    assert effect.slowdown.ratio.value == pytest.approx(1)
    assert effect.shows == "longer tours"
    report = make_report(runs, points, PLAN)
    assert "`strict_mask` changes what is asked, whatever the layer:" in words(report.sections[0])
    assert "at most 19 of 20" in words(report.sections[5])


def test_a_change_without_effect_is_equal_or_not_decided():
    """Three close runs are shown to be equal, three that scatter show nothing."""
    for spread, said in ((0.005, "No harm: `tf32`"), (0.3, "Not decided: `tf32`")):
        runs = exactly([0.0, 0.0, 0.0])
        runs += [run("linear", s, 5.0 + spread * (s - 1), "suspects", "tf32") for s in range(3)]
        runs += [run("linear", s, 5.5 + s / 100, "suspects", "reshaped") for s in range(3)]
        assert said in words(make_report(runs, [], PLAN).sections[0])


def test_a_run_is_counted_once_on_further_sets():
    """The table of 64 bins that a sweep of tables repeats is not another seed."""
    runs = pairs({"conv1d": 0, "linear": 0, "embedding": 1}, 5)
    runs += [replace(r, sweep="tables") for r in runs if r.encoder == "embedding"][:3]
    runs += [replace(r, test_set="clustered10", gap=None, reference_instances=None) for r in runs]
    text = make_report(runs, [], replace(PLAN, sweeps=("encoders",))).markdown
    assert re.search(r"\| VRP10 \| `clustered10`, greedy \| Embedding \| 5 \|", text)


def test_the_main_test_of_another_policy():
    """Kool's set of its size, not the first in the alphabet."""
    runs = exactly([0.0, 0.1, 0.2])
    for made in exactly([0.0, 0.1, 0.2]):
        for test_set in ("clustered20", "kool20"):
            runs.append(
                replace(made, problem="vrp20-attention", num_customers=20, policy="attention",
                        test_set=test_set, run=f"{made.run}-attention")
            )  # fmt: skip
    assert Analysis(runs, [], PLAN).study.main_test("vrp20-attention").test_set == "kool20"


def test_holms_family_is_all_that_is_secondary(whole):
    """Each secondary comparison in one question, the primary one in none, and no p falls."""
    analysis = Analysis(whole[0], whole[1], PLAN)
    family = [c for question in analysis.families.values() for c in question]
    assert len({(c.test, c.name, c.reference) for c in family}) == len(family)
    assert all(
        (c.test.test_set, c.test.decode, {c.name, c.reference})
        != (PLAN.test_set, PLAN.decode, set(PLAN.encoders))
        for c in family
    )
    family.append(analysis.rare)
    assert [analysis.adjusted_difference(c) for c in family] == holm([c.p for c in family])
    asked = analysis.equivalence_families
    pairs_asked = {frozenset((c.name, c.reference)) for c in asked["encoders"]}
    assert pairs_asked == {frozenset(PLAN.encoders)}
    tests = [c for question in asked.values() for c in question]
    expected = holm([c.equivalence.p for c in tests])
    assert [analysis.adjusted_equivalence(c) for c in tests] == expected


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ([-0.01, 0.01, 0.0, 0.02], "equivalent to within 0.5 % after Holm's correction."),
        ([2.0, 2.1, 1.9, 2.05], "different after Holm's correction."),
        (
            [-2.0, 2.0, 1.0, -1.0],
            "(p = 0.3110) nor a difference (p = 1.0000) is shown after Holm's correction.",
        ),
        ([1.0], "one seed shows nothing."),
    ],
)
def test_other_problems_are_answered_by_the_data_too(differences, said):
    """Each branch of the sentence about VRP20."""
    runs = exactly([0.0, 0.1, 0.2])
    for made in exactly(differences):
        runs.append(run(made.encoder, made.seed, made.cost, problem="vrp20"))
    text = words(make_report(runs, [], PLAN).sections[0]).replace('"', "'")
    assert f"{said} The plan names" not in text  # a plan without sweeps takes all
    assert f"{said}'" in text


def test_what_the_plan_does_not_name_is_called_exploratory():
    """Once for all, and only where there is such a run."""
    plan, runs = replace(PLAN, sweeps=("encoders",)), exactly([0.0, 0.1, 0.2])
    said = "The plan names the runs of `encoders`; what others show is exploratory."
    assert said not in words(make_report(runs, [], plan).sections[0])
    runs += [run("linear", s, 5.5 + s / 100, "suspects", "flattened") for s in range(3)]
    assert said in words(make_report(runs, [], plan).sections[0])


def test_no_band_is_drawn_where_no_interval_is_known(monkeypatch):
    """A share of 0 has none: the band of the figure ends there, and is not of width 0."""
    drawn = {}
    monkeypatch.setattr(
        "vrp.study.single_seed.chance_lines", lambda bands: drawn.update(bands) or b"<svg/>"
    )
    runs = exactly([0.0] * 8)
    points = [
        replace(p, val_gap=None, val_cost=5.0 + 0.1 * (int(p.run[-1]) if p.instances < 2e5 else 0))
        for p in curves(runs)
    ]
    make_report(runs, points, PLAN)
    for band in drawn.values():
        is_zero = band.mean == 0
        assert is_zero.any()
        assert not is_zero.all()
        assert (np.isnan(band.low) == is_zero).all()
        assert (np.isnan(band.high) == is_zero).all()


def test_minutes_are_those_of_finished_runs():
    """One that was stopped early says nothing of how long a run takes; its hours count."""
    runs = exactly([0.0, 0.1])
    short = replace(lost(runs[0], "stopped"), seconds=60.0)
    said = words(section(make_report([short, *runs[1:]], [], PLAN), "What was run"))
    minutes = [run.seconds / 60 for run in runs[1:]]
    assert f"'{min(minutes):.1f} to {max(minutes):.1f}'" in said
    assert f"'{(60 + sum(run.seconds for run in runs[1:])) / 3600:.1f}'" in said


def test_a_rate_that_is_not_the_studys_is_said():
    """Where the change that comes closest was trained with another one."""
    runs = exactly([0.0, 0.01, 0.02])
    slow = {"test_set": "kool10", "capacity": 20, "learning_rate": 3e-4}
    for variant, cost in (("", 5.0), ("flattened", 6.2)):
        for seed in range(3):
            made = run("linear", seed, cost + seed / 100, "rate", variant, **slow)
            runs.append(replace(made, problem="vrp10-rate0.0003"))
    points = curves([replace(made, problem="vrp10") for made in runs], {"flattened": 9.0})
    said = words(make_report(runs, points, PLAN).sections[0])
    assert "`flattened` on VRP10 (learning rate 0.0003), where the study's is 0.001. Tours" in said


def test_changes_of_few_seeds_share_their_luck():
    """Linear's first two runs end 2 % shorter than its others, and so does the control's half."""
    runs = exactly([0.0, 0.1, 0.0, 0.1])
    cost = {0: 4.9, 1: 4.9, 2: 5.1, 3: 5.1}
    runs = [replace(r, cost=r.cost - 5.0 + cost[r.seed]) for r in runs]
    runs += [run("linear", s, 5.5, "suspects", "tf32") for s in range(2)]
    runs += [run("linear", s, 5.5, "suspects", "dropout") for s in range(4)]
    said = words(section(make_report(runs, curves(runs), PLAN), "look worse"))
    assert "Changes with the seeds 0 and 1 share Linear's runs as partners." in said
    assert "cost is 4.9000 with these seeds and 5.0000 with all 4; Conv1d, the control" in said
    assert "seeds 0, 1, 2 and 3 share" not in said
    assert re.search(r"and needs 1\.\d\d times \(\S+ to \S+\) the instances\. What shows", said)


def test_single_runs_mislead_as_often_as_they_do():
    """Linear's costs 100, 101 and 103 by hand: 5 of 6 pairs at 1 %, 2 of 6 at 2 %."""
    runs = exactly([0.0, 0.0, 0.0])
    runs = [replace(r, cost=(100.0, 101.0, 103.0)[r.seed]) for r in runs]
    said = words(make_report(runs, [], PLAN).sections[0])
    assert "83 % of the pairs differ by 1 % or more; the largest difference is 3.00 %" in said
    assert "Before its end" not in said  # without curves


def test_single_runs_mislead_before_their_end():
    """Validated at 100, 101 and 103 after a quarter of the budget, whatever comes later."""
    runs = exactly([0.0, 0.0, 0.0])
    points = []
    for made in runs:
        start = next(iter(curves([made])))
        costs = (150.0, (100.0, 101.0, 103.0)[made.seed], 90.0)
        for part, cost in zip((0, 0.25, 1), costs, strict=True):
            points.append(
                replace(start, instances=int(part * made.budget), val_cost=cost, val_gap=None)
            )
    report = make_report(runs, points, PLAN)
    said = words(report.sections[0])
    assert re.search(
        r"On the validation set 83 % \(no interval\) of the pairs differ by 1 % or more and "
        r"33 % \(no interval\) by 2 % after 25 % of the budget, and 0 % \(no interval\) of",
        said,
    )
    assert re.search(
        r"83 % \(no interval\); 33 % \(no interval\)", words(section(report, "look worse"))
    )


@pytest.mark.parametrize(("late", "state"), [(0.0, "is flat"), (3.0, "is not flat")])
def test_a_longer_budget_is_told_apart(late, state):
    """Embedding after more instances stands against Linear after as many, once, with its curve."""
    runs = pairs({"conv1d": 0, "linear": 0, "embedding": 2}, 4)
    longer = pairs({"linear": -1, "embedding": 0}, 3, sweep="longer", draw=1)
    twice = {"budget": 800_000, "instances": 800_000, "problem": "vrp10-instances800000"}
    points = curves(runs) + [
        replace(p, val_cost=p.val_cost * (1 + late / 100 * (p.instances < 400_000)))
        for made in longer
        for p in curve(made)
    ]
    analysis = Analysis(runs + [replace(made, **twice) for made in longer], points, PLAN)
    usual, more, *rest = embedding_costs(analysis)
    assert re.match(r"Embedding's tours are [12]\.\d\d % longer than Linear's", usual)
    assert re.match(
        r"Trained anew for 800,000 instances its tours are (1\.|0\.9)\d* % longer than Linear's "
        r"after as many \(95 % interval \S+ to \S+ %, 3 seeds.*\); its curve "
        + state + r" then .* it falls by \S+ % \(.*\) in the last quarter \(3 seeds\)",
        more,
    )  # fmt: skip
    assert "800,000" not in " ".join(rest)


def test_embedding_is_judged_after_correction():
    """Longer, shorter, or not shown: each has its words."""
    for effect, said in ((2.0, "it costs tour length"), (-2.0, "it shortens tours"), (0.0, "nor")):
        runs = pairs({"conv1d": 0, "linear": 0, "embedding": effect}, 6)
        assert said in words(make_report(runs, [], PLAN).sections[0])


def test_speeds_are_of_steps_in_turn():
    """A step 2 % longer is told on a machine that is twice as slow at times; equal ones are not."""
    runs = exactly([0.0, 0.1, 0.2])
    assert "no `steps.csv`" in words(make_report(runs, [], PLAN).sections[0])
    timed = steps({"conv1d": 102.0, "linear": 100.0, "embedding": 100.0}, 300)
    report = make_report(runs, [], PLAN, steps=timed)
    said = words(report.sections[0])
    assert re.search(r"Conv1d 0\.98\d \(0\.9[78]\d to 0\.98\d\), slower", said)
    equal = r"Embedding (0\.999|1\.00\d) \(0\.99\d to 1\.00\d\), no clear difference"
    assert re.search(equal, said)
    assert re.search(
        r"by itself Linear's layer is the fastest, 0\.\d+ ms of a step of \d+ ms", said
    )
    assert "| Conv1d | 300 |" in report.markdown


def test_published_numbers_stand_beside_ours_and_say_where_they_are_from(whole):
    """Nazari's greedy result on other instances, LKH3's on ours; none beside a clustered set."""
    text = whole[2].markdown
    assert re.search(r"\| RL greedy \| 4\.84 \| .* \| other instances \| Nazari et al", text)
    assert re.search(r"\| LKH3 \| 6\.14 \| .* \| these instances \| Kool et al", text)
    clustered = text.split("**VRP10, `clustered10`, greedy**")[1].split("**VRP")[0]
    assert "Nazari" not in clustered


def test_sections_without_data_say_so_in_a_line():
    """A study whose only run failed."""
    report = make_report([lost(run("linear", 0, 5.0), "failed", "why")], [], PLAN)
    assert len(report.sections) == 10
    for found in report.sections[1:-2]:
        assert "o data" in words(found), found.title
        assert not any(isinstance(block, Table) for block in found.blocks)
    assert not report.figures


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.01, 0.1))
def test_labels_keep_apart_and_in_order(heights, least):
    """None over another, none below the panel, and those that were apart stay where they are."""
    ends = {str(i): height for i, height in enumerate(heights)}
    placed = labels_apart(ends, least)
    order = sorted(ends, key=ends.__getitem__)
    found = [placed[name] for name in order]
    assert all(b - a >= least - 1e-9 for a, b in pairwise(found))
    assert all(height >= least / 2 - 1e-9 for height in found)
    was = [ends[name] for name in order]
    if all(b - a >= least for a, b in pairwise(was)) and (not was or was[0] >= least / 2):
        assert found == pytest.approx(was)


def test_the_report_is_the_same_to_the_last_byte(whole, tmp_path):
    """Made again, from lines in another order, and under another's matplotlib settings."""
    import matplotlib as mpl

    runs, points, report = whole
    runs = list(runs)
    with mpl.rc_context({"font.size": 20, "axes.grid": True, "svg.fonttype": "none"}):
        again = make_report(runs, points, PLAN)
    assert again == report
    write_report(tmp_path / "a", report)
    write_report(tmp_path / "b", again)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert all(
        (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        for name in names
    )


def test_the_order_of_lines_does_not_change_the_results():
    """Shuffled lines give the same comparisons."""
    runs = pairs({"conv1d": 0.1, "linear": 0, "embedding": 1}, 5)
    shuffled = random.Random(0).sample(runs, len(runs))
    assert Analysis(shuffled, [], PLAN).primary == Analysis(runs, [], PLAN).primary
    first, second = (make_report(r, [], PLAN) for r in (runs, shuffled))
    assert first.sections[:8] == second.sections[:8]


def test_the_page_needs_no_other_file(whole):
    """No address, no script; every figure is inside and small as a file."""
    report = whole[2]
    page = report.html
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert page.count("<img ") == len(report.figures) == 15
    for name, svg in report.figures.items():
        assert len(svg) < 150_000, name
        assert b"<dc:date>" not in svg


def test_what_runs_say_is_shown_and_not_executed():
    """An error message with a tag, a bar and a star stays text."""
    runs = [lost(run("linear", 0, 5.0), "failed", "<b>bad</b> | **loud** `x`")]
    report = make_report(runs, [], PLAN)
    assert "<b>" not in report.html
    assert "&lt;b&gt;bad&lt;/b&gt;" in report.html


def test_the_figures_are_linked_from_the_markdown(whole, tmp_path):
    """Every link of report.md is a file that was written."""
    written = write_report(tmp_path, whole[2])
    linked = re.findall(r"\]\((\S+?)\)", (tmp_path / "report.md").read_text())
    assert sorted(linked) == sorted(name for name in written if name.endswith(".svg"))


def test_figures_of_the_last_report_do_not_stay(whole, tmp_path):
    """Those that the new one lacks go; files that no report drew stay."""
    write_report(tmp_path, whole[2])
    (tmp_path / "own.svg").write_bytes(b"<svg/>")
    written = write_report(tmp_path, make_report([], [], PLAN))
    assert {path.name for path in tmp_path.iterdir()} == {"own.svg", *written}


def test_a_study_of_nothing_but_changes_is_reported():
    """Without plain runs there is nothing to compare with, and no error."""
    runs = [run("linear", seed, COST["vrp10"], "suspects", "reshape") for seed in range(3)]
    report = make_report(runs, curves(runs), PLAN)
    assert "no partner" in words(section(report, "look worse"))


def test_rarely_seen_coordinates_are_a_table(whole):
    """Each encoder's cost beside that of the same seeds trained on uniform instances."""
    _, _, report = whole
    tables = [b for b in section(report, "Embedding costs").blocks if isinstance(b, Table)]
    (rare,) = [table for table in tables if table.header[-1] == "loss"]
    losses = {row[0]: float(row[-1].split()[0]) for row in rare.rows}
    assert losses["Linear"] == pytest.approx(2.0, abs=0.6)
    assert losses["Embedding"] == pytest.approx(8.1, abs=0.6)


def test_the_page_breaks_lines_where_a_reader_would():
    """Never between a number and its unit; columns of sentences are wide, heads may wrap."""
    table = Table(
        ("what", "cost"), (("a sentence of more than forty characters, say", "1.0 (0 to 2)"),)
    )
    parts = [Text("It takes 5 ms, 3 % of a step (p = 0.01, `p < 0.05`)."), table]
    page = to_html("Title", [Section("Answer", tuple(parts))])
    assert "5&nbsp;ms, 3&nbsp;% of a step (p&nbsp;=&nbsp;0.01, " in page
    assert "p&nbsp;&lt;&nbsp;0.05" in page
    assert '<td class="sentence">a sentence' in page
    assert '<td class="number">1.0 (0 to 2)' in page


def test_where_embedding_was_tested_is_said():
    """Clustered instances with what was trained; a curve that still falls, where it does."""
    runs = pairs({"conv1d": 0, "linear": 0, "embedding": 2}, 4)
    longer = [
        replace(made, budget=800_000, instances=800_000, problem="vrp10-instances800000")
        for made in pairs({"linear": 0, "embedding": 1}, 3, sweep="longer", draw=1)
    ]
    larger = pairs({"conv1d": 0, "linear": 0, "embedding": 3}, 4, problem="vrp20", draw=2)
    runs += longer + larger
    runs += [replace(made, test_set="clustered10") for made in (*runs[:12], *longer)]
    points = [p for made in larger for p in curve(made, 4.0 if made.encoder == "embedding" else 1)]
    said = next(t for t in embedding_costs(Analysis(runs, points, PLAN)) if "elsewhere" in t)
    assert said.count("on clustered instances") == 2
    assert said.count("on clustered instances, trained on VRP10 (800,000 instances), ") == 1
    assert re.search(r"on VRP20 \S+ % longer \(.* where its curve still falls by \S+ %", said)
    assert said.count("still falls") == 1


def test_linear_that_only_serves_to_judge_changes_has_one_table():
    """At another rate: no literature, no further test set; the plan's problem has all."""
    runs = exactly([0.0, 0.01, 0.02])
    for variant, cost in (("", 6.0), ("flattened", 6.2)):
        for seed in range(3):
            made = run("linear", seed, cost + seed / 100, "rate", variant, learning_rate=3e-4)
            runs.append(replace(made, problem="vrp10-rate0.0003", capacity=20))
    runs += [replace(made, test_set="clustered10") for made in runs]
    found = words(section(make_report(runs, [], PLAN), "Results by encoder"))
    assert found.count("**VRP10 (learning rate 0.0003)") == 1
    assert found.count("**VRP10, `") == 2


def test_commits_are_counted():
    """Where only some runs recorded one, it is said how many."""
    runs = exactly([0.0, 0.1, 0.2])
    table = next(
        b for b in section(make_report(runs, [], PLAN), "run").blocks if isinstance(b, Table)
    )
    assert table.rows[0][-1] == "0123abc"
    runs[:4] = [replace(made, commit="") for made in runs[:4]]
    runs[4] = replace(runs[4], commit="fedcba9")
    table = next(
        b for b in section(make_report(runs, [], PLAN), "run").blocks if isinstance(b, Table)
    )
    assert table.rows[0][-1] == "0123abc (1 of 6), fedcba9 (1 of 6)"


def test_a_pair_whose_linear_never_gets_there_says_nothing_of_speed():
    """Its own budget would be no measure of what the change costs."""
    runs = exactly([0.0, 0.01, 0.02])
    late = {"val_gap": 60.0}
    runs = [replace(r, **late) if (r.encoder, r.seed) == ("linear", 0) else r for r in runs]
    runs += [run("linear", s, 5.2, "suspects", "slow") for s in range(3)]
    (effect,) = Analysis(runs, curves(runs), PLAN).suspects("vrp10")
    assert (effect.slowdown.reached, effect.slowdown.count) == (2, 2)
