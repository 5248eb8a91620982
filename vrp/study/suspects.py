"""Sections 6 and 7: what makes Linear look worse, and what Embedding costs or brings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from vrp.study.analysis import Analysis, Effect, costs, mean_of
from vrp.study.document import Block, Picture, Section, Table, Text
from vrp.study.figures import Dots, by_bins, dot_rows, learning_lines
from vrp.study.learning import Curves, Slowdown, band_by_instances
from vrp.study.records import Run
from vrp.study.statistics import Interval, mean_interval, one_seed
from vrp.study.wording import estimate, name, number, p_value, share, span

_PLAIN_BINS = 64  # of EmbeddingEncoder, where nothing else is said


def suspects_section(analysis: Analysis) -> Section:
    """Section 6."""
    blocks: list[Block] = []
    for problem in analysis.effects:
        blocks += _suspects(analysis, problem)
    if blocks:
        blocks.insert(0, Text(_suspects_rule(analysis)))
    else:
        blocks.append(Text("No data: no counted run has a changed linear or conv1d encoder."))
    return Section("What can make Linear look worse", (*blocks, *_single_seed(analysis)))


def _suspects_rule(analysis: Analysis) -> str:
    return (
        "Each change is compared with plain Linear of the same seeds and the same budget. The "
        "observation to reproduce is longer training and worse results, so two things are "
        "measured: the final cost, and how many training instances it takes to get to the "
        "validation gap that plain Linear's run of the seed has at half its budget, as a multiple "
        "of what that run takes (geometric mean). A run that never gets there is counted with its "
        "whole budget, so the multiple is then a lower bound. First come the changes whose "
        "intervals show both, then those with longer tours only, then slower learning only; within "
        "these by the final cost. "
        f"p is of the final cost, after Holm's correction over {len(analysis.family)} comparisons."
    )


def _suspects(analysis: Analysis, problem: str) -> list[Block]:
    effects = analysis.suspects(problem)
    if not effects:
        return []
    rows = tuple(
        (
            f"`{effect.name}`",
            str(len(effect.rows)),
            estimate(mean_interval(costs(effect.rows)), 4) if effect.rows else "-",
            *_effect_cells(analysis, effect),
            {(True, True): "both", (True, False): "longer tours", (False, True): "slower"}.get(
                (effect.is_longer, effect.is_slower), "neither"
            ),
        )
        for effect in effects
    )
    header = (
        "change", "seeds", "cost (95 % interval)", "against linear", "p after Holm",
        "instances needed, as a multiple", "got there", "shows",
    )  # fmt: skip
    blocks: list[Block] = [Text(f"**{_where(analysis, problem)}**"), Table(header, rows)]
    dots = [
        Dots(effect.name, _percents(effect), effect.comparison.percent, note=_note(effect))
        for effect in effects
        if effect.comparison is not None
    ]
    if dots:
        svg = dot_rows(
            dots,
            "tour length against plain linear, same seed (%)",
            margin=analysis.plan.margin_percent,
            zero="linear",
        )
        caption = (
            f"{problem.upper()}: what each change does to the final tour length. Points are seeds, "
            "bars the mean's 95 % interval; at the right, the instances needed as a multiple of "
            "plain linear's."
        )
        blocks.append(Picture(f"suspects-{problem}.svg", svg, caption))
    return blocks + _lines(
        analysis, problem, {effect.name: effect.rows for effect in effects}, "changes"
    )


def _lines(
    analysis: Analysis, problem: str, kinds: Mapping[str, Sequence[Run]], which: str
) -> list[Block]:
    """A figure of how each kind of run learns, with plain linear; nothing without curves."""
    test = analysis.main_test(problem)
    linear = [] if test is None else analysis.study.plain(test).get("linear", {}).values()
    groups = {"linear": list(linear), **kinds}
    curves = Curves(analysis.points, [run for runs in groups.values() for run in runs])
    bands = {kind: band_by_instances(curves.of(runs)) for kind, runs in groups.items()}
    bands = {kind: band for kind, band in bands.items() if band is not None}
    if len(bands) < 2:
        return []
    svg = learning_lines(bands, curves.unit, are_ordered=which == "bins")
    caption = (
        f"{problem.upper()}: how the {which} change learning; mean over seeds, linear dashed. "
        "The bands are left out, since they would hide the lines; the tables have the intervals."
    )
    return [Picture(f"{which}-learning-{problem}.svg", svg, caption)]


def _where(analysis: Analysis, problem: str) -> str:
    test = analysis.main_test(problem)
    return problem.upper() if test is None else str(test).replace("`", "")


def _effect_cells(analysis: Analysis, effect: Effect) -> tuple[str, str, str, str]:
    comparison, slowdown = effect.comparison, effect.slowdown
    return (
        "no partner"
        if comparison is None
        else estimate(comparison.percent, 2, sign=True, unit=" %"),
        p_value(analysis.adjusted_difference(comparison)),
        "-" if slowdown is None else _multiple(slowdown),
        "-" if slowdown is None else f"{slowdown.reached} of {slowdown.count}",
    )


def _multiple(slowdown: Slowdown) -> str:
    if slowdown.reached < slowdown.count:
        return f"> {number(slowdown.ratio.value, 2)}"
    return estimate(slowdown.ratio, 2)


def _note(effect: Effect) -> str:
    if effect.slowdown is None:
        return ""
    bound = ">" if effect.slowdown.reached < effect.slowdown.count else ""
    return f"{bound}{number(effect.slowdown.ratio.value, 1)}x instances"


def _percents(effect: Effect) -> tuple[float, ...]:
    ours, theirs = effect.comparison.costs
    scale = 100 / effect.comparison.reference_cost
    return tuple(scale * (a - b) for a, b in zip(ours, theirs, strict=True))


def _single_seed(analysis: Analysis) -> list[Block]:
    """How often chance alone shows a difference between two single runs."""
    rows = []
    for problem in analysis.study.problems:
        test = analysis.main_test(problem)
        for encoder, by_seed in analysis.study.plain(test).items():
            if len(by_seed) < 3:
                continue
            spread = mean_interval(costs(by_seed.values()))
            for percent in (1, 2):
                found = one_seed(costs(by_seed.values()), percent)
                rows.append(
                    (
                        str(test),
                        name(encoder),
                        str(found.share.count),
                        f"{number(100 * spread.sd / spread.value, 2)} %",
                        f"{percent} % or more",
                        share(found.share),
                        share(found.normal_share),
                    )
                )
    if not rows:
        return [Text("One seed only: no data, it takes three counted runs of one encoder.")]
    text = (
        "**One seed only.** Two runs of one encoder that differ in nothing but the seed: how often "
        "does the one's tour length differ from the other's by this much? All ordered pairs of "
        "different seeds, with a bootstrap interval over seeds, which knows no larger difference "
        "than those seen; beside it, what normally distributed outcomes of the same spread would "
        "give, with the interval that follows from that of their standard deviation."
    )
    header = (
        "test", "encoder", "seeds", "sd over seeds", "difference",
        "share of comparisons (95 % interval)", "if normal (95 % interval)",
    )  # fmt: skip
    return [Text(text), Table(header, tuple(rows))]


def embedding_section(analysis: Analysis) -> Section:
    """Section 7."""
    blocks: list[Block] = []
    for problem in analysis.effects:
        blocks += _tables(analysis, problem)
    if not blocks:
        blocks.append(Text("Bins and tables: no data, no run with another table is counted."))
    return Section("What Embedding costs or brings", (*blocks, *_other_sets(analysis)))


def _tables(analysis: Analysis, problem: str) -> list[Block]:
    test, effects = analysis.main_test(problem), analysis.tables(problem)
    if test is None or not effects:
        return []
    plain = analysis.study.plain(test)
    linear = list(plain.get("linear", {}).values())
    rows = []
    series: dict[str, list[tuple[int, Interval]]] = {}
    both = [*effects]
    if "embedding" in plain:
        comparison = analysis.study.against_linear("embedding", "", test)
        found = tuple(plain["embedding"].values())
        slowdown = analysis.slowdown(comparison)
        both.append(Effect("embedding", "", found, comparison, slowdown))
    for effect in sorted(both, key=lambda e: (_kind(e.variant), _bins(e.variant))):
        bins, kind = _bins(effect.variant), _kind(effect.variant)
        if not effect.rows:
            continue
        cost = mean_interval(costs(effect.rows))
        series.setdefault(kind, []).append((bins, cost))
        cells = _effect_cells(analysis, effect)
        rows.append(
            (
                kind,
                str(bins),
                str(len(effect.rows)),
                span(r.parameters for r in effect.rows if r.parameters is not None),
                estimate(cost, 4),
                *cells,
            )
        )
    if linear:
        sizes = span(r.parameters for r in linear if r.parameters is not None)
        cost = estimate(mean_interval(costs(linear)), 4)
        rows.append(("linear", "-", str(len(linear)), sizes, cost, "-", "-", "-", "-"))
    header = (
        "table", "bins per axis", "seeds", "parameters", "cost (95 % interval)", "against linear",
        "p after Holm", "instances needed, as a multiple", "got there",
    )  # fmt: skip
    blocks: list[Block] = [
        Text(f"**{_where(analysis, problem)}**; the last columns are those of section 6."),
        Table(header, tuple(rows)),
    ]
    if linear:
        svg = by_bins(series, mean_interval(costs(linear)), "mean tour length")
        caption = (
            f"{problem.upper()}: tour length over the number of bins, mean over seeds with its "
            "95 % interval; the line and its band are linear's."
        )
        blocks.append(Picture(f"embedding-{problem}.svg", svg, caption))
    factorised = {
        f"{_bins(effect.variant)} bins": effect.rows
        for effect in sorted(both, key=lambda e: _bins(e.variant))
        if _kind(effect.variant) == "factorised"
    }
    return blocks + _lines(analysis, problem, factorised, "bins")


def _bins(variant: str) -> int:
    found = re.search(r"\bbins=(\d+)", variant)
    return int(found[1]) if found else _PLAIN_BINS


def _kind(variant: str) -> str:
    """Of the tables, with all that is said besides the number of bins."""
    parts = [part for part in re.split(r"[,;\s]+", variant) if part and "bins=" not in part]
    tables = "joint" if any("joint" in part for part in parts) else "factorised"
    rest = [part for part in parts if "joint" not in part and "factorised" not in part]
    return ", ".join([tables, *rest])


def _other_sets(analysis: Analysis) -> list[Block]:
    """Every kind of run on the sets that its problem's main test is not about."""
    rows = []
    for problem in analysis.effects:
        test = analysis.main_test(problem)
        others = [
            r
            for r in analysis.study.tested
            if r.problem == problem and (test is None or r.test_set != test.test_set)
        ]
        groups: dict[tuple, list[Run]] = {}
        for run in others:
            key = (run.test_set, run.decode, run.encoder, run.variant)
            groups.setdefault(key, []).append(run)
        for (test_set, decode, encoder, variant), runs in sorted(groups.items()):
            rows.append(
                (
                    problem.upper(),
                    f"`{test_set}`, {decode}",
                    f"{encoder} {variant}".strip(),
                    str(len(runs)),
                    estimate(mean_interval(costs(runs)), 4),
                    _gap(runs),
                    _loss(analysis, runs),
                )
            )
    if not rows:
        return [Text("Further test sets: no data.")]
    header = (
        "problem", "test set", "encoder", "runs", "cost (95 % interval)", "gap to reference",
        "cost against the main test set",
    )  # fmt: skip
    return [Text("**Further test sets**"), Table(header, tuple(rows))]


def _gap(runs: Sequence[Run]) -> str:
    gap = mean_of(runs, "gap")
    return "-" if gap is None else estimate(gap, 2, unit=" %")


def _loss(analysis: Analysis, runs: Iterable[Run]) -> str:
    """Mean ratio of the costs of the same runs on both sets."""
    ratios = []
    for run in runs:
        test = analysis.main_test(run.problem)
        ratios += [
            run.cost / other.cost
            for other in analysis.study.tested
            if test is not None
            and other.key == run.key
            and (other.test_set, other.decode) == (test.test_set, run.decode)
        ]
    return estimate(mean_interval(ratios), 3) if ratios else "-"
