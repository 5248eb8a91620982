"""The first lines of the report: the answer in words, made from the results."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vrp.study.analysis import Analysis, costs
from vrp.study.answer_changes import changes_tried
from vrp.study.answer_embedding import embedding_costs
from vrp.study.comparison import Comparison
from vrp.study.document import Block, Items, Section, Text
from vrp.study.learning import values_at
from vrp.study.power import seeds_needed
from vrp.study.records import Run
from vrp.study.statistics import OneSeed, mean_interval, one_seed
from vrp.study.steps import StepTime, summarised
from vrp.study.wording import (
    change,
    count,
    estimate,
    in_text,
    is_are,
    listed,
    name,
    number,
    p_text,
    share,
    title,
)

_EARLY = 0.25  # of the budget, where one seed is asked what it says so far


def answer(analysis: Analysis) -> Section:
    """Section 1: the verdict, then what else is asked."""
    questions = {
        "Are the two equivalent elsewhere?": _elsewhere(analysis),
        "What does one seed say?": _single_seed(analysis),
        "Which mistake makes Linear look worse?": changes_tried(analysis),
        "What does Embedding cost or bring?": embedding_costs(analysis),
        "Which is fastest, by how much of a training step?": _fastest(analysis),
    }
    blocks: list[Block] = [Text(verdict_text(analysis)), Text(_evidence(analysis))]
    for question, items in questions.items():
        if items:
            blocks += [Text(f"**{question}**"), Items(tuple(items))]
    return Section("The answer", tuple(blocks))


def verdict_text(analysis: Analysis) -> str:
    """The answer to the primary question; each verdict has its own words."""
    plan, primary = analysis.plan, analysis.primary
    ours, theirs = (name(encoder) for encoder in plan.encoders)
    long = "Conv1d with kernel size 1" if plan.encoders[0] == "conv1d" else ours
    problem, margin = title(plan.problem), f"{plan.margin_percent:g} %"
    if primary is None or primary.equivalence is None:
        found = "no seed" if primary is None else "only one seed"
        return (
            f"**No answer yet.** There is {found} with a counted run of both {ours} and {theirs} "
            f"on {problem}; the comparison needs at least two."
        )
    measured = (
        f"{ours}'s tours are {change(primary.percent)} than {theirs}'s on average "
        f"({in_text(primary.percent)})"
    )
    equal = f"equivalence within ±{margin}: {p_text(primary.equivalence.p)}"
    unequal = f"difference: {p_text(primary.p)}"
    if analysis.verdict == "equivalent":
        text = (
            f"**Equivalent.** On {problem}, {long} and {theirs} end with tours of the same length, "
            f"to within {margin}. {measured}; {equal}, level {plan.alpha:g}. A correct replacement "
            "of the one by the other does not explain worse results here."
        )
        if primary.p < plan.alpha:
            text += f" There is a difference ({unequal}), but it is smaller than the margin."
        return text
    if analysis.verdict == "different":
        return (
            f"**Different.** On {problem}, {long} and {theirs} do not end with tours of the same "
            f"length. {measured}; {unequal}, level {plan.alpha:g}. {_beyond(primary, margin)}"
        )
    return (
        f"**Not decided.** On {problem}, the runs show neither that {long} and {theirs} are "
        f"equivalent to within {margin} nor that they differ. {measured}; {equal}; {unequal}, "
        f"level {plan.alpha:g}. {_more_seeds(analysis, primary)}"
    )


def _beyond(primary: Comparison, margin: str) -> str:
    limit, percent = primary.margin_percent, primary.percent
    if percent.low > limit or percent.high < -limit:
        return f"The whole interval lies beyond the margin of {margin}: the difference matters."
    return f"Whether it is larger than the margin of {margin} is not decided."


def _more_seeds(analysis: Analysis, primary: Comparison) -> str:
    plan = analysis.plan
    needed = seeds_needed(primary.percent.sd, plan.margin_percent, plan.alpha, plan.power)
    found = "more than 10,000" if needed is None else f"{needed:,}"
    return (
        f"If there is no difference and the seeds spread as they did here, {found} seeds would "
        f"show equivalence with probability {plan.power:g}; there were {len(primary.seeds)}."
    )


def _evidence(analysis: Analysis) -> str:
    plan, primary = analysis.plan, analysis.primary
    parts = []
    if primary is not None:
        run = primary.ours[0]
        which = "all " if run.test_instances == 10_000 and plan.test_set.startswith("kool") else ""
        parts.append(
            f"Measured with {count(len(primary.seeds), 'seed')} of each encoder, "
            f"{run.instances:,} training instances per run, {run.decode} decoding of the "
            f"{run.checkpoint} checkpoint on {which}{run.test_instances:,} instances of "
            f"`{run.test_set}`."
        )
        if deviations := analysis.study.deviations(primary):
            parts.append(f"**Not as planned:** {'; '.join(deviations)}.")
    parts.append("Intervals have 95 % confidence.")
    parts += [*_exploratory(analysis), tally(analysis)]
    if analysis.remarks:
        parts.append("Section 9 says what was decided after a look at results.")
    parts.append("Section 10 explains the words.")
    return " ".join(parts)


def _exploratory(analysis: Analysis) -> list[str]:
    """Which sweeps the plan names, where there are others."""
    planned = analysis.plan.sweeps
    if not planned or all(run.sweep in planned for run in analysis.study.runs.values()):
        return []
    named = listed(f"`{sweep}`" for sweep in planned)
    return [f"The plan names the runs of {named}; what others show is exploratory."]


def tally(analysis: Analysis) -> str:
    """How many runs are counted, and what became of the others."""
    study, problem = analysis.study, analysis.plan.problem
    runs = list(study.runs.values())
    plain = [run for run in runs if not run.variant and run.problem == problem]
    text = _tally(analysis, runs)
    if len(plain) == len(runs):
        return f"{text}."
    unchanged = f"Of the runs of unchanged encoders on {title(problem)}, {_tally(analysis, plain)}"
    return f"{unchanged}; of all that were begun or listed, {text}."


def _tally(analysis: Analysis, runs: list[Run]) -> str:
    study = analysis.study
    counted = sum(run.key in study.counted for run in runs)
    rest = [run for run in runs if run.key not in study.counted]
    reasons = {
        "failed": sum(run.status == "failed" for run in rest),
        "unfinished": sum(run.status == "stopped" for run in rest),
        "missing": sum(run.status == "missing" for run in rest) + len(study.absent),
        "finished but not tested": sum(run.status == "finished" for run in rest),
    }
    total = len(runs) + len(study.absent)
    text = f"{counted} of {count(total, 'run')} {is_are(counted)} counted"
    found = [f"{n} {reason}" for reason, n in reasons.items() if n]
    return f"{text} ({listed(found)})" if found else text


def _elsewhere(analysis: Analysis) -> list[str]:
    """The primary pair on other problems, with the plan's decoding."""
    found = []
    for comparison in analysis.secondary:
        test = comparison.test
        pair = {comparison.name, comparison.reference}
        if pair != set(analysis.plan.encoders) or test.problem == analysis.plan.problem:
            continue
        if test.test_set != analysis.study.main_test(test.problem).test_set:
            continue
        is_planned = analysis.study.is_planned(comparison)
        text = (
            f"On {title(test.problem)}, {test.decode} ({count(len(comparison.seeds), 'seed')}): "
            f"{name(comparison.name)}'s tours are {change(comparison.percent)} than "
            f"{name(comparison.reference)}'s ({in_text(comparison.percent)}); "
        )
        equivalence = analysis.adjusted_equivalence(comparison)
        difference = analysis.adjusted_difference(comparison)
        if equivalence is None:
            text += "one seed shows nothing."
        elif equivalence < analysis.plan.alpha:
            text += f"equivalent to within {comparison.margin_percent:g} % after Holm's correction."
        elif difference < analysis.plan.alpha:
            text += "different after Holm's correction."
        else:
            text += (
                f"neither equivalence ({p_text(equivalence)}) nor a difference "
                f"({p_text(difference)}) is shown after Holm's correction."
            )
        found.append(text if is_planned else f"{text} The plan does not name these runs.")
    return found


def _single_seed(analysis: Analysis) -> list[str]:
    test = analysis.study.main_test(analysis.plan.problem)
    reference = analysis.plan.encoders[1]
    rows = analysis.study.plain(test).get(reference, {}) if test else {}
    if len(rows) < 3:
        return ["No data: it takes three runs that differ in nothing else."]
    values = costs(rows.values())
    spread = mean_interval(values)
    items = [
        f"{len(rows)} finished runs of {name(reference)} that differ in nothing but the seed "
        f"spread by {number(100 * spread.sd / spread.value, 2)} % (standard deviation) on "
        f"`{test.test_set}`. "
        f"{_how_often(one_seed(values, 1))}"
    ]
    early, end = (values_at(analysis.points, rows.values(), part) for part in (_EARLY, 1))
    if len(early) < 3:
        return items
    shares = [
        f"{share(one_seed(values, 1).share)} of the pairs differ by 1 % or more and "
        f"{share(one_seed(values, 2).share)} by 2 %"
        for values in (early, end)
    ]
    return [
        *items,
        f"Before its end one seed says less. On the validation set {shares[0]} after "
        f"{100 * _EARLY:g} % of the budget, and {shares[1]} at its end, on these instances.",
    ]


def _how_often(found: OneSeed) -> str:
    most = max(1, math.ceil(100 * found.normal_share.high))
    seen = f"{number(100 * found.share.value, 0)} %" if found.share.value else "None"
    return (
        f"{seen} of the pairs differ by {found.percent:g} % or more; the largest difference is "
        f"{number(found.largest, 2)} %. Were the spread as large as its 95 % interval allows, and "
        f"outcomes normal, {most} % would."
    )


def _fastest(analysis: Analysis) -> list[str]:
    by_problem = {
        problem: [step for step in analysis.steps if step.problem == problem]
        for problem in dict.fromkeys(step.problem for step in analysis.steps)
    }
    if not by_problem:
        return [
            "No data: no `steps.csv`. The counted runs shared their machine, so their rates do not "
            "compare the encoders."
        ]
    return [
        f"{title(problem)}, speed of a whole step against Linear's: {_speeds(steps)}"
        for problem, steps in by_problem.items()
    ]


def _speeds(steps: Sequence[StepTime]) -> str:
    found = summarised(steps)
    ratios = []
    for timed in found:
        if timed.speed is None:
            continue
        verdict = "no clear difference"
        if timed.speed.low > 1:
            verdict = "faster"
        elif timed.speed.high < 1:
            verdict = "slower"
        ratios.append(f"{name(timed.encoder)} {estimate(timed.speed, 3)}, {verdict}")
    first, *others = sorted(found, key=lambda timed: timed.encoder_ms)
    layers = [
        f"by itself {name(first.encoder)}'s layer is the fastest, {number(first.encoder_ms, 2)} ms "
        f"of a step of {number(first.step_ms, 0)} ms with uniform choices"
    ]
    for timed in others:
        more = timed.encoder_ms - first.encoder_ms
        share_of_step = number(100 * more / timed.step_ms, 1)
        layers.append(f"{name(timed.encoder)}'s {number(more, 2)} ms more ({share_of_step} %)")
    return f"{'; '.join([*ratios, ', '.join(layers)])}."
