"""What an evaluation prints: its result, the literature beside it, and what to type next."""

from __future__ import annotations

from pathlib import Path

from vrp.evaluation.following import Following
from vrp.evaluation.published import PUBLISHED, Entry
from vrp.evaluation.stopping import COMPLETE, TIME_LIMIT
from vrp.problem.datasets import CAPACITY

_NAZARI_DRAW = 1000  # instances; the smallest draw of the literature


def report(summary: dict, output: Path, written: list[str], after: Following) -> str:
    """The result for people; the last line is a command to go on with.

    Args:
        summary: as `Evaluation.summary` makes it.
        output: folder of the results.
        written: the files in it.
        after: what to type next.
    """
    n, total = summary["instances"], summary["set_instances"]
    lines = {
        "checkpoint": _checkpoint(summary),
        "set": f"{summary['data']}{_other_name(summary)}, {_problem(summary)}, "
        + (f"all {n:,} instances" if n == total else f"the first {n:,} of {total:,} instances"),
        "caution": caution(summary["outside_training"]) if summary["outside_training"] else "",
        "decoding": f"{summary['decode']}, {_deliveries(summary)}",
        "stopped": _ended(summary),
        "mean cost": f"{summary['mean_cost']:.4f} ± {summary['standard_error']:.4f} standard error "
        f"over {n:,} instances (standard deviation {summary['std_cost']:.4f})",
        "gap": _gap(summary),
        "time": f"{summary['seconds']:.2f} s on {summary['device']}, "
        f"{_rate(n / summary['seconds'])} instances/s",
        "published": "\n".join(_published(summary)),
        "written": f"{output}: {', '.join(written)}",
        "next takes": _guess(after.seconds),
        "next": after.command,
    }
    return "\n".join(f"{label + ':':<14}{text}" for label, text in lines.items() if text)


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"


def _guess(seconds: float | None) -> str:
    return "" if seconds is None else f"about {duration(seconds)}, a rough guess"


def caution(outside: list[str]) -> str:
    """What to keep in mind where instances differ from those of training."""
    return "outside the training distribution: " + "; ".join(outside)


def duration(seconds: float) -> str:
    """A rough time in words."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 1.5 else "a second"


def _ended(summary: dict) -> str:
    """Why the work was cut short, and how much of it is done; empty if all is."""
    ended = summary["ended"]
    if ended == COMPLETE:
        return ""
    reasons = {
        TIME_LIMIT: "at the time limit",
        "SIGINT": "by Ctrl-C",
        "SIGTERM": "by SIGTERM",
    }
    asked = summary["asked_instances"]
    of_all = "" if summary["instances"] == asked else f" of {asked:,} that were asked for"
    return (
        f"{reasons.get(ended, f'by an error: {ended}')}, with {100 * summary['work']:.3g} % of the "
        f"work done: {summary['instances']:,} instances{of_all}"
    )


def _checkpoint(summary: dict) -> str:
    typed, file, seen = (
        summary[key] for key in ("checkpoint", "checkpoint_file", "trained_instances")
    )
    taken = "" if typed.endswith(file) else f", {file} of it"
    return f"{typed}{taken}" + ("" if seen is None else f", after {seen:,} training instances")


def _other_name(summary: dict) -> str:
    standard = summary["standard_set"]
    return "" if standard in (None, summary["data"]) else f" (which is {standard})"


def _problem(summary: dict) -> str:
    return f"{summary['num_customers']} customers, capacity {summary['capacity'] or 'mixed'}"


def _deliveries(summary: dict) -> str:
    return "split deliveries" if summary["split_delivery"] else "whole deliveries"


def _gap(summary: dict) -> str:
    known, count = summary["reference"], summary["gap_instances"]
    if summary["split_delivery"]:
        return "none: the reference does not split"
    if known is None:
        return f"none: there are no reference costs of {summary['data']}"
    which = "all" if count == summary["instances"] else "the first"
    text = (
        f"{summary['mean_gap_percent']:.2f} % over {which} {count:,} instances, to the "
        f"{known['mean_cost']:.4f} of {known['solver']} with {known['time_limit']:g} s each"
    )
    if check := known["check"]:
        text += (
            f" (with {check['time_limit']:g} s: {check['mean_improvement_percent']:.3f} % shorter, "
            f"tried on {check['instances']})"
        )
    return text


def _published(summary: dict) -> list[str]:
    """Our mean beside the published ones: on our very instances first, then on others."""
    size, split = summary["num_customers"], summary["split_delivery"]
    found = [e for e in PUBLISHED if (e.num_customers, e.split_delivery) == (size, split)]
    problem = f"{_problem(summary)}, {_deliveries(summary)}"
    if CAPACITY.get(size) != summary["capacity"] or not found:
        return [f"none known for {problem}"]
    is_kool = summary["standard_set"] == f"kool{size}"
    same = [e for e in found if is_kool and e.instances == "kool"]
    others = [e for e in found if e not in same]
    cost, n = summary["mean_cost"], summary["instances"]
    lines = [problem]
    if same:
        ours = "as ours" if n == 10_000 else f"ours on the first {n:,}"
        lines += [f"  on these instances, all 10,000 of them, {ours}:", *_rows(cost, same)]
    if others:
        # Two standard errors of the difference of two draws, theirs as small as Nazari's
        chance = 2 * summary["std_cost"] * (1 / n + 1 / _NAZARI_DRAW) ** 0.5
        lines += [
            f"  on other instances, so the draw alone may differ by {chance:.2f}:",
            *_rows(cost, others),
        ]
    return lines


def _rows(cost: float, entries: list[Entry]) -> list[str]:
    return [
        f"  {entry.cost:8.2f}  ours {100 * (cost / entry.cost - 1):+6.1f} %  "
        f"{entry.method:<29}{entry.source}{f'; {entry.note}' if entry.note else ''}"
        for entry in sorted(entries, key=lambda entry: entry.cost)
    ]
