"""Section 6: what makes Linear look worse."""

from __future__ import annotations

from vrp.study.analysis import Analysis, Effect, costs
from vrp.study.document import Block, Picture, Section, Table, Text
from vrp.study.effects import effect_cells, lines, where
from vrp.study.figures import Dots, dot_rows
from vrp.study.statistics import mean_interval, one_seed
from vrp.study.wording import estimate, name, number, share


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
            *effect_cells(analysis, effect),
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
    blocks: list[Block] = [Text(f"**{where(analysis, problem)}**"), Table(header, rows)]
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
    return blocks + lines(
        analysis, problem, {effect.name: effect.rows for effect in effects}, "changes"
    )


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
