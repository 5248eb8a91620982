"""All results of the study, computed once; the report only words them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from vrp.study.comparison import Comparison, variant_name
from vrp.study.learning import LATE, Curves, Slowdown, late_fall
from vrp.study.plan import Plan
from vrp.study.price import price, without
from vrp.study.rare import Rare, rarely_seen
from vrp.study.records import BLIND, CurvePoint, Run
from vrp.study.statistics import Interval, holm, mean_interval
from vrp.study.steps import StepTime
from vrp.study.study import Study

Verdict = Literal["equivalent", "different", "undecided", "no data"]
_STUCK = 0.1  # share of the budget after which a run is asked whether it still learns


@dataclass(frozen=True)
class Effect:
    """What a variant does, against plain linear of the same seeds.

    Attributes:
        encoder: of the variant.
        variant: its name in runs.csv.
        rows: its counted runs in the test.
        comparison: of the final costs; None without partners.
        slowdown: of the learning; None without curves that can be compared.
        price: of the rules that the variant brings, on the instances it is tested on; None where
            they are the usual ones.
        fall: of the validation cost after the first tenth of the budget, in percent; None without
            curves.
        last_fall: the same in the last quarter.
        p: of a difference in cost, after Holm's correction; None without two pairs, of the primary
            question's two encoders, and of the blind encoder.
        p_equivalence: of equivalence, likewise, and None of Embedding.
        p_slowdown: of another speed of learning, after Holm's correction over all effects of the
            study; None without two pairs that got there.
        alpha: level of all.
    """

    encoder: str
    variant: str
    rows: tuple[Run, ...]
    comparison: Comparison | None
    slowdown: Slowdown | None
    price: Interval | None
    fall: Interval | None
    last_fall: Interval | None
    p: float | None
    p_equivalence: float | None
    p_slowdown: float | None
    alpha: float

    @property
    def name(self) -> str:
        """As the report calls it."""
        return variant_name(self.encoder, self.variant)

    @property
    def is_different(self) -> bool:
        """Whether its tours are of another length."""
        return self.p is not None and self.p < self.alpha

    @property
    def is_longer(self) -> bool:
        """Whether its tours are longer."""
        return self.is_different and self.comparison.percent.value > 0

    @property
    def is_equivalent(self) -> bool:
        """Whether its tours are as long, within the margin."""
        return self.p_equivalence is not None and self.p_equivalence < self.alpha

    @property
    def is_slower(self) -> bool:
        """Whether it needs more instances.

        Of a kind of which no run ever gets where plain linear is early, the final cost decides.
        """
        if self.slowdown is None:
            return False
        if not self.slowdown.reached:
            return self.is_longer
        is_other = self.p_slowdown is not None and self.p_slowdown < self.alpha
        return is_other and self.slowdown.ratio.value > 1

    @property
    def is_stuck(self) -> bool:
        """Whether it learns nothing after the first tenth of its budget."""
        if self.fall is None or self.comparison is None:
            return False
        return self.fall.value < self.comparison.margin_percent

    @property
    def shows(self) -> str:
        """What it has of the observation, longer training with worse results; `-` if not tested."""
        if self.p is None:
            return "-"
        if self.is_stuck and self.is_longer:
            return "longer tours, stops learning"
        both = {(True, True): "both", (True, False): "longer tours", (False, True): "slower"}
        return both.get((self.is_longer, self.is_slower), "neither")

    @property
    def rank(self) -> tuple:
        """Small for what is slower and longer and yet learns, then by how much it has of it."""
        kinds = ("both", "longer tours, stops learning", "longer tours", "slower", "neither", "-")
        percent = -math.inf if self.comparison is None else self.comparison.percent.value
        return kinds.index(self.shows), -percent, self.name


class Analysis:
    """The study's runs and curves, with everything that the report says about them.

    Args:
        runs: all lines of runs.csv.
        curves: all lines of curves.csv.
        plan: of the study.
        remarks: sentences for the account, written after the plan.
        steps: all lines of steps.csv.

    Raises:
        ValueError: if runs that belong to one comparison differ in a setting; names them.
    """

    def __init__(
        self,
        runs: Iterable[Run],
        curves: Iterable[CurvePoint],
        plan: Plan,
        remarks: Sequence[str] = (),
        steps: Sequence[StepTime] = (),
    ) -> None:
        self.plan = plan
        self.remarks = tuple(remarks)
        self.steps = tuple(steps)
        self.study = Study(runs, plan)
        self.points = list(curves)
        self.primary = self.study.primary()
        self.secondary = self.study.secondary()
        problems = dict.fromkeys([*self.study.problems, *(r.problem for r in self.study.tested)])
        changed = {problem: self._changed(problem) for problem in problems}
        self.families = self._families(changed)
        self.rare = rarely_seen(self.study)
        self._difference, self._equivalence = self._adjust()
        self._slowdown = {
            (problem, *kind): self.slowdown(comparison)
            for problem, kinds in changed.items()
            for kind, (_, comparison) in kinds.items()
        }
        self._speed = self._adjust_speed()
        self.effects = {problem: self._effects(problem, changed[problem]) for problem in problems}

    def slowdown(self, comparison: Comparison | None) -> Slowdown | None:
        """Of the learning of a comparison's first kind.

        None without partners or curves, and where the two kinds were validated on different
        instances. What the first kind's own rules cost is taken off before.
        """
        if comparison is None:
            return None
        plain = self.study.plain(comparison.test).get(comparison.reference, {}).values()
        runs = [*comparison.ours, *comparison.theirs, *plain]
        if len({run.validation for run in runs}) > 1:
            return None
        # Only these two kinds: another one without gaps shall not turn gaps into costs.
        points, paid = self.points, price(comparison.ours[0], comparison.ours[0].validation)
        if paid is not None:
            points = without(paid.value, points, comparison.ours)
        return Curves(points, runs).slowdown(comparison, plain)

    def _changed(self, problem: str) -> dict[tuple[str, str], tuple[list[Run], Comparison | None]]:
        """Runs and comparison of each variant, by encoder and variant.

        Beside changes stands conv1d as it is, in which there is nothing to find, and beside tables
        embedding as it is.
        """
        test = self.study.main_test(problem)
        variants = self.study.variants(problem)
        found = {}
        kinds = {"embedding" if name == "embedding" else "conv1d" for name, _ in variants}
        for encoder in kinds if test is not None else ():
            if rows := self.study.plain(test).get(encoder):
                comparison = self.study.against_linear(encoder, "", test)
                found[encoder, ""] = (list(rows.values()), comparison)
        for (encoder, variant), rows in variants.items():
            comparison = None
            if test is not None:
                rows = [r for r in rows if (r.test_set, r.decode) == (test.test_set, test.decode)]
                comparison = self.study.against_linear(encoder, variant, test)
            found[encoder, variant] = (rows, comparison)
        return found

    def _effects(self, problem: str, changed: Mapping) -> list[Effect]:
        """In the order of their ranks."""
        found = [
            Effect(
                encoder,
                variant,
                tuple(rows),
                comparison,
                self._slowdown[problem, encoder, variant],
                None if comparison is None else price(comparison.ours[0], comparison.test.test_set),
                late_fall(self.points, rows, _STUCK),
                late_fall(self.points, rows, LATE),
                self.adjusted_difference(comparison),
                self.adjusted_equivalence(comparison),
                self._speed.get((problem, encoder, variant)),
                self.plan.alpha,
            )
            for (encoder, variant), (rows, comparison) in changed.items()
        ]
        return sorted(found, key=lambda effect: effect.rank)

    def suspects(self, problem: str) -> list[Effect]:
        """The variants of linear and conv1d but the blind one, the best reproduction first."""
        found = self.effects.get(problem, [])
        return [e for e in found if e.encoder != "embedding" and e.variant not in ("", BLIND)]

    def control(self, problem: str) -> list[Effect]:
        """Conv1d as it is, where there are suspects, and a linear that sees nothing."""
        found = [e for e in self.effects.get(problem, []) if e.encoder != "embedding"]
        return [e for e in found if e.variant in ("", BLIND)]

    def tables(self, problem: str) -> list[Effect]:
        """Embedding as it is, and its variants."""
        return [e for e in self.effects.get(problem, []) if e.encoder == "embedding"]

    def _families(self, changed: Mapping[str, Mapping]) -> dict[str, list[Comparison]]:
        """The secondary comparisons by question; the blind encoder is none, but a yardstick."""
        families = {"encoders": list(self.secondary), "changes": [], "tables": []}
        for found in changed.values():
            for (encoder, variant), (_, comparison) in found.items():
                if variant not in ("", BLIND) and comparison is not None:
                    families["tables" if encoder == "embedding" else "changes"].append(comparison)
        return {
            question: [c for c in comparisons if c.p is not None]
            for question, comparisons in families.items()
        }

    @property
    def equivalence_families(self) -> dict[str, list[Comparison]]:
        """As `families`, where equivalence is asked.

        That is of the primary question's two encoders and of changes: an Embedding is meant to be
        different, whatever its table.
        """
        pair = set(self.plan.encoders)
        asked = [c for c in self.families["encoders"] if {c.name, c.reference} == pair]
        return {"encoders": asked, "changes": self.families["changes"]}

    def _adjust(self) -> tuple[dict[Comparison | Rare, float], dict[Comparison, float]]:
        """Holm's p of all secondary comparisons, of a difference and of equivalence."""
        all_of: list[Comparison | Rare]
        all_of = [c for family in self.families.values() for c in family]
        if self.rare is not None and self.rare.p is not None:
            all_of.append(self.rare)
        asked = [c for family in self.equivalence_families.values() for c in family]
        return (
            dict(zip(all_of, holm([c.p for c in all_of]), strict=True)),
            dict(zip(asked, holm([c.equivalence.p for c in asked]), strict=True)),
        )

    def _adjust_speed(self) -> dict[tuple[str, str, str], float]:
        """Holm's p of all speeds of learning, by problem, encoder and variant."""
        asked = {key: s.p for key, s in self._slowdown.items() if s is not None and s.p is not None}
        return dict(zip(asked, holm(list(asked.values())), strict=True))

    @property
    def difference_tests(self) -> int:
        """How many there are beside the primary one."""
        return len(self._difference)

    @property
    def equivalence_tests(self) -> int:
        """How many there are beside the primary one."""
        return len(self._equivalence)

    @property
    def speed_tests(self) -> int:
        """Of how many speeds of learning there is a p."""
        return len(self._speed)

    def adjusted_difference(self, comparison: Comparison | Rare | None) -> float | None:
        """Holm's p of the difference; None without two seeds."""
        return self._difference.get(comparison)

    def adjusted_equivalence(self, comparison: Comparison | None) -> float | None:
        """Holm's p of the equivalence; None where it is not asked, or without two seeds."""
        return self._equivalence.get(comparison)

    @cached_property
    def verdict(self) -> Verdict:
        """Of the primary question."""
        if self.primary is None or self.primary.equivalence is None:
            return "no data"
        if self.primary.equivalence.p < self.plan.alpha:
            return "equivalent"
        return "different" if self.primary.p < self.plan.alpha else "undecided"


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
