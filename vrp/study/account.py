"""Section 9: what was run, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from vrp.study.analysis import Analysis, mean_of
from vrp.study.answer import tally
from vrp.study.comparison import variant_name
from vrp.study.document import Block, Items, Section, Table, Text
from vrp.study.records import Run
from vrp.study.wording import count, listed, number, span, title


def account(analysis: Analysis) -> Section:
    """Runs x instances x minutes by sweep, then everything that is not counted."""
    study = analysis.study
    runs = [*study.runs.values(), *study.pilot_runs.values()]
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.sweep, run.problem), []).append(run)
    header = (
        "sweep", "problem", "runs", "counted", "instances each", "batch", "K", "minutes each",
        "hours in all", "threads", "side by side", "precision", "commits",
    )  # fmt: skip
    rows = tuple(_row(analysis, rows) for rows in groups.values())
    lost = _lost(analysis)
    blocks: list[Block] = [
        Table(header, rows),
        Text(
            f"{_hours(study.runs.values())} of training in the study, "
            f"{_hours(study.pilot_runs.values())} in pilots. Minutes are wall-clock with "
            "everything included, of finished runs, and hours are summed over runs: two that ran "
            "at once took half of theirs by the clock. Runs side by side, of one sweep "
            "(`side by side`) or of several, share the machine, so their seconds and rates "
            f"do not compare the encoders. Commits, where runs recorded them, are those at "
            f"which they were saved last. Device: {_words(run.device for run in runs)}; torch "
            f"{_words(run.torch for run in runs)}. {tally(analysis)}"
        ),
        Items(lost) if lost else Text("No run failed, is unfinished or missing."),
    ]
    blocks.append(Items(_settings(runs)))
    if study.pilot_runs:
        pilots = [f"`{run.sweep}/{run.run}` ({run.status})" for run in study.pilot_runs.values()]
        blocks.append(Text(f"Pilot, never counted: {', '.join(pilots)}."))
    if notes := (*analysis.plan.notes, *analysis.remarks):
        blocks.append(Items(notes))
    return Section("What was run", tuple(blocks))


def _settings(runs: Iterable[Run]) -> tuple[str, ...]:
    """What has no column of its own, each once, with the sweeps that have it."""
    found: dict[str, list[str]] = {}
    for run in runs:
        text = f"{run.policy} policy, learning rate {run.learning_rate:g}, {run.settings}"
        found.setdefault(text, []).append(f"`{run.sweep}`")
    return tuple(
        f"Settings of {listed(dict.fromkeys(sweeps))}: {text}." for text, sweeps in found.items()
    )


def _row(analysis: Analysis, runs: list[Run]) -> tuple[str, ...]:
    counted = sum(run.key in analysis.study.counted for run in runs)
    timed = [run for run in runs if run.seconds is not None]
    ended = [run.seconds / 60 for run in timed if run.status == "finished"]
    seen = [run.instances for run in runs if run.status == "finished"]
    return (
        runs[0].sweep,
        title(runs[0].problem),
        str(len(runs)),
        "pilot" if runs[0].is_pilot else str(counted),
        span(seen or [run.budget for run in runs]),
        span(run.batch_size for run in runs),
        span(run.num_rollouts for run in runs),
        span(ended, 1),
        number(sum(run.seconds for run in timed) / 3600, 1),
        span(run.threads for run in runs if run.threads is not None),
        span(run.side_by_side for run in runs if run.side_by_side is not None),
        _words(run.precision for run in runs),
        _commits(runs),
    )


def _hours(runs: Iterable[Run]) -> str:
    runs = list(runs)
    seconds = mean_of(runs, "seconds")
    hours = 0.0 if seconds is None else seconds.value * seconds.count / 3600
    return f"{count(len(runs), 'run')} and {number(hours, 1)} hours"


def _words(values: Iterable[str]) -> str:
    return ", ".join(sorted({value for value in values if value})) or "-"


def _commits(runs: Sequence[Run]) -> str:
    """Each with the number of runs that recorded it, unless all did."""
    found = Counter(run.commit for run in runs if run.commit)
    if list(found.values()) == [len(runs)]:
        return next(iter(found))
    return ", ".join(f"{commit} ({n} of {len(runs)})" for commit, n in sorted(found.items())) or "-"


def _lost(analysis: Analysis) -> tuple[str, ...]:
    """A sentence for every run of the study that is not counted."""
    study = analysis.study
    items = []
    for key, run in study.runs.items():
        if key in study.counted:
            continue
        what = f"`{run.sweep}/{run.run}` ({variant_name(run.encoder, run.variant)}, "
        what += f"seed {run.seed}): "
        if run.status == "finished":
            what += "finished but not tested"
        elif run.status == "stopped" and run.instances is not None:
            what += f"unfinished, {run.instances:,} of {run.budget:,} instances"
        else:
            what += run.status
        items.append(what + (f": {_one_line(run.error)}" if run.error else ""))
    for encoder in dict.fromkeys(encoder for encoder, _ in study.absent):
        seeds = [str(seed) for name, seed in study.absent if name == encoder]
        items.append(
            f"{encoder}, seed{'s' if len(seeds) > 1 else ''} {listed(seeds)}: in the plan, but not "
            "in the runs file"
        )
    return tuple(items)


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("`", "'").replace("*", "\\*")
