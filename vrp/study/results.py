"""Sections 2 and 8: what the encoders reach, and how they get there."""

from __future__ import annotations

from collections.abc import Iterable

from vrp.evaluation.published import PUBLISHED, Entry
from vrp.problem.datasets import CAPACITY, STANDARD_SETS
from vrp.study.analysis import Analysis, costs, mean_of, rate
from vrp.study.comparison import Test
from vrp.study.document import Block, Picture, Section, Table, Text
from vrp.study.drawing import COLOURS
from vrp.study.figures import Dots, dot_rows
from vrp.study.learning import LATE, Curves, band_by_instances, band_by_seconds, flatness, late_fall
from vrp.study.learning_figures import learning_curves
from vrp.study.records import Run
from vrp.study.statistics import Interval, mean_interval
from vrp.study.steps import summarised
from vrp.study.wording import between, count, estimate, name, number, signed, span, title

_METHODS = {  # of the literature, by policy and decoding
    ("pointer", "greedy"): ("RL greedy", "RL greedy, PyTorch port"),
    ("attention", "greedy"): ("AM greedy", "AM greedy, retrained", "POMO single"),
    ("attention", "multistart"): ("POMO multi-start",),
}
_ALWAYS = ("optimal (Gurobi)", "LKH3")


def results(analysis: Analysis) -> Section:
    """Section 2: each problem's tests, each with its encoders and the literature."""
    blocks: list[Block] = []
    for test in analysis.study.tests:
        plain = analysis.study.plain(test)
        if not plain:
            continue
        rows = [run for runs in plain.values() for run in runs.values()]
        is_main = test == analysis.study.main_test(test.problem)
        is_yardstick = len(plain) == 1 and _is_of_changes(analysis, test.problem)
        if is_yardstick and not is_main:
            continue
        split = "split deliveries" if rows[0].split_delivery else "whole deliveries"
        blocks.append(
            Text(
                f"**{test}**: {span(r.test_instances for r in rows)} instances, {split}. Trained: "
                f"{_recipe(rows[0])}, {span(r.instances for r in rows)} instances per run. Costs "
                "are mean tour lengths; in brackets the 95 % interval over seeds. Seconds and "
                "rates depend on the machine and on what ran beside, and do not compare the "
                f"encoders.{_no_gap(rows)}"
            )
        )
        blocks.append(_encoder_table(analysis, plain))
        known = [] if is_yardstick else _published(test, rows[0])
        if known:
            blocks.append(_published_table(test, known, plain))
        if len(plain) > 1:
            blocks.append(_cost_figure(test, is_main, plain, known))
        if is_main:
            blocks += _speed(analysis, test.problem)
    blocks += _speed_figure(analysis)
    return Section("Results by encoder", tuple(blocks) or (Text("No data: no run is counted."),))


def _is_of_changes(analysis: Analysis, problem: str) -> bool:
    """Whether changes were tried there, which the one encoder as it is serves to judge."""
    return problem != analysis.plan.problem and problem in analysis.effects


def _no_gap(rows: Iterable[Run]) -> str:
    if any(run.gap is not None for run in rows):
        return ""
    return " Near-optimal costs of this set were not computed, so there are no gaps."


def _recipe(run: Run) -> str:
    """How a test's runs were trained, in few words; the account has all settings."""
    return (
        f"{run.policy} policy, REINFORCE with {run.num_rollouts} tours per instance, batches of "
        f"{run.batch_size}, Adam from a learning rate of {run.learning_rate:g}"
    )


def _encoder_table(analysis: Analysis, plain: dict[str, dict[int, Run]]) -> Table:
    rows = []
    for encoder, by_seed in plain.items():
        runs = list(by_seed.values())
        gap = mean_of(runs, "gap")
        over = span(r.reference_instances for r in runs if r.reference_instances is not None)
        rates = [r for r in map(rate, runs) if r is not None]
        rows.append(
            (
                name(encoder),
                str(len(runs)),
                estimate(mean_interval(costs(runs)), 4),
                "-" if gap is None else f"{estimate(gap, 2, unit=' %')}, on {over}",
                number(mean_of(runs, "seconds").value, 0),
                number(mean_interval(rates).value, 0) if rates else "-",
                span(r.parameters for r in runs if r.parameters is not None),
                str(analysis.study.lost(encoder, runs[0].problem)),
            )
        )
    header = (
        "encoder", "seeds", "cost", "gap to reference", "seconds", "instances/s in training",
        "parameters", "runs not counted",
    )  # fmt: skip
    return Table(header, tuple(rows))


def _published(test: Test, run: Run) -> list[Entry]:
    """What the literature has for this size and kind of delivery, with this decoding."""
    if CAPACITY.get(run.num_customers) != run.capacity or test.test_set not in STANDARD_SETS:
        return []
    methods = (*_ALWAYS, *_METHODS.get((run.policy, test.decode), ()))
    return [
        entry
        for entry in PUBLISHED
        if (entry.num_customers, entry.split_delivery) == (run.num_customers, run.split_delivery)
        and entry.method in methods
    ]


def _is_ours(test: Test, entry: Entry) -> bool:
    """Whether it was measured on the very instances."""
    return entry.instances == "kool" and test.test_set == f"kool{entry.num_customers}"


def _published_table(
    test: Test, entries: Iterable[Entry], plain: dict[str, dict[int, Run]]
) -> Table:
    """Costs, and how far each encoder's mean is from them."""
    ours = {encoder: mean_interval(costs(runs.values())).value for encoder, runs in plain.items()}
    lines = [
        (
            entry.method,
            number(entry.cost, 2),
            *(f"{signed(100 * (cost / entry.cost - 1), 1)} %" for cost in ours.values()),
            "these instances" if _is_ours(test, entry) else "other instances",
            entry.source + (f"; {entry.note}" if entry.note else ""),
        )
        for entry in entries
    ]
    against = [f"{name(encoder)} against it" for encoder in ours]
    header = ("published", "cost", *against, "measured on", "source")
    return Table(header, tuple(lines))


def _speed(analysis: Analysis, problem: str) -> list[Block]:
    """The training step of each encoder, the encoders in turn."""
    steps = [step for step in analysis.steps if step.problem == problem]
    if not steps:
        return []
    rows = [
        (
            name(timed.encoder),
            str(timed.turns),
            number(timed.step_ms, 1),
            number(timed.encoder_ms, 2),
            f"{number(100 * timed.share, 1)} %",
            estimate(timed.speed, 3),
        )
        for timed in summarised(steps)
    ]
    first = steps[0]
    text = (
        f"**Speed of a training step, {title(problem)}**: batch {first.batch_size}, "
        f"{first.num_rollouts} tours, {count(first.threads, 'thread')}, {first.device}, torch "
        f"{first.torch}; the encoders took turns in one process, on the same tours. For that they "
        "choose uniformly, so tours are longer and steps slower than in training. Milliseconds "
        "are medians over all turns; the speed is the geometric mean, over blocks of ten turns, of "
        "the ratio of the blocks' medians, with its 95 % interval."
    )
    header = (
        "encoder", "turns", "ms per step", "encoder alone, ms", "share of the step",
        "speed against linear",
    )  # fmt: skip
    return [Text(text), Table(header, tuple(rows))]


def _speed_figure(analysis: Analysis) -> list[Block]:
    """Of all problems, how much faster than Linear's the steps of the others are."""
    rows = []
    for problem in dict.fromkeys(step.problem for step in analysis.steps):
        for timed in summarised([step for step in analysis.steps if step.problem == problem]):
            if timed.speed is None:
                continue
            faster = [100 * (speed - 1) for speed in timed.speeds]
            ends = (100 * (x - 1) for x in (timed.speed.value, timed.speed.low, timed.speed.high))
            interval = Interval(*ends, timed.speed.count)
            label = f"{timed.encoder}\n{title(problem).replace(' (', chr(10) + '(')}"
            rows.append(Dots(label, tuple(faster), interval, COLOURS[timed.encoder]))
    if not rows:
        return []
    svg = dot_rows(rows, "speed of a whole training step, against linear's (%)", zero="linear")
    caption = (
        "Speed of a training step: each point is a block of ten turns, below them the mean with "
        "its 95 % interval; right of zero, the encoder is faster than Linear."
    )
    return [Picture("step-speed.svg", svg, caption)]


def _cost_figure(
    test: Test, is_main: bool, plain: dict[str, dict[int, Run]], known: Iterable[Entry]
) -> Picture:
    rows = []
    for encoder, by_seed in plain.items():
        values = costs(by_seed.values())
        interval = mean_interval(values)
        note = f"{number(interval.value, 3)}\n{count(len(values), 'seed')}"
        rows.append(Dots(encoder, tuple(values), interval, COLOURS[encoder], note))
    marks = [
        (entry.cost, f"Nazari et al. (2018), {entry.method}, other instances")
        for entry in known
        if entry.instances == "nazari" and entry.method not in _ALWAYS
    ]
    svg = dot_rows(rows, "mean tour length (each point is one seed)", marks=marks)
    caption = (
        f"{str(test).replace('`', '')}: every seed as a point, below it the mean with its 95 % "
        "interval over seeds."
    )
    further = "" if is_main else f" {test.test_set} {test.decode}"
    return Picture.named(f"costs {test.problem}{further}", svg, caption)


def curves_section(analysis: Analysis) -> Section:
    """Section 8: bands over seeds, and whether they are flat at the end."""
    blocks: list[Block] = []
    margin = analysis.plan.margin_percent
    for problem in analysis.study.problems:
        plain = analysis.study.plain(analysis.study.main_test(problem))
        runs = [run for by_seed in plain.values() for run in by_seed.values()]
        curves = Curves(analysis.points, runs)
        found = {name: curves.of(runs.values()) for name, runs in plain.items()}
        found = {name: row for name, row in found.items() if row}
        if not found:
            continue
        both = [
            {name: band for name, row in found.items() if (band := make(row)) is not None}
            for make in (band_by_instances, band_by_seconds)
        ]
        if all(both) and len(found) > 1:
            svg = learning_curves(*both, curves.unit)
            caption = (
                f"{title(problem)}: validation during training, mean over seeds with the mean's "
                "95 % interval, by training instances and by minutes in training steps. Minutes "
                "depend on the machine and on what ran beside; section 2 has the speeds of the "
                "steps."
            )
            blocks.append(Picture.named(f"learning {problem}", svg, caption))
        lines = []
        for encoder in found:
            fall = late_fall(analysis.points, plain[encoder].values(), LATE)
            lines.append(
                (
                    name(encoder),
                    title(problem),
                    str(fall.count),
                    f"{number(fall.value, 2)} % ({between(fall, 2)})",
                    flatness(fall, margin),
                )
            )
        header = ("encoder", "problem", "seeds", "fall over the last quarter", "flat")
        blocks.append(Table(header, tuple(lines)))
    if not blocks:
        return Section("Learning curves", (Text("No data: no counted run has a curve."),))
    rule = (
        "How flatness was judged: by how much the validation cost fell over the last "
        "quarter of the budget, in percent, with its 95 % interval over seeds. A curve is called "
        f"flat if the whole interval is within ±{margin:g} %, and not flat if all of it is "
        "beyond; else neither is shown. The learning rate falls towards "
        "zero over the budget, which flattens the end of every curve: flat says that the end of "
        "this schedule brought less than the margin, not that a longer one would not do better."
    )
    return Section("Learning curves", (*blocks, Text(rule)))
