"""What encoders lose where part of the square was rare in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from vrp.study.comparison import SETTINGS, BySeed, by_seed, check_comparable
from vrp.study.statistics import Interval, difference_p, paired_difference
from vrp.study.study import BANDED, Study

_TRAINED_ALIKE = tuple(setting for setting in SETTINGS if setting != "problem")


@dataclass(frozen=True, eq=False)
class Rare:
    """Runs of banded problems, tested on the plan's uniform set as their uniform partners are.

    Attributes:
        banded: by encoder and seed.
        uniform: partners of the same encoder and seed, where there are any.
    """

    banded: Mapping[str, BySeed]
    uniform: Mapping[str, BySeed]

    def losses(self, encoder: str) -> dict[int, float]:
        """By how many percent a seed's tours are longer, by seed."""
        partners = self.uniform.get(encoder, {})
        runs = self.banded.get(encoder, {})
        return {s: 100 * (runs[s].cost / partners[s].cost - 1) for s in partners}

    @cached_property
    def _pairs(self) -> tuple[list[float], list[float]]:
        ours, theirs = self.losses("embedding"), self.losses("linear")
        seeds = sorted(ours.keys() & theirs.keys())
        return [ours[s] for s in seeds], [theirs[s] for s in seeds]

    @cached_property
    def more(self) -> Interval | None:
        """Embedding's loss minus Linear's, in percentage points; None without a pair."""
        return paired_difference(*self._pairs) if self._pairs[0] else None

    @cached_property
    def p(self) -> float | None:
        """Of the two-sided paired t-test of `more`; None without two pairs."""
        return difference_p(*self._pairs) if len(self._pairs[0]) > 1 else None


def rarely_seen(study: Study) -> Rare | None:
    """Of unchanged encoders; None without a run.

    Raises:
        ValueError: if partners were not trained alike, or two runs share encoder and seed.
    """
    test = study.planned_test
    asked = (test.test_set, test.decode)
    rows = [
        run
        for run in study.tested
        if run.problem.startswith(BANDED)
        and not run.variant
        and (run.test_set, run.decode) == asked
    ]
    if not rows:
        return None
    plain = study.plain(test)
    banded, uniform = {}, {}
    for encoder in sorted({run.encoder for run in rows}):
        runs = by_seed(run for run in rows if run.encoder == encoder)
        usual = plain.get(encoder, {})
        check_comparable([*runs.values(), *usual.values()], _TRAINED_ALIKE)
        banded[encoder] = dict(sorted(runs.items()))
        uniform[encoder] = {seed: usual[seed] for seed in banded[encoder] if seed in usual}
    return Rare(banded, uniform)
