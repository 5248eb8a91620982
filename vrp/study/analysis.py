"""All results of the study, computed once; the report only words them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from vrp.study.comparisons import Comparison, Study, Test, variant_name
from vrp.study.learning import Curves, Slowdown
from vrp.study.plan import Plan
from vrp.study.records import CurvePoint, Run
from vrp.study.statistics import Interval, holm, mean_interval

Verdict = Literal["equivalent", "different", "undecided", "no data"]


@dataclass(frozen=True)
class Effect:
    """What a variant does, against plain linear of the same seeds.

    Attributes:
        encoder: of the variant.
        variant: its name in runs.csv.
        rows: its counted runs in the test.
        comparison: of the final costs; None without partners.
        slowdown: of the learning; None without curves.
    """

    encoder: str
    variant: str
    rows: tuple[Run, ...]
    comparison: Comparison | None
    slowdown: Slowdown | None

    @property
    def name(self) -> str:
        """As the report calls it."""
        return variant_name(self.encoder, self.variant)

    @property
    def is_longer(self) -> bool:
        """Whether its tours are longer, by the whole interval."""
        return self.comparison is not None and self.comparison.percent.low > 0

    @property
    def is_slower(self) -> bool:
        """Whether it needs more instances, by the whole interval."""
        return self.slowdown is not None and self.slowdown.ratio.low > 1

    @property
    def rank(self) -> tuple:
        """Small for what is both slower and longer, then longer, then slower, then by effect."""
        percent = -math.inf if self.comparison is None else self.comparison.percent.value
        group = 3 - 2 * self.is_longer - self.is_slower
        return group, -percent, self.name


class Analysis:
    """The study's runs and curves, with everything that the report says about them.

    Args:
        runs: all lines of runs.csv.
        curves: all lines of curves.csv.
        plan: of the study.

    Raises:
        ValueError: if runs that belong to one comparison differ in a setting; names them.
    """

    def __init__(self, runs: Iterable[Run], curves: Iterable[CurvePoint], plan: Plan) -> None:
        self.plan = plan
        self.study = Study(runs, plan)
        self.points = list(curves)
        self.primary = self.study.primary()
        self.secondary = self.study.secondary()
        self.effects = {
            problem: self._effects(problem)
            for problem in dict.fromkeys(
                [*self.study.problems, *(r.problem for r in self.study.tested)]
            )
        }
        self._adjusted = self._adjust()

    def slowdown(self, comparison: Comparison | None) -> Slowdown | None:
        """Of the learning of a comparison's first kind; None without partners or curves."""
        if comparison is None:
            return None
        # Only these two kinds: another one without gaps shall not turn gaps into costs.
        return Curves(self.points, [*comparison.ours, *comparison.theirs]).slowdown(comparison)

    def main_test(self, problem: str) -> Test | None:
        """The one that a problem's variants are judged by."""
        return self.study.primary_test(problem)

    def _effects(self, problem: str) -> list[Effect]:
        test = self.main_test(problem)
        found = []
        for (encoder, variant), rows in self.study.variants(problem).items():
            comparison = None
            if test is not None:
                rows = [r for r in rows if (r.test_set, r.decode) == (test.test_set, test.decode)]
                comparison = self.study.against_linear(encoder, variant, test)
            slowdown = self.slowdown(comparison)
            found.append(Effect(encoder, variant, tuple(rows), comparison, slowdown))
        return sorted(found, key=lambda effect: effect.rank)

    def suspects(self, problem: str) -> list[Effect]:
        """The variants of linear and conv1d, the best reproduction first."""
        return [e for e in self.effects.get(problem, []) if e.encoder != "embedding"]

    def tables(self, problem: str) -> list[Effect]:
        """The variants of embedding."""
        return [e for e in self.effects.get(problem, []) if e.encoder == "embedding"]

    @property
    def family(self) -> list[Comparison]:
        """All secondary comparisons: Holm's correction of differences is over these."""
        effects = [e.comparison for row in self.effects.values() for e in row]
        return [c for c in (*self.secondary, *effects) if c is not None and c.p is not None]

    @property
    def equivalence_family(self) -> list[Comparison]:
        """Those of the encoders of the primary question; of others equivalence is not asked."""
        pair = set(self.plan.encoders)
        return [c for c in self.secondary if {c.name, c.reference} == pair and c.p is not None]

    def _adjust(self) -> tuple[dict[Comparison, float], dict[Comparison, float]]:
        family = self.family
        difference = holm([c.p for c in family])
        asked = self.equivalence_family
        equivalence = holm([c.equivalence.p for c in asked])
        return (
            dict(zip(family, difference, strict=True)),
            dict(zip(asked, equivalence, strict=True)),
        )

    def adjusted_difference(self, comparison: Comparison | None) -> float | None:
        """Holm's p of the difference; None without two seeds."""
        return self._adjusted[0].get(comparison)

    def adjusted_equivalence(self, comparison: Comparison) -> float | None:
        """Holm's p of the equivalence; None where it is not asked, or without two seeds."""
        return self._adjusted[1].get(comparison)

    @cached_property
    def verdict(self) -> Verdict:
        """Of the primary question."""
        if self.primary is None or self.primary.equivalence is None:
            return "no data"
        if self.primary.equivalence.p < self.plan.alpha:
            return "equivalent"
        return "different" if self.primary.p < self.plan.alpha else "undecided"

    def speedup(self, test: Test, name: str, reference: str) -> Interval | None:
        """Instances per second in training steps, as a ratio by seed, with its interval.

        None without pairs, or where threads or devices differ.
        """
        plain = self.study.plain(test)
        both = [plain.get(key, {}) for key in (name, reference)]
        seeds = sorted(set(both[0]) & set(both[1]))
        pairs = [(both[0][seed], both[1][seed]) for seed in seeds]
        machines = {(run.threads, run.device) for pair in pairs for run in pair}
        rates = [(rate(a), rate(b)) for a, b in pairs]
        rates = [pair for pair in rates if None not in pair]
        if not rates or len(machines) > 1:
            return None
        found = mean_interval([math.log(a / b) for a, b in rates])
        low, high = (math.exp(x) if x < 700 else math.inf for x in (found.low, found.high))
        return Interval(math.exp(found.value), low, high, found.count)


def rate(run: Run) -> float | None:
    """Instances per second in training steps; None where none were measured."""
    if not run.train_seconds or not run.instances:
        return None
    return run.instances / run.train_seconds


def costs(rows: Iterable[Run]) -> list[float]:
    """Of tested runs."""
    return [run.cost for run in rows if run.cost is not None]


def mean_of(rows: Sequence[Run], column: str) -> Interval | None:
    """Over the runs that have it."""
    values = [getattr(run, column) for run in rows if getattr(run, column) is not None]
    return mean_interval(values) if values else None
