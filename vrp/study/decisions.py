"""Sections 3 to 5: the primary question, the secondary comparisons, and what pairing saved."""

from __future__ import annotations

from vrp.study.analysis import Analysis
from vrp.study.answer import verdict_text
from vrp.study.comparison import Comparison
from vrp.study.document import Block, Items, Picture, Section, Table, Text
from vrp.study.figures import Dots, dot_rows, paired_points
from vrp.study.power import equivalence_power, seeds_needed
from vrp.study.statistics import pairing
from vrp.study.wording import (
    between,
    count,
    estimate,
    listed,
    name,
    number,
    p_value,
    signed,
    title,
)


def primary_section(analysis: Analysis) -> Section:
    """Section 3: the plan, the test, and its power."""
    plan, primary = analysis.plan, analysis.primary
    ours, theirs = plan.encoders
    blocks: list[Block] = [
        Text(
            f"The plan: {name(ours)} against {name(theirs)}, {title(plan.problem)}, {plan.decode} "
            f"decoding of the {plan.checkpoint} checkpoint, {plan.test_instances:,} instances of "
            f"`{plan.test_set}`, {count(len(plan.seeds), 'seed')}, two one-sided paired t-tests at "
            f"level {plan.alpha:g} with a margin of {plan.margin_percent:g} % of {theirs}'s mean "
            f"cost, power {plan.power:g} if there is no difference."
        ),
        _pilot(analysis),
    ]
    if primary is None or primary.equivalence is None:
        blocks.append(Text("No data: " + verdict_text(analysis).replace("**", "")))
        return Section("The primary question", tuple(blocks))
    test, percent = primary.equivalence, primary.percent
    blocks += [
        Table(
            ("", f"{ours} minus {theirs}"),
            (
                ("pairs (seeds)", str(test.count)),
                (f"mean cost of {theirs}", number(primary.reference_cost, 4)),
                ("mean difference", signed(test.difference, 4)),
                ("in percent, 95 % interval", estimate(percent, 3, sign=True)),
                ("standard deviation of the differences", f"{number(percent.sd, 3)} %"),
                (f"above -{plan.margin_percent:g} %: one-sided p", p_value(test.p_low)),
                (f"below +{plan.margin_percent:g} %: one-sided p", p_value(test.p_high)),
                ("equivalent within the margin: p, the larger of both", p_value(test.p)),
                ("different from 0: two-sided p", p_value(primary.p)),
                ("verdict", analysis.verdict),
            ),
        ),
        _difference_figure(primary),
        Text(_power(analysis, primary) + _unplanned(analysis)),
    ]
    return Section("The primary question", tuple(blocks))


def _difference_figure(primary: Comparison) -> Picture:
    label = f"{primary.name}\nminus\n{primary.reference}"
    svg = dot_rows(
        [
            Dots(
                label,
                primary.percents,
                primary.percent,
                "#0072B2",
                count(len(primary.seeds), "pair"),
            )
        ],
        f"difference in tour length, same seed (% of {primary.reference}'s mean)",
        margin=primary.margin_percent,
        zero="equal",
    )
    caption = (
        f"Each point is one seed's {primary.name} run minus its {primary.reference} run; below, "
        "the mean with its 95 % interval. The shaded range counts as equal."
    )
    return Picture("primary-difference.svg", svg, caption)


def _power(analysis: Analysis, primary: Comparison) -> str:
    plan, sd, n = analysis.plan, primary.percent.sd, len(primary.seeds)
    power = equivalence_power(n, sd, plan.margin_percent, plan.alpha)
    needed = seeds_needed(sd, plan.margin_percent, plan.alpha, plan.power)
    wanted = "more than 10,000" if needed is None else f"{needed:,}"
    return (
        f"With {n} pairs and the standard deviation found here, {number(sd, 2)} %, the test shows "
        f"equivalence with probability {number(power, 2)} if there is no difference; the plan "
        f"wanted {plan.power:g}, which takes {wanted} seeds. The standard deviation is itself an "
        "estimate, so this power is one too."
    )


def _unplanned(analysis: Analysis) -> str:
    """Which seeds outside the plan were left out."""
    plan, study = analysis.plan, analysis.study
    plain = study.plain(analysis.primary.test)
    others = {seed for name in plan.encoders for seed in plain[name]} - set(plan.seeds)
    if not others:
        return ""
    named = listed(map(str, sorted(others)))
    return f" Seeds that the plan does not name stay out of this test: {named}."


def _pilot(analysis: Analysis) -> Block:
    """The pilot's spread, and the seeds it asks for."""
    plan = analysis.plan
    pilots = [
        pilot for pilot in analysis.study.pilots()
        if pilot.equivalence is not None and pilot.test == analysis.study.planned_test
    ]  # fmt: skip
    if not pilots:
        return Text("No data from a pilot: no two seeds of a sweep named pilot have both encoders.")
    items = []
    for pilot in pilots:
        sd = pilot.percent.sd
        needed = seeds_needed(sd, plan.margin_percent, plan.alpha, plan.power)
        run = pilot.ours[0]
        items.append(
            f"Pilot `{run.sweep}` ({count(len(pilot.seeds), 'pair')}, {run.instances:,} training "
            f"instances, `{run.test_set}`, {run.decode}; never counted): the paired standard "
            f"deviation is {number(sd, 2)} % of the cost, which asks for "
            f"{'more than 10,000' if needed is None else f'{needed:,}'} seeds. So few pairs "
            "hardly know their spread."
        )
    return Items(tuple(items))


def secondary_section(analysis: Analysis) -> Section:
    """Section 4: all comparisons of encoders but the primary one."""
    heading = "Secondary comparisons"
    rows = []
    for c in analysis.secondary:
        is_asked = c in analysis.equivalence_families["encoders"]
        rows.append(
            (
                str(c.test),
                f"{c.name} against {c.reference}",
                str(len(c.seeds)),
                estimate(c.percent, 2, sign=True, unit=" %"),
                p_value(c.p),
                p_value(analysis.adjusted_difference(c)),
                p_value(c.equivalence.p if is_asked else None),
                p_value(analysis.adjusted_equivalence(c)),
            )
        )
    if not rows:
        return Section(heading, (Text("No data: no two encoders share a seed in another test."),))
    header = (
        "test", "comparison", "pairs", "difference in cost (95 % interval)", "p of a difference",
        "after Holm", f"p of equivalence (±{analysis.plan.margin_percent:g} %)", "after Holm",
    )  # fmt: skip
    return Section(heading, (Table(header, tuple(rows)), *_correction(analysis)))


def _correction(analysis: Analysis) -> list[Block]:
    """Over what Holm's correction is taken."""
    sizes = {question: len(found) for question, found in analysis.families.items()}
    asked = {question: len(found) for question, found in analysis.equivalence_families.items()}
    differences = [
        f"{count(sizes['encoders'], 'pair')} of encoders (here)",
        f"{count(sizes['changes'], 'change')} (section 6)",
        f"{count(sizes['tables'], 'table')} of Embedding",
    ]
    if analysis.adjusted_difference(analysis.rare) is not None:
        differences.append("the loss on rarely seen coordinates")
    pair = " against ".join(map(name, analysis.plan.encoders))
    return [
        Text(
            "Three families of tests are corrected by Holm, each by itself, with all that have "
            "the seeds for a test:"
        ),
        Items(
            (
                f"differences, {count(analysis.difference_tests, 'test')}: "
                f"{listed(differences)} (section 7);",
                f"equivalence, {count(analysis.equivalence_tests, 'test')}: {pair} "
                f"({asked['encoders']}) and the {count(asked['changes'], 'change')}; of no table;",
                f"speeds of learning, {count(analysis.speed_tests, 'test')} (sections 6 and 7).",
            )
        ),
        Text(
            f"After correction, a p below {analysis.plan.alpha:g} counts. Intervals are not "
            f"corrected, so one may lie within ±{analysis.plan.margin_percent:g} % where "
            "equivalence is not shown. Step times are in no family; nothing is decided by them."
        ),
    ]


def pairing_section(analysis: Analysis) -> Section:
    """Section 5: how outcomes of the same seed move together."""
    heading = "What pairing by seed saves"
    compared = [c for c in (analysis.primary, *analysis.secondary) if c is not None]
    compared = [c for c in compared if c.test == analysis.study.main_test(c.test.problem)]
    rows = []
    for c in compared:
        if len(c.seeds) < 3 or any(len(set(values)) == 1 for values in c.costs):
            continue
        found = pairing(*c.costs)
        ratio = found.ratio
        rows.append(
            (
                str(c.test),
                f"{c.name} and {c.reference}",
                str(len(c.seeds)),
                estimate(found.correlation, 2, sign=True),
                "-"
                if found.without_one is None
                else " to ".join(signed(end) for end in found.without_one),
                number(100 * found.paired_variance**0.5 / c.reference_cost, 3),
                number(100 * found.unpaired_variance**0.5 / c.reference_cost, 3),
                f"{number(ratio.value, 2)} ({between(ratio, 2)})",
            )
        )
    if not rows:
        return Section(heading, (Text("No data: it takes three pairs of runs."),))
    text = (
        "Runs of one seed see the same instances in the same order. Conv1d and Linear start from "
        "the same weights and draw the same random numbers besides, so they are one run until "
        "rounding parts them; with Embedding, the encoder's weights alone start otherwise. What "
        "moves outcomes together makes the difference within a seed vary less than that of two "
        "seeds. The last column is the ratio of the two variances: the share of the seeds that a "
        "paired study needs of an unpaired one, so 1 saves nothing. The correlation's interval is "
        "Fisher's, for normal outcomes; the ratio's follows from it. A few seeds say little about "
        "either, and one that stands apart can make most of it: the fourth column leaves out each "
        "in turn. Further tests of the same runs are left out."
    )
    header = (
        "test", "encoders", "pairs", "correlation (95 % interval)", "leaving one pair out",
        "sd within pairs (%)",
        "sd unpaired (%)", "variance ratio (95 % interval)",
    )  # fmt: skip
    blocks: list[Block] = [Text(text), Table(header, tuple(rows))]
    primary = analysis.primary
    if primary is not None and len(primary.seeds) > 2:
        names = (primary.name, primary.reference)
        svg = paired_points(*map(list, primary.costs), names)
        caption = (
            f"Each point is one seed: the cost of {names[0]} (vertical) against "
            f"that of {names[1]} (horizontal). On the line the encoders agree; how far the points "
            "lie along it is what the seed decides."
        )
        blocks.append(Picture("pairing.svg", svg, caption))
    return Section(heading, tuple(blocks))
