"""The study's numbers in the README are those of the stored results, rounded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vrp.study.analysis import Analysis, Effect, costs
from vrp.study.comparison import Comparison
from vrp.study.learning import LATE, flatness, late_fall, values_at
from vrp.study.plan import read_plan
from vrp.study.records import read_curves, read_runs
from vrp.study.statistics import Interval, mean_interval, one_seed, paired_difference
from vrp.study.steps import read_steps, summarised
from vrp.study.wording import number, signed

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "checkpoints" / "encoder-study"
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    """Of what is stored."""
    runs = read_runs(STUDY / "runs.csv")
    curves, plan = read_curves(STUDY / "curves.csv", runs), read_plan(STUDY / "plan.json")
    return Analysis(runs, curves, plan, steps=read_steps(STUDY / "steps.csv"))


def ends(interval: Interval, places: int, write=signed) -> str:
    """`-0.11 to +0.02`."""
    return f"{write(interval.low, places)} to {write(interval.high, places)}"


def secondary(analysis: Analysis, pair: tuple[str, str], problem: str, more: str) -> Comparison:
    """The one of this pair, problem, and test set or decoding."""
    (found,) = (
        c
        for c in analysis.secondary
        if (c.name, c.reference, c.test.problem) == (*pair, problem)
        and more in (c.test.test_set, c.test.decode)
        and ("clustered" in more) == ("clustered" in c.test.test_set)
    )
    return found


def effect(analysis: Analysis, name: str, problem: str = "vrp10") -> Effect:
    """A change, by its name."""
    found = (*analysis.suspects(problem), *analysis.control(problem))
    return next(e for e in found if e.name == name)


def added(comparison: Comparison, seeds: range) -> Interval:
    """Of these seeds alone, in percent."""
    ours, theirs = ([costs[seed] for seed in seeds] for costs in comparison.costs)
    return paired_difference(ours, theirs).scaled(100 * len(seeds) / sum(theirs))


def said(text: str) -> None:
    """The README has it."""
    assert text in README, text


def test_the_primary_question(analysis):
    """On the first screen and in the table."""
    percent = analysis.primary.percent
    low, high = number(-percent.low, 2), number(percent.high, 2)
    size = number(-percent.value, 2)
    said(f"{size} % shorter (95 % interval: {low} % shorter to {high} % longer)")
    said(f"{size} % shorter than Linear's ({ends(percent, 2)} %): equivalent within 0.5 %")


@pytest.mark.parametrize(
    ("problem", "more", "text"),
    [
        ("vrp20", "greedy", "{size} % shorter with Conv1d ({ends} %), equivalent"),
        ("vrp20-attention", "multistart", "{value} % ({ends} %), equivalent; greedy"),
        ("vrp20-attention", "greedy", "greedy ones by {value} % ({ends} %), where neither"),
    ],
)
def test_the_same_elsewhere(analysis, problem, more, text):
    """VRP20, and the attention policy both ways."""
    percent = secondary(analysis, ("conv1d", "linear"), problem, more).percent
    size, value = number(-percent.value, 2), signed(percent.value, 2)
    said(text.format(size=size, value=value, ends=ends(percent, 2)))


@pytest.mark.parametrize(
    ("problem", "more", "text"),
    [
        ("vrp10", "greedy", "{size} % on VRP10 ({ends} %)"),
        ("vrp20", "greedy", "{size} % on VRP20 ({ends} %)"),
        ("vrp20-attention", "multistart", "{size} % with the attention policy ({ends} %"),
        (
            "vrp10",
            "clustered10",
            "On clustered instances, tested with the same runs, it costs {size} % ({ends} %)",
        ),
    ],
)
def test_what_embedding_costs(analysis, problem, more, text):
    """Against Linear, in four tests."""
    percent = secondary(analysis, ("embedding", "linear"), problem, more).percent
    said(text.format(size=number(percent.value, 1), ends=ends(percent, 1, number)))


def test_what_embedding_costs_in_greedy_tours(analysis):
    """Of the attention policy, beside multi-start."""
    found = secondary(analysis, ("embedding", "linear"), "vrp20-attention", "greedy")
    assert analysis.adjusted_difference(found) > analysis.plan.alpha
    said(f"three seeds; greedy {number(found.percent.value, 1)} %, not shown after correction)")


def test_twice_the_budget(analysis):
    """Where Embedding's curve is flat, against Linear's runs of as many instances."""
    problem = "vrp10-instances800000"
    found = secondary(analysis, ("embedding", "linear"), problem, "greedy")
    runs = analysis.study.plain(found.test)["embedding"].values()
    assert len(found.seeds) == len(runs) == 5
    fall = late_fall(analysis.points, runs, LATE)
    assert flatness(fall, analysis.plan.margin_percent) == "yes"
    assert analysis.adjusted_difference(found) < analysis.plan.alpha
    size, span = number(found.percent.value, 2), ends(found.percent, 2, number)
    said(
        "Trained anew for 800,000 instances, after which its curve is flat (it falls by "
        f"{ends(fall, 2, number)} % in the last quarter), it costs {size} % ({span} %, five seeds)"
    )


def test_tables(analysis):
    """What other tables of Embedding cost, by their variants."""
    effects = {e.variant: e for e in analysis.tables("vrp10")}
    cost = {name: e.comparison.percent.value for name, e in effects.items()}
    single = {name for name, e in effects.items() if len(e.rows) == 1}
    assert single == {*(f"bins={n},matched" for n in (16, 32, 128)),
                      *(f"joint,bins={n},matched" for n in (8, 16, 32, 64))}  # fmt: skip
    assert all(len(e.rows) == 2 for name, e in effects.items() if name and name not in single)
    few = sorted(cost[f"bins={bins}"] for bins in (8, 16, 32))
    said(f"8, 16 and 32 bins cost {number(few[0], 1)} to {number(few[-1], 1)} %")
    said(f"128 bins {number(cost['bins=128'], 0)} %, 256 bins {number(cost['bins=256'], 0)} %")
    said(f"Started on the scale of Linear's outputs it costs {number(cost['matched'], 1)} %")
    joint = [number(cost[f"joint,bins={bins}"], 1) for bins in (8, 16)]
    said("costs {} % with 8 bins, {} % with 16 and ends like a blind policy".format(*joint))
    few, many = (number(cost[f"bins={bins},matched"], p) for bins, p in ((8, 1), (256, 0)))
    said(f"8 bins per axis cost {few} % and 256 bins {many} % (two seeds)")
    some = [number(cost[f"bins={bins},matched"], 1) for bins in (16, 32, 128)]
    said("16, 32 and 128 bins {}, {} and {} % (one seed)".format(*some))
    some = [number(cost[f"joint,bins={bins},matched"], 1) for bins in (8, 16)]
    said("with one table, one seed each, 8 and 16 bins cost {} and {} %".format(*some))
    blind = effect(analysis, "blind").comparison.percent.value
    for bins in (32, 64):
        assert abs(cost[f"joint,bins={bins}"] - blind) < 1
        assert abs(cost[f"joint,bins={bins},matched"] - blind) < 1


def test_changes(analysis):
    """What each does to the tours, and the price of the strict mask."""
    for name in ("flattened", "reshaped", "blind"):
        assert number(effect(analysis, name).comparison.percent.value, 0) == "41"
    strict = effect(analysis, "strict_mask")
    percent, price = strict.comparison.percent, strict.price
    said(f"{number(percent.value, 1)} % longer ({ends(percent, 1, number)} % over seeds")
    said(f"{number(price.value, 1)} % longer ({ends(price, 1, number)} % over instances)")
    names = ("glorot", "tf32", "dropout")
    glorot, tf32, dropout = (effect(analysis, name) for name in names)
    for one in (glorot, tf32, dropout):
        assert not any((one.is_different, one.is_slower))
    percent, ratio = glorot.comparison.percent, glorot.slowdown.ratio
    assert (glorot.is_equivalent, len(glorot.rows)) == (True, 10)
    said(f"tours {signed(percent.value, 2)} % ({ends(percent, 2)} %), equivalent")
    said(f"{number(ratio.value, 1)} times ({ends(ratio, 1, number)}) as many instances")
    for name, one in (("TF32", tf32), ("dropout", dropout)):
        percent = one.comparison.percent
        assert (one.is_equivalent, len(one.rows)) == (False, 3)
        said(f"{name} {signed(percent.value, 2)} % ({ends(percent, 2)} %)")


def test_changes_at_a_smaller_rate(analysis):
    """What comes closest to the observation, run by run."""
    found = effect(analysis, "flattened", "vrp10-rate0.0003")
    percent = found.comparison.percent
    assert (found.shows, found.slowdown.reached, found.slowdown.count) == ("both", 0, 10)
    assert found.p < 1e-4
    said("none of ten runs becomes as good")
    said(
        f"{number(percent.value, 0)} % longer ({ends(percent, 0, number)} %; p < 0.0001 after "
        f"correction over {analysis.difference_tests} tests)"
    )
    runs = sorted(found.comparison.percents)
    said(f"ends with tours [{number(runs[0], 0)} to {number(runs[-1], 0)} % longer]")
    late, never = [x for x in runs if x < 30], [x for x in runs if x >= 30]
    assert len(late) == len(never) == 5
    said(f"{number(late[0], 0)} to {number(late[-1], 0)} % where it begins to learn late (five")
    said(f"{number(never[0], 0)} to {number(never[-1], 0)} % where it does not (five)")
    reshaped = effect(analysis, "reshaped", "vrp10-rate0.0003").comparison.percent
    said(f"At 3e-4 the `reshape` ends {number(reshaped.value, 0)} % longer")


def test_notes_on_added_seeds(analysis):
    """What the seeds say by themselves that were added after a look, and before them the others."""
    policy = "vrp20-attention"
    parts = [added(secondary(analysis, ("conv1d", "linear"), policy, d), range(3, 8))
             for d in ("multistart", "greedy")]  # fmt: skip
    texts = [f"{signed(part.value, 2)} % ({ends(part, 2)} %)" for part in parts]
    said(f"the five alone differ by {texts[0]} in multi-start tours and {texts[1]} in greedy ones")
    part = added(effect(analysis, "flattened", "vrp10-rate0.0003").comparison, range(5, 10))
    said(f"end {number(part.value, 0)} % longer by themselves ({ends(part, 0, number)} %)")
    for later, words in ((False, "it had been"), (True, "these seven need")):
        left_out = ("glorot", not later)
        kept = [r for r in analysis.study.tested if (r.variant, r.seed > 2) != left_out]
        found = effect(Analysis(kept, analysis.points, analysis.plan), "glorot")
        ratio, text = found.slowdown.ratio, f"p = {number(found.p_slowdown, 3)} after correction"
        times = f"{words} {number(ratio.value, 1)} times ({ends(ratio, 1, number)})"
        said(times if later else f"{times}, {text}")


def test_rarely_seen_coordinates(analysis):
    """What both lose, and that no difference is shown."""
    rare = analysis.rare
    assert analysis.adjusted_difference(rare) > analysis.plan.alpha
    lost = {name: mean_interval(list(rare.losses(name).values())) for name in rare.banded}
    for name in ("embedding", "linear"):
        said(f"{number(lost[name].value, 1)} % ({ends(lost[name], 1, number)} %)")


def test_one_seed(analysis):
    """How often two runs of Linear differ, early and at their end."""
    rows = list(analysis.study.plain(analysis.study.main_test("vrp10"))["linear"].values())
    text = []
    for part in (0.1, 0.25, 1.0):
        share = one_seed(values_at(analysis.points, rows, part), 1).share.scaled(100)
        text.append((number(share.value, 0), ends(share, 0, number)))
    (tenth, quarter, end) = text
    said(f"{tenth[0]} % of the pairs of Linear runs differ by 1 % or more after a tenth of the")
    said(f"budget ({tenth[1]} %), {quarter[0]} % after a quarter ({quarter[1]} %), {end[0]} % at")
    said(f"its end ({end[1]} %)")
    spread = mean_interval(costs(rows))
    said(f"the seeds spread by {number(100 * spread.sd / spread.value, 2)} %")


def test_speeds(analysis):
    """Of whole steps, and of the layer alone."""
    found = {t.encoder: t for t in summarised([s for s in analysis.steps if s.problem == "vrp10"])}
    linear, conv1d, embedding = (found[name] for name in ("linear", "conv1d", "embedding"))
    alone = [number(timed.encoder_ms, 2) for timed in (linear, embedding, conv1d)]
    said(f"of a step of {number(linear.step_ms, 0)} ms [4] Linear's layer takes {alone[0]} ms, ")
    said(f"Embedding's {alone[1]} ms, Conv1d's {alone[2]} ms")
    for timed, text in ((conv1d, "{} times as fast as Linear's"), (embedding, "{} times")):
        said(f"{text.format(number(timed.speed.value, 3))} ({ends(timed.speed, 3, number)})")


def test_no_link_of_the_study_is_broken():
    """Figures and reports that the README names are there."""
    named = set(re.findall(r"\(checkpoints/encoder-study/([\w.-]+)", README))
    assert len(named) > 8
    assert all((STUDY / name).exists() for name in named)
