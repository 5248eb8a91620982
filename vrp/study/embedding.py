"""Section 7: what Embedding costs or brings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vrp.study.analysis import Analysis, costs, mean_of
from vrp.study.comparison import Test
from vrp.study.document import Block, Picture, Section, Table, Text
from vrp.study.drawing import COLOURS
from vrp.study.effects import EFFECT_HEADER, EQUIVALENCE, effect_cells, learning_figure, where
from vrp.study.figures import Dots, by_bins, dot_rows
from vrp.study.records import BINS, Run
from vrp.study.statistics import Interval, mean_interval
from vrp.study.study import by_seed_of
from vrp.study.wording import estimate, name, p_text, span, title

# Of a table's columns those that are filled: equivalence is asked of no table.
_ASKED = [i for i, column in enumerate(EFFECT_HEADER) if column != EQUIVALENCE]
_ONE_HOT = (
    "Whatever Embedding computes, a Linear without bias computes on the one-hot code of the cells, "
    "and learns the same from it: values and gradients are equal in float64 (`layer-facts.md`, "
    "one-hot equality). So what follows is no limit of the layer. It is what this code, its "
    "initial scale and the learning rate that all encoders share make of the training."
)


def embedding_section(analysis: Analysis) -> Section:
    """Section 7."""
    blocks: list[Block] = []
    for problem in analysis.effects:
        blocks += _tables(analysis, problem)
    if not blocks:
        blocks.append(Text("Bins and tables: no data, no run with another table is counted."))
    return Section(
        "What Embedding costs or brings",
        (Text(_ONE_HOT), *blocks, *_rarely_seen(analysis), *_other_sets(analysis)),
    )


def _tables(analysis: Analysis, problem: str) -> list[Block]:
    test, effects = analysis.study.main_test(problem), analysis.tables(problem)
    if test is None or not effects:
        return []
    plain = analysis.study.plain(test)
    linear = list(plain.get("linear", {}).values())
    rows = []
    series: dict[str, list[tuple[int, Interval]]] = {}
    for effect in sorted(effects, key=lambda e: (kind_of(e.variant), bins_of(e.variant))):
        bins, kind = bins_of(effect.variant), kind_of(effect.variant)
        if not effect.rows:
            continue
        cost = mean_interval(costs(effect.rows))
        if effect.comparison is not None:
            series.setdefault(kind, []).append((bins, effect.comparison.percent))
        rows.append(
            (
                kind,
                str(bins),
                str(len(effect.rows)),
                span(r.parameters for r in effect.rows if r.parameters is not None),
                estimate(cost, 4),
                *(effect_cells(effect)[i] for i in _ASKED),
            )
        )
    if linear:
        sizes = span(r.parameters for r in linear if r.parameters is not None)
        cost = estimate(mean_interval(costs(linear)), 4)
        rows.append(("linear", "-", str(len(linear)), sizes, cost, *["-"] * len(_ASKED)))
    header = (
        "table",
        "bins per axis",
        "seeds",
        "parameters",
        "cost (95 % interval)",
        *(EFFECT_HEADER[i] for i in _ASKED),
    )
    blocks: list[Block] = [
        Text(
            f"**{where(analysis, problem)}**; the last columns are those of section 6, against "
            "linear of the same seeds."
        ),
        Table(header, tuple(rows)),
    ]
    if sum(map(len, series.values())) > 1:
        svg = by_bins(
            series, analysis.plan.margin_percent, "tour length against linear, same seed (%)"
        )
        caption = (
            f"{title(problem)}: tour length against plain linear's over the number of bins, mean "
            "over seeds with its 95 % interval, hollow where there is one seed; the axis is "
            "logarithmic beyond 1 %. In the shaded range differences are below the margin; whether "
            "a table is equivalent was not tested."
        )
        blocks.append(Picture.named(f"embedding {problem}", svg, caption))
    factorised = {
        f"{bins_of(effect.variant)} bins": effect.rows
        for effect in sorted(effects, key=lambda e: bins_of(e.variant))
        if kind_of(effect.variant) == "factorised"
    }
    return blocks + (
        learning_figure(analysis, problem, factorised, "bins") if len(factorised) > 1 else []
    )


def bins_of(variant: str) -> int:
    """How many a table has for an axis."""
    found = re.search(r"\bbins=(\d+)", variant)
    return int(found[1]) if found else BINS


def kind_of(variant: str) -> str:
    """Of the tables, with all that is said besides the number of bins."""
    parts = [part for part in re.split(r"[,;\s]+", variant) if part and "bins=" not in part]
    tables = "joint" if any("joint" in part for part in parts) else "factorised"
    rest = [part for part in parts if "joint" not in part and "factorised" not in part]
    return ", ".join([tables, *rest])


def _rarely_seen(analysis: Analysis) -> list[Block]:
    """Encoders trained where part of the square is rare, on the plan's uniform set."""
    rare = analysis.rare
    if rare is None:
        return [Text("Rarely seen coordinates: no data, no run of `+sweep=rare_coordinates`.")]
    rows = []
    for encoder, runs in rare.banded.items():
        partners, losses = rare.uniform[encoder].values(), rare.losses(encoder).values()
        rows.append(
            (
                name(encoder),
                str(len(runs)),
                estimate(mean_interval(costs(runs.values())), 4),
                estimate(mean_interval(costs(partners)), 4) if partners else "-",
                estimate(mean_interval(list(losses)), 2, sign=True, unit=" %") if losses else "-",
            )
        )
    text = (
        "**Rarely seen coordinates.** In training, one coordinate in a hundred lay in the upper "
        f"quarter of its axis; the test, `{analysis.plan.test_set}`, is uniform. Does a table, "
        "which learns nothing of a cell that it does not see, lose more by this than a linear map, "
        f"which goes on straight? {_loses_more(analysis)} The loss is against the same seeds "
        "trained on uniform instances."
    )
    header = (
        "encoder", "seeds", "cost, rare in training", "cost of these seeds, uniform in training",
        "loss",
    )  # fmt: skip
    dots = [
        Dots(
            encoder, tuple(losses.values()), mean_interval(list(losses.values())), COLOURS[encoder]
        )
        for encoder in rare.banded
        if (losses := rare.losses(encoder))
    ]
    blocks: list[Block] = [Text(text), Table(header, tuple(rows))]
    if dots:
        svg = dot_rows(dots, "loss where a part of the square was rare in training (%)")
        caption = (
            "What rarely seen coordinates cost each encoder: points are seeds, bars the mean's "
            "95 % interval."
        )
        blocks.append(Picture("rare-coordinates.svg", svg, caption))
    return blocks


def _loses_more(analysis: Analysis) -> str:
    """Embedding's losses, in percent, against Linear's."""
    more, p = analysis.rare.more, analysis.adjusted_difference(analysis.rare)
    if p is None:
        return "It takes two seeds of both to say."
    found = (
        f"Embedding's loss minus Linear's is {estimate(more, 2, sign=True)} percentage points, "
        f"{p_text(p)} after Holm's correction"
    )
    if p >= analysis.plan.alpha:
        return f"That is not shown: {found}."
    return f"Yes: {found}." if more.value > 0 else f"No, less: {found}."


def _other_sets(analysis: Analysis) -> list[Block]:
    """Every kind of run on the sets that its problem's main test is not about."""
    kinds = _kinds(analysis)
    if not kinds:
        return [Text("Further test sets: no data.")]
    has_gaps = any(run.gap is not None for runs in kinds.values() for run in runs)
    rows = []
    for (test, encoder, variant), runs in kinds.items():
        found = None
        if (encoder, variant) != ("linear", ""):
            found = analysis.study.against_linear(encoder, variant, test)
        rows.append(
            (
                title(test.problem),
                f"`{test.test_set}`, {test.decode}",
                _kind_name(encoder, variant),
                str(len(runs)),
                estimate(mean_interval(costs(runs)), 4),
                estimate(found and found.percent, 2, sign=True, unit=" %"),
                *([_gap(runs)] if has_gaps else []),
                _loss(analysis, runs),
            )
        )
    header = (
        "problem", "test set", "encoder", "runs", "cost (95 % interval)",
        "against linear, there", *(["gap to reference"] if has_gaps else []),
        "cost against the main test set",
    )  # fmt: skip
    return [Text("**Further test sets**, of all kinds of runs"), Table(header, tuple(rows))]


def _kind_name(encoder: str, variant: str) -> str:
    """Linear's changes by their names, Embedding's tables in words."""
    if encoder == "embedding" and variant:
        return f"Embedding, {bins_of(variant)} bins, {kind_of(variant)}"
    return name(encoder) + (f", `{variant}`" if variant else "")


def _kinds(analysis: Analysis) -> dict[tuple[Test, str, str], list[Run]]:
    """The runs of one kind in one further test, each seed once.

    Raises:
        ValueError: if two of them cannot be compared.
    """
    study = analysis.study
    found: dict[tuple[Test, str, str], list[Run]] = {}
    for test in study.tests:
        if test.test_set == analysis.study.main_test(test.problem).test_set:
            continue
        for encoder, by_seed in study.plain(test).items():
            found[test, encoder, ""] = list(by_seed.values())
        for (encoder, variant), rows in study.variants(test.problem).items():
            if runs := list(by_seed_of(rows, test).values()):
                found[test, encoder, variant] = runs
    return dict(sorted(found.items()))


def _gap(runs: Sequence[Run]) -> str:
    gap = mean_of(runs, "gap")
    return "-" if gap is None else estimate(gap, 2, unit=" %")


def _loss(analysis: Analysis, runs: Iterable[Run]) -> str:
    """Mean ratio of the costs of the same runs on both sets."""
    ratios = []
    for run in runs:
        test = analysis.study.main_test(run.problem)
        ratios += [
            run.cost / other.cost
            for other in analysis.study.tested
            if test is not None
            and other.key == run.key
            and (other.test_set, other.decode) == (test.test_set, run.decode)
        ]
    return estimate(mean_interval(ratios), 3) if ratios else "-"
