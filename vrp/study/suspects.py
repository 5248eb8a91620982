"""Section 6: what makes Linear look worse."""

from __future__ import annotations

from vrp.study.analysis import Analysis, Effect, costs
from vrp.study.document import Block, Picture, Section, Table, Text
from vrp.study.effects import effect_cells, lines, where
from vrp.study.figures import Dots, dot_rows
from vrp.study.statistics import mean_interval, one_seed
from vrp.study.wording import estimate, name, number, share, title

_CHANGES = {
    "reshaped": "`reshape` where a transpose was meant: x and y of different nodes mix",
    "flattened": "one Linear over all coordinates at once, not one per node",
    "strict_mask": "a customer whose demand equals the load may not be served: `demand < load`",
    "tf32": "the encoder's products in TF32, emulated",
    "glorot": "the encoder starts with Glorot's weights and no bias, as in TensorFlow",
    "dropout": "dropout of 0.1 on the LSTM's input, as in the paper",
}


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
    count = len(analysis.families["changes"])
    return (
        "Each change is compared with plain Linear of the same seeds and the same budget. The "
        "observation to reproduce is longer training and worse results, so two things are "
        "measured. One is the final cost: `longer` or `shorter` if it differs, `equal` if it is "
        f"equivalent within ±{analysis.plan.margin_percent:g} %, each after Holm's correction over "
        f"the {count} changes, else `not decided`. The other is how many training instances it "
        "takes to get where plain Linear is, on average, at a quarter of the budget, as a multiple "
        "of what plain Linear's run of the seed takes (geometric mean); a run that never gets "
        "there counts with its whole budget, and the multiple is then a lower bound. Conv1d is in "
        "the table as a control. First come changes that show both and still learn after a tenth "
        "of the budget, then those that learn nothing more from there on, then those with longer "
        "tours only, then those that only learn more slowly; within these by the final cost."
    )


def _suspects(analysis: Analysis, problem: str) -> list[Block]:
    effects = analysis.suspects(problem)
    if not effects:
        return []
    rows = tuple(
        (
            f"`{effect.name}`",
            _CHANGES.get(effect.name, "-") if effect.variant else "no mistake, a control",
            str(len(effect.rows)),
            estimate(mean_interval(costs(effect.rows)), 4) if effect.rows else "-",
            *effect_cells(effect),
            effect.shows,
        )
        for effect in (*effects, *_control(analysis, problem))
    )
    header = (
        "change", "what it is", "seeds", "cost (95 % interval)", "against linear", "p after Holm",
        "tours", "instances needed, as a multiple", "got there", "shows",
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
            is_wide=True,
        )
        caption = (
            f"{title(problem)}: what each change does to the final tour length. Points are seeds, "
            "bars the mean's 95 % interval; the axis is logarithmic beyond 1 %. At the right, the "
            "instances needed as a multiple of plain linear's."
        )
        blocks.append(Picture(f"suspects-{problem}.svg", svg, caption))
    return blocks + lines(
        analysis, problem, {effect.name: effect.rows for effect in effects}, "changes"
    )


def _control(analysis: Analysis, problem: str) -> list[Effect]:
    """Conv1d against linear, in whose learning there is nothing to find."""
    test = analysis.main_test(problem)
    runs = {} if test is None else analysis.study.plain(test).get("conv1d", {})
    if not runs:
        return []
    comparison = analysis.study.against_linear("conv1d", "", test)
    return [analysis.effect("conv1d", "", tuple(runs.values()), comparison)]


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
                        f"{number(found.largest, 2)} %",
                        f"{percent} % or more",
                        share(found.share),
                        share(found.normal_share),
                    )
                )
    if not rows:
        return [Text("One seed only: no data, it takes three counted runs of one encoder.")]
    text = (
        "**One seed only.** Two runs of one encoder that differ in nothing but the seed: how often "
        "does the one's tour length differ from the other's by this much? Counted over all ordered "
        "pairs of different seeds, with a bootstrap interval over seeds where it happened at all; "
        "beside it, what normally distributed outcomes of the same spread would give, with the "
        "interval that follows from that of their standard deviation."
    )
    header = (
        "test", "encoder", "seeds", "sd over seeds", "largest difference", "difference",
        "share of comparisons (95 % interval)", "if normal (95 % interval)",
    )  # fmt: skip
    return [Text(text), Table(header, tuple(rows))]
