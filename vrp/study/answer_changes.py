"""What the answer says of the changes that can make Linear look worse."""

from __future__ import annotations

from collections.abc import Sequence

from vrp.study.analysis import Analysis, Effect
from vrp.study.learning import Slowdown
from vrp.study.suspects import in_short, strikes
from vrp.study.wording import (
    between,
    change,
    count,
    in_text,
    listed,
    number,
    p_text,
    signed,
    title,
)


def changes_tried(analysis: Analysis) -> list[str]:
    """Which change comes closest to longer training with worse results, and what the others do.

    First which does, then all of the plan's problem, then, in an item each, wherever else changes
    were tried.
    """
    usual = analysis.plan.problem
    found = [*_closest(analysis), *_what_they_are(analysis)]
    found += _tried(analysis, usual) or ["No data."]
    for problem in analysis.effects:
        if problem != usual and (said := " ".join(_tried(analysis, problem))):
            found.append(f"**On {title(problem)}:** {said[0].lower()}{said[1:]}")
    return found


def _closest(analysis: Analysis) -> list[str]:
    """The change that goes on learning, more slowly, to longer tours; shown before not shown."""
    found = [
        (effect.shows == "both", effect.comparison.percent.value, problem, effect)
        for problem in analysis.effects
        for effect in analysis.suspects(problem)
        if effect.p is not None and (effect.shows == "both" or _is_late(effect))
    ]
    if not found:
        return []
    is_shown, _, problem, effect = max(found, key=lambda each: each[:2])
    shown = "" if is_shown else f", though not shown after correction, {p_text(effect.p)}"
    usual = _usual_rate(analysis)
    own = "" if effect.rows[0].learning_rate == usual else f", where the study's is {usual:g}"
    return [
        "Closest to what is reported, longer training with worse results: "
        f"`{effect.name}` on {title(problem)}{own}. Tours are "
        f"{change(effect.comparison.percent)} on average "
        f"({in_text(effect.comparison.percent)}{shown}), and run by run {_singly(effect)}."
    ]


def _usual_rate(analysis: Analysis) -> float | None:
    """The learning rate of the unchanged encoders on the plan's problem."""
    test = analysis.study.main_test(analysis.plan.problem)
    plain = {} if test is None else analysis.study.plain(test)
    rates = [run.learning_rate for runs in plain.values() for run in runs.values()]
    return rates[0] if rates else None


def _what_they_are(analysis: Analysis) -> list[str]:
    """Each change in a few words."""
    names = dict.fromkeys(e.name for p in analysis.effects for e in analysis.suspects(p))
    known = [f"`{name}`, {in_short(name)}" for name in names if in_short(name)]
    return [f"What was tried: {'; '.join(known)}."] if known else []


def _is_late(effect: Effect) -> bool:
    """Whether no run got where plain linear is early, in tests that show nothing yet."""
    slowdown, percent = effect.slowdown, effect.comparison.percent
    is_late = slowdown is not None and not slowdown.reached
    return effect.shows == "neither" and is_late and percent.low > 0


def _tried(analysis: Analysis, problem: str) -> list[str]:
    """Of one problem; empty without a change of two seeds."""
    tried = [effect for effect in analysis.suspects(problem) if effect.p is not None]
    if not tried:
        return []
    best = tried[0]
    if not (best.is_longer or best.is_slower):
        return [
            f"Of {count(len(tried), 'change')} tried, none makes tours longer or learning "
            "slower than plain Linear's by more than chance would."
        ]
    first = [effect for effect in tried if effect.shows == best.shows]
    most = [f"Of {count(len(tried), 'change')} tried, {_reproduces(first)}."]
    most += [_yardstick(effect) for effect in analysis.control(problem) if effect.variant]
    alone = [f"`{effect.name}`" for effect in first if strikes(effect.name) == "Linear"]
    if alone:
        most.append(f"A swap of Conv1d for Linear can bring in {listed(alone)}.")
    prices = [_price(effect) for effect in tried if effect.price is not None]
    return [" ".join(filter(None, most)), *_other_mistakes(tried[len(first) :]), *prices]


def _alike(effect: Effect) -> str:
    """Of runs that are all late: what is read from that."""
    slowdown = effect.slowdown
    return "" if slowdown.reached else f", as all {slowdown.count} of Linear's do"


def _named(effect: Effect) -> str:
    found = effect.comparison.percent
    percent = f"{signed(found.value)} %, {between(found, 2, sign=True)}"
    if effect.shows == "slower":
        percent = f"{number(effect.slowdown.ratio.value, 1)} times the instances, {percent}"
    if _is_late(effect):
        percent += (
            f", {p_text(effect.p)} after correction; {late(effect.slowdown)}; tours run by run: "
            f"{_singly(effect)}"
        )
    return f"`{effect.name}` ({percent})"


def _yardstick(effect: Effect) -> str:
    """How bad a policy is that has nothing to go by."""
    percent = effect.comparison and effect.comparison.percent
    if percent is None:
        return ""
    is_still = effect.fall is not None and effect.fall.value == 0
    return (
        f"For comparison, a policy that sees no coordinates at all (`{effect.name}`) makes tours "
        f"{change(percent)} ({in_text(percent)})"
        + (", and its greedy tours do not change in training." if is_still else ".")
    )


def _singly(effect: Effect) -> str:
    """Its differences in the order of their size."""
    found = sorted(effect.comparison.percents)
    return f"{listed(signed(percent, 1) for percent in found)} %"


def _reproduces(first: Sequence[Effect]) -> str:
    """What those that show most of longer training with worse results show of it."""
    best, names = first[0], listed(map(_named, first))
    one = len(first) == 1
    if best.shows == "both":
        whose = "" if one else f" of `{best.name}`,"
        return (
            f"{names} {'shows' if one else 'show'} longer training with worse results:{whose} "
            f"{late(best.slowdown)}{_alike(best)}"
        )
    none = "none is shown to make training longer and its results worse in the end"
    if best.shows == "longer tours, stops learning":
        return (
            f"{none}; {names} {'stops' if one else 'stop'} learning: the cost on validation does "
            "not fall after a tenth of the budget, and tours stay longer"
        )
    only = "tours" if best.is_longer else "training"
    return f"{none}; {names} {'makes' if one else 'make'} {only} longer"


def _other_mistakes(others: Sequence[Effect]) -> list[str]:
    """What the changes after the first ones show, most to least."""
    shown: dict[str, list[str]] = {}
    for effect in others:
        shown.setdefault(_kind(effect), []).append(_named(effect))
    return [f"{kind}: {listed(names)}." for kind, names in shown.items()]


def _kind(effect: Effect) -> str:
    end = "equal tours at the end" if effect.is_equivalent else "at the end not decided"
    words = {
        "longer tours, stops learning": "Longer tours, with nothing learned after a tenth of the "
        "budget",
        "longer tours": "Longer tours, slower learning not shown",
        "slower": f"Slower learning, {end}",
    }
    return words.get(effect.shows, "No harm" if effect.is_equivalent else "Not decided")


def _price(effect: Effect) -> str:
    """How much of a change's effect no training can remove."""
    text = (
        f"`{effect.name}` changes what is asked, whatever the layer: near-optimal tours by its "
        f"rule are {change(effect.price)} ({in_text(effect.price)})"
    )
    if effect.slowdown is not None:
        text += f", and towards these {late(effect.slowdown)}"
    return f"{text}."


def late(slowdown: Slowdown) -> str:
    """What a change does to the speed of learning."""
    if missed := slowdown.count - slowdown.reached:
        return (
            f"{missed} of {count(slowdown.count, 'run')} never became as good as Linear is after a "
            "quarter of the budget"
        )
    return (
        f"it needs {number(slowdown.ratio.value, 1)} times the instances "
        f"({between(slowdown.ratio, 1)}) to get where Linear is after a quarter of the budget"
    )
