"""How fast this code and RL4CO learn: `python scripts/race_rl4co.py`.

Both train POMO's network on the CPU for `max_time` seconds each, with the same batch size, tours of
an instance, optimizer and clipping, and a learning rate that falls from the same value to zero
within that time. They take turns on one machine, each in a process of its own; the clock stands
still while the other trains, and while the validation set is solved, from every customer greedily.
Both start with this project's settings of malloc (heap.py), which do RL4CO no harm.
Writes race.csv and race.svg to the run's folder; Ctrl-C keeps the turns that are done.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/race_rl4co.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.heap import settle_heap  # noqa: E402

if __name__ == "__main__":
    settle_heap()  # before the imports that take time

from scripts.launcher import Job, launch  # noqa: E402
from scripts.schema import TrainConfig  # noqa: E402
from scripts.turns import Player  # noqa: E402

_TURNS = 15
_COLOURS = ("#0072B2", "#D55E00")


@dataclass(frozen=True)
class Moment:
    """What a code has learned after a turn.

    Attributes:
        code: its name.
        seconds: of training.
        instances: trained on.
        cost: mean of the validation set.
        gap: percent above near-optimal costs, or None where they are not known.
    """

    code: str
    seconds: float
    instances: int
    cost: float
    gap: float | None


def prepare(job: Job) -> Callable[[], None]:
    """Check that both can do what the config says."""
    from scripts.peers import check_comparable
    from vrp.training.tour_figure import can_draw

    if job.config["device"] == "cuda":
        raise ValueError("device is cuda; this comparison is for the CPU")
    if job.config["max_time"] is None:
        raise ValueError("max_time is null; it must be the seconds that each code trains")
    if not job.config["multistart"]:
        raise ValueError("multistart is false; this comparison is for a tour from each customer")
    check_comparable(job.config)
    if not can_draw():
        raise ValueError(
            "the figure needs matplotlib: pip install -c constraints.txt -e '.[study]'"
        )
    return partial(race, job.config, job.run_folder)


def race(config: dict, folder: Path) -> None:
    """Let both take turns; write after each."""
    from tqdm import tqdm

    from scripts import peers
    from vrp.problem.datasets import gap_percent
    from vrp.training.build import build_generator
    from vrp.training.validation import make_validation

    budget, batch = config["max_time"], config["batch_size"]
    wanted = config["validation"]
    validation = make_validation(
        build_generator(config), wanted["set"], wanted["limit"], "multistart"
    )
    known = validation.reference_cost
    found: list[Moment] = []
    with Player(peers.Ours, config) as ours, Player(peers.Rl4co, config) as theirs:
        players = dict(zip(peers.names(), (ours, theirs), strict=True))
        seconds, instances = dict.fromkeys(players, 0.0), dict.fromkeys(players, 0)
        for turn in tqdm(range(_TURNS + 1), "turns", disable=not config["progress"] or None):
            for name, player in players.items():
                if turn:
                    due = budget * turn / _TURNS - seconds[name]
                    steps, spent = player("train", due, seconds[name], budget)[0]
                    seconds[name] += spent
                    instances[name] += steps * batch
                cost = player("solve", validation.instances)[0].numpy()
                gap = None if known is None else gap_percent(cost, known)[0]
                moment = Moment(name, seconds[name], instances[name], float(cost.mean()), gap)
                found.append(moment)
                tqdm.write(describe(moment))
            write(found, folder / "race.csv")
            if turn:
                draw(
                    found,
                    f"{len(validation.instances):,} of {validation.name}",
                    folder / "race.svg",
                )
    print(f"written: {folder}: race.csv, race.svg")


def describe(moment: Moment) -> str:
    """A line."""
    gap = "" if moment.gap is None else f"  gap {moment.gap:.2f} %"
    return (
        f"{moment.code:<14} {moment.seconds:6.0f} s  {moment.instances:>9,} instances  "
        f"cost {moment.cost:.4f}{gap}"
    )


def write(moments: list[Moment], path: Path) -> None:
    """A row for each."""
    from vrp.whole_file import whole_file

    with whole_file(path, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([field.name for field in fields(Moment)])
        for moment in moments:
            code, seconds, instances, cost, gap = astuple(moment)
            shown = "" if gap is None else f"{gap:.4f}"
            rows.writerow([code, f"{seconds:.1f}", instances, f"{cost:.5f}", shown])


def draw(moments: list[Moment], title: str, path: Path) -> None:
    """Gap, or cost where near-optimal ones are not known, over minutes of training."""
    from vrp.study.drawing import DRAWN_ALIKE, to_svg
    from vrp.whole_file import whole_file

    content = DRAWN_ALIKE(lambda: to_svg(_figure(moments, title)))()
    with whole_file(path) as file:
        file.write(content)


def _figure(moments: list[Moment], title: str) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    panel = figure.subplots()
    has_gap = moments[0].gap is not None
    for code, colour in zip(dict.fromkeys(m.code for m in moments), _COLOURS, strict=True):
        own = [m for m in moments if m.code == code and m.instances]
        heights = [m.gap if has_gap else m.cost for m in own]
        minutes = [m.seconds / 60 for m in own]
        panel.plot(minutes, heights, "o-", color=colour, markersize=3, label=code)
        for x, y in [*zip(minutes, heights, strict=True)][-1:]:
            shown = f"{y:.2f} %" if has_gap else f"{y:.3f}"
            panel.annotate(
                shown, (x, y), xytext=(0, 6), textcoords="offset points", color=colour, ha="right"
            )
    what = "gap of multi-start tours (%)" if has_gap else "cost of multi-start tours"
    panel.set(xlabel="minutes of training", ylabel=what, title=title, xlim=(0, None))
    if has_gap:
        panel.set_yscale("log")
        panel.yaxis.set_minor_locator(LogLocator(subs=(1.5, 2, 2.5, 3, 4, 5, 6, 7, 8)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter("{x:g}")
    panel.grid(which="both", alpha=0.25)
    panel.legend()
    return figure


if __name__ == "__main__":
    launch(prepare, TrainConfig, "race")
