"""What the answer says of Embedding: what it costs, after how long, where, with which table."""

from __future__ import annotations

from vrp.study.analysis import Analysis, mean_of
from vrp.study.answer_changes import late
from vrp.study.comparison import Comparison
from vrp.study.embedding import bins_of, kind_of
from vrp.study.learning import LATE, flatness, late_fall
from vrp.study.wording import change, count, estimate, in_text, number, title


def embedding_costs(analysis: Analysis) -> list[str]:
    """At the plan's budget, after longer ones, in other tests, and the best of other tables."""
    problem = analysis.plan.problem
    test = analysis.study.main_test(problem)
    found = test and analysis.study.against_linear("embedding", "", test)
    if not found:
        return ["No data."]
    percent = found.percent
    seeds = f", {len(found.seeds)} seeds" if len(found.seeds) > 1 else ""
    text = f"Embedding's tours are {change(percent)} than Linear's ({in_text(percent)}{seeds})"
    sizes = [mean_of(rows, "parameters") for rows in (found.ours, found.theirs)]
    if None not in sizes:
        text += f", with {number(sizes[0].value, 0)} parameters against {number(sizes[1].value, 0)}"
    p = analysis.adjusted_difference(found)
    if p is None or p >= analysis.plan.alpha:
        text += ": neither a cost nor a gain is shown"
    else:
        text += ": it costs tour length" if percent.value > 0 else ": it shortens tours"
    text += f" at {found.ours[0].instances:,} instances{_still_falling(analysis, found)}."
    plain = next((e for e in analysis.tables(problem) if not e.variant), None)
    if plain is not None and plain.slowdown is not None:
        text += f" In learning, {late(plain.slowdown)}."
    longer = [_after_more(analysis, other) for other in _longer(analysis).values()]
    return [text, *longer, *_embedding_elsewhere(analysis), *_best_table(analysis, problem)]


def _still_falling(analysis: Analysis, found: Comparison) -> str:
    fall = late_fall(analysis.points, found.ours, LATE)
    if fall is None or fall.low <= 0 or flatness(fall, found.margin_percent) == "yes":
        return ""
    return f", where its curve still falls by {number(fall.value, 2)} % in the last quarter"


def _longer(analysis: Analysis) -> dict[str, Comparison]:
    """Against linear on the plan's problem after more instances, both after as many."""
    start = f"{analysis.plan.problem}-instances"
    problems = [problem for problem in analysis.study.problems if problem.startswith(start)]
    tests = {problem: analysis.study.main_test(problem) for problem in problems}
    found = {p: analysis.study.against_linear("embedding", "", t) for p, t in tests.items()}
    return {problem: comparison for problem, comparison in found.items() if comparison}


def _after_more(analysis: Analysis, found: Comparison) -> str:
    budget, seeds = found.ours[0].instances, count(len(found.seeds), "seed")
    text = (
        f"Trained anew for {budget:,} instances its tours are {change(found.percent)} than "
        f"Linear's after as many ({in_text(found.percent)}, {seeds}"
        f"{_unless_shown(analysis, found)})"
    )
    runs = analysis.study.plain(found.test)["embedding"].values()
    fall = late_fall(analysis.points, runs, LATE)
    if fall is not None:
        states = {"yes": "flat", "no": "not flat", "not shown": "not shown to be flat"}
        text += (
            f"; its curve is {states[flatness(fall, found.margin_percent)]} then by the rule of "
            "section 8, it falls by "
            f"{estimate(fall, 2, unit=' %')} in the last quarter ({count(fall.count, 'seed')})"
        )
    return f"{text}."


def _best_table(analysis: Analysis, problem: str) -> list[str]:
    tried = [e for e in analysis.tables(problem) if e.variant and e.comparison is not None]
    if not tried:
        return []
    best = min(tried, key=lambda effect: effect.comparison.percent.value)
    percent, seeds = best.comparison.percent, len(best.comparison.seeds)
    several = f", {seeds} seeds" if seeds > 1 else ""
    text = (
        f"Of {count(len(tried), 'other table')} tried, the best by its mean has "
        f"{bins_of(best.variant)} bins ({kind_of(best.variant)}; section 7): its tours are "
        f"{change(percent)} than Linear's ({in_text(percent)}{several})"
    )
    return [text + ("; chosen as the best, it is flattered." if len(tried) > 1 else ".")]


def _embedding_elsewhere(analysis: Analysis) -> list[str]:
    """In all other tests against linear."""
    told = [analysis.study.main_test(p) for p in (analysis.plan.problem, *_longer(analysis))]
    parts = []
    for c in analysis.secondary:
        if (c.name, c.reference) != ("embedding", "linear") or c.test in told:
            continue
        is_clustered = "clustered" in c.test.test_set
        where = "clustered instances" if is_clustered else title(c.test.problem)
        if is_clustered and c.test.problem != analysis.plan.problem:
            where += f", trained on {title(c.test.problem)},"
        how = "" if c.test.decode == analysis.plan.decode else f", {c.test.decode},"
        rest = in_text(c.percent) + _unless_shown(analysis, c)
        is_main = c.test == analysis.study.main_test(c.test.problem)
        rest += _still_falling(analysis, c) if is_main else ""
        parts.append(f"on {where}{how} {change(c.percent)} ({rest})")
    return [f"Its tours elsewhere: {'; '.join(parts)}."] if parts else []


def _unless_shown(analysis: Analysis, comparison: Comparison) -> str:
    p = analysis.adjusted_difference(comparison)
    return "" if p is not None and p < analysis.plan.alpha else ", not shown after correction"
