"""What two single runs say: how often chance alone shows a difference between them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vrp.study.analysis import Analysis, costs
from vrp.study.comparison import BySeed, Test
from vrp.study.document import Block, Picture, Table, Text
from vrp.study.learning import Band, values_at
from vrp.study.learning_figures import chance_lines
from vrp.study.statistics import mean_interval, one_seed
from vrp.study.wording import name, number, share, title

_SHOWN = (1, 2)  # percent: differences that a single pair of runs is asked for
_PARTS = (0.1, 0.25, 0.5, 1.0)  # of the budget
_FINE = tuple(part / 20 for part in range(2, 21))


def single_seed(analysis: Analysis) -> list[Block]:
    """How often chance alone shows a difference between two single runs."""
    rows = []
    for test, encoder, by_seed in _plain(analysis):
        values = costs(by_seed.values())
        spread = mean_interval(values)
        one, two = (one_seed(values, percent) for percent in _SHOWN)
        rows.append(
            (
                str(test),
                name(encoder),
                str(len(values)),
                f"{number(100 * spread.sd / spread.value, 2)} %",
                f"{number(one.largest, 2)} %",
                share(one.share),
                share(one.normal_share),
                share(two.share),
                share(two.normal_share),
            )
        )
    if not rows:
        return [Text("One seed only: no data, it takes three counted runs of one encoder.")]
    text = (
        "**One seed only.** Two runs of one encoder that differ in nothing but the seed: how often "
        "does the one's tour length differ from the other's by this much? The share of all ordered "
        "pairs of seeds, with a bootstrap interval over seeds where there are eight and the share "
        "is not 0. `if normal`: the share for normal outcomes with this standard deviation, and "
        "with the ends of its interval."
    )
    header = (
        "test", "encoder", "seeds", "sd over seeds", "largest difference",
        "1 % or more, of all pairs", "if normal", "2 % or more, of all pairs", "if normal",
    )  # fmt: skip
    return [Text(text), Table(header, tuple(rows)), *_single_seed_midway(analysis)]


def _single_seed_midway(analysis: Analysis) -> list[Block]:
    """The same for two runs that are looked at before their end."""
    rows = []
    for test, encoder, by_seed in _plain(analysis):
        found = [values_at(analysis.points, by_seed.values(), part) for part in _PARTS]
        if min(map(len, found)) < 3:
            continue
        pairs = [[one_seed(values, percent).share for percent in _SHOWN] for values in found]
        cells = ("; ".join(map(share, both)) for both in pairs)
        rows.append((title(test.problem), name(encoder), str(len(found[0])), *cells))
    rows = list(dict.fromkeys(rows))
    if not rows:
        return []
    text = (
        "**One seed, looked at early.** The same shares for the cost on the validation set during "
        "training: 1 % or more; 2 % or more, with their bootstrap intervals. The runs have K "
        "tours per instance and a learning rate that falls to zero; with one tour and a constant "
        "rate the end would spread as well."
    )
    header = (
        "problem", "encoder", "seeds", *(f"after {100 * part:g} % of the budget" for part in _PARTS)
    )  # fmt: skip
    return [Text(text), Table(header, tuple(rows)), *_chance_figure(analysis)]


def _chance_figure(analysis: Analysis) -> list[Block]:
    """How the share of pairs that differ by a percent falls over the budget."""
    problem, bands = analysis.plan.problem, {}
    for test, encoder, by_seed in _plain(analysis):
        found = [values_at(analysis.points, by_seed.values(), part) for part in _FINE]
        if (
            test.problem == problem
            and encoder in analysis.plan.encoders
            and min(map(len, found)) > 2
        ):
            shares = [one_seed(values, 1).share.scaled(100) for values in found]
            bands[encoder] = Band(
                np.array([100 * part for part in _FINE]),
                np.array([share.value for share in shares]),
                *(
                    np.where([share.is_bounded for share in shares], ends, np.nan)
                    for ends in zip(*((share.low, share.high) for share in shares), strict=True)
                ),
                len(found[0]),
            )
    if not bands:
        return []
    svg = chance_lines(bands)
    caption = (
        f"{title(problem)}: of the pairs of runs that differ in nothing but the seed, how many are "
        "1 % or more apart on validation, over the budget; with bootstrap intervals over seeds "
        "between places where the share is not 0."
    )
    return [Picture("one-seed.svg", svg, caption)]


def _plain(analysis: Analysis) -> Iterator[tuple[Test, str, BySeed]]:
    """Test, encoder and runs by seed, where there are three."""
    for problem in analysis.study.problems:
        test = analysis.study.main_test(problem)
        for encoder, by_seed in analysis.study.plain(test).items():
            if len(by_seed) > 2:
                yield test, encoder, by_seed
