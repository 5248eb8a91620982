"""Section 6: what makes Linear look worse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vrp.study.analysis import Analysis, Effect, costs
from vrp.study.document import Block, Items, Picture, Section, Table, Text
from vrp.study.effects import EFFECT_HEADER, effect_cells, learning_figure, where
from vrp.study.figures import Dots, dot_rows
from vrp.study.learning import Slowdown
from vrp.study.price import allowed_load, freed
from vrp.study.records import BLIND
from vrp.study.single_seed import single_seed
from vrp.study.statistics import mean_interval
from vrp.study.wording import between, estimate, listed, number, span, title


@dataclass(frozen=True)
class _Change:
    """A change to plain Linear.

    Attributes:
        short: in a few words.
        rest: what else a reader of the table wants to know of it.
        strikes: the layer that it befalls when one takes the place of the other, or `both`.
    """

    short: str
    rest: str
    strikes: str


_CHANGES = {
    "reshaped": _Change(
        "a `reshape` where a transpose was meant",
        ": Linear after (N, 2, V) became (N, V, 2), so coordinates of different nodes mix; a "
        "Conv1d in the place of a Linear invites the like",
        "Linear",
    ),
    "flattened": _Change(
        "one Linear over all coordinates at once, not one per node",
        "; the right map is one of those that it can learn",
        "Linear",
    ),
    "strict_mask": _Change(
        "a customer whose demand equals the load may not be served",
        ", `demand < load`: the right mask on a vehicle that holds one less",
        "both",
    ),
    "tf32": _Change(
        "the encoder's products in TF32", ", emulated; on a GPU that is cuDNN's default", "Conv1d"
    ),
    "glorot": _Change(
        "an encoder that starts with Glorot's weights and no bias", ", as in TensorFlow", "both"
    ),
    "dropout": _Change("dropout of 0.1 on the LSTM's input", ", as in the paper", "both"),
    BLIND: _Change("no coordinates at all", ", a yardstick", "-"),
}
_UNKNOWN = _Change("", "", "-")


def strikes(change: str) -> str:
    """Which layer a change befalls, new in the other's place: one, `both`, or `-` if unknown."""
    return _CHANGES.get(change, _UNKNOWN).strikes


def in_short(change: str) -> str:
    """What a change is, in a few words; empty if unknown."""
    return _CHANGES.get(change, _UNKNOWN).short


def _described(change: str) -> str:
    known = _CHANGES.get(change, _UNKNOWN)
    return f"{known.short}{known.rest}" or "-"


def suspects_section(analysis: Analysis) -> Section:
    """Section 6."""
    blocks: list[Block] = []
    for problem in analysis.effects:
        blocks += _suspects(analysis, problem)
    if blocks:
        blocks = [*_suspects_rule(analysis), *blocks]
    else:
        blocks.append(Text("No data: no counted run has a changed linear or conv1d encoder."))
    return Section("What can make Linear look worse", (*blocks, *single_seed(analysis)))


def _suspects_rule(analysis: Analysis) -> list[Block]:
    margin = f"±{analysis.plan.margin_percent:g} %"
    return [
        Text(
            "Each change is compared with plain Linear of the same seeds, budget and learning "
            "rate. The observation to reproduce is longer training and worse results. All p are "
            "after Holm's correction (section 4). The columns:"
        ),
        Items(
            (
                "`strikes`: which layer the change befalls where the one replaces the other. "
                "`Linear`: it can make Linear look worse than Conv1d. `Conv1d`: it can make Linear "
                "look better. `both`: either, if only one of the two programs has it. Conv1d is in "
                f"the table as a control, and `{BLIND}`, which sees no coordinates, as a "
                "yardstick; their final cost is not tested here.",
                "`tours`: of the final cost, `longer` or `shorter` if it differs, `equal` if it is "
                f"equivalent within {margin}, else `not decided`.",
                "`instances needed`: to get where plain Linear is, on average, at a quarter of the "
                "budget, as a multiple of what plain Linear's run of the seed takes (geometric "
                "mean). A run that never gets there counts with its whole budget; the multiple is "
                "then a lower bound, without a p. Where a change has rules of its own, what they "
                "cost near-optimal tours is taken off before.",
                "`fall in the last quarter`: of the validation cost, over that part of the budget; "
                "where it is large, more training would still shorten tours.",
                "`shows`: `slower` if that multiple differs from 1, or if no run gets there and "
                "the final tours are longer (where some get there and others do not, nothing is "
                "decided of the speed); `both` with longer tours; `stops learning` if the "
                f"validation cost falls by less than {analysis.plan.margin_percent:g} % on average "
                "from a tenth of the budget to its end. First come changes that show both and go "
                "on learning, then those that stop, then those with longer tours, then those that "
                "learn more slowly; within these by the final cost.",
            )
        ),
    ]


def _suspects(analysis: Analysis, problem: str) -> list[Block]:
    effects = analysis.suspects(problem)
    if not effects:
        return []
    rows = tuple(
        (
            f"`{effect.name}`",
            _described(effect.name) if effect.variant else "no change, a control",
            strikes(effect.name),
            str(len(effect.rows)),
            span(r.parameters for r in effect.rows if r.parameters is not None),
            estimate(mean_interval(costs(effect.rows)), 4) if effect.rows else "-",
            *effect_cells(effect),
            effect.shows,
        )
        for effect in (*effects, *analysis.control(problem))
    )
    header = (
        "change",
        "what it is",
        "strikes",
        "seeds",
        "parameters",
        "cost (95 % interval)",
        *EFFECT_HEADER,
        "shows",
    )
    blocks: list[Block] = [Text(f"**{where(analysis, problem)}**"), Table(header, rows)]
    blocks += [Text(text) for text in _shared_partners(analysis, problem, effects)]
    blocks += [Text(_price(effect)) for effect in effects if effect.price is not None]
    shown = [*effects, *(e for e in analysis.control(problem) if e.variant == BLIND)]
    dots = [
        Dots(effect.name, effect.comparison.percents, effect.comparison.percent, note=_note(effect))
        for effect in shown
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
        blocks.append(Picture.named(f"suspects {problem}", svg, caption))
    return blocks + learning_figure(
        analysis, problem, {effect.name: effect.rows for effect in shown}, "changes"
    )


def _shared_partners(analysis: Analysis, problem: str, effects: Sequence[Effect]) -> Iterator[str]:
    """What all changes with the same few seeds have in common, seen at the control."""
    control = next((e.comparison for e in analysis.control(problem) if not e.variant), None)
    several = {tuple(e.comparison.seeds) for e in effects if e.comparison is not None}
    for seeds in sorted(several):
        if control is None or not 1 < len(set(seeds) & set(control.seeds)) < len(control.seeds):
            continue
        few = replace(
            control,
            ours=tuple(run for run in control.ours if run.seed in seeds),
            theirs=tuple(run for run in control.theirs if run.seed in seeds),
        )
        text = (
            f"Changes with the seeds {listed(map(str, seeds))} share Linear's runs as partners. "
            f"Linear's mean cost is {number(few.reference_cost, 4)} with these seeds and "
            f"{number(control.reference_cost, 4)} with all {len(control.seeds)}; Conv1d, the "
            f"control, is at {estimate(few.percent, 2, sign=True, unit=' %')} with these"
        )
        slowdown = analysis.slowdown(few)
        if slowdown is not None:
            text += f" and needs {_times(slowdown)} the instances"
        yield f"{text}. What shows there is chance, and all these changes have it in common."


def _times(slowdown: Slowdown) -> str:
    bound = "more than " if slowdown.reached < slowdown.count else ""
    return f"{bound}{number(slowdown.ratio.value, 2)} times ({between(slowdown.ratio, 2)})"


def _price(effect: Effect) -> str:
    price, percent = effect.price, effect.comparison.percent
    run = effect.comparison.ours[0]
    usual = mean_interval([r.gap for r in effect.comparison.theirs if r.gap is not None])
    own = [r.gap for r in effect.comparison.ours if r.gap is not None]
    text = (
        f"The price of `{effect.name}`: on the first {price.count:,} instances of "
        f"`{run.test_set}`, near-optimal tours of a vehicle that carries at most "
        f"{allowed_load(run)} of {run.capacity} are {estimate(price, 2, sign=True, unit=' %')} "
        f"longer. This is what a policy pays that solves its own problem as well as plain Linear "
        f"does; the runs here pay {estimate(percent, 2, sign=True, unit=' %')}."
    )
    if own:
        left = mean_interval([freed(gap, price.value) for gap in own])
        text += (
            f" Their gap to the tours that their mask allows is {estimate(left, 2, unit=' %')}, "
            f"plain Linear's to its own {estimate(usual, 2, unit=' %')}."
        )
    return text


def _note(effect: Effect) -> str:
    if effect.slowdown is None:
        return ""
    bound = ">" if effect.slowdown.reached < effect.slowdown.count else ""
    return f"{bound}{number(effect.slowdown.ratio.value, 1)}x instances"
