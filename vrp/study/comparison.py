"""Two kinds of runs side by side, seed by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from vrp.study.records import Run
from vrp.study.statistics import (
    Equivalence,
    Interval,
    difference_p,
    equivalence_test,
    paired_difference,
)
from vrp.study.wording import title

# In what two runs must agree to be compared; the rest of a row is what a comparison may be about.
SETTINGS = (
    "problem", "num_customers", "capacity", "split_delivery", "policy", "budget", "instances",
    "batch_size", "num_rollouts", "learning_rate", "settings", "precision", "checkpoint",
    "test_set", "test_instances", "decode",
)  # fmt: skip


@dataclass(frozen=True, order=True)
class Test:
    """What was asked of a trained policy."""

    __test__ = False  # pytest shall not take it for one of its classes

    problem: str
    test_set: str
    decode: str

    def __str__(self) -> str:
        """In words."""
        return f"{title(self.problem)}, `{self.test_set}`, {self.decode}"


BySeed = Mapping[int, Run]


@dataclass(frozen=True)
class Comparison:
    """Costs of one kind of run against those of another, seed by seed.

    Attributes:
        test: what was asked of both.
        name: of the first kind.
        reference: name of the second.
        ours: the first kind's runs, by seed.
        theirs: the second kind's runs of the same seeds.
        margin_percent: within which the costs count as equal.
    """

    test: Test
    name: str
    reference: str
    ours: tuple[Run, ...]
    theirs: tuple[Run, ...]
    margin_percent: float

    @property
    def seeds(self) -> list[int]:
        """That both have."""
        return [run.seed for run in self.ours]

    @property
    def costs(self) -> tuple[list[float], list[float]]:
        """Ours and theirs."""
        return [run.cost for run in self.ours], [run.cost for run in self.theirs]

    @property
    def reference_cost(self) -> float:
        """Mean of theirs."""
        return sum(self.costs[1]) / len(self.theirs)

    @property
    def percents(self) -> tuple[float, ...]:
        """Each seed's difference in percent of the reference's mean cost."""
        scale = 100 / self.reference_cost
        return tuple(scale * (a - b) for a, b in zip(*self.costs, strict=True))

    @cached_property
    def percent(self) -> Interval:
        """Mean paired difference in percent of the reference's mean cost; below 0 is shorter."""
        return paired_difference(*self.costs).scaled(100 / self.reference_cost)

    @cached_property
    def equivalence(self) -> Equivalence | None:
        """None for a single seed."""
        if len(self.ours) < 2:
            return None
        return equivalence_test(*self.costs, self.margin_percent)

    @cached_property
    def p(self) -> float | None:
        """Of the two-sided paired t-test; None for a single seed."""
        return None if len(self.ours) < 2 else difference_p(*self.costs)


def check_comparable(rows: Iterable[Run], settings: Iterable[str] = SETTINGS) -> None:
    """Refuse to compare what was not trained and tested alike.

    Raises:
        ValueError: names two runs, the setting and both values.
    """
    rows = list(rows)
    for run in rows[1:]:
        for setting in settings:
            values = getattr(rows[0], setting), getattr(run, setting)
            if values[0] != values[1]:
                raise ValueError(
                    f"runs {_named(rows[0])} and {_named(run)} cannot be compared: {setting} is "
                    f"{values[0]!r} and {values[1]!r}"
                )


def variant_name(encoder: str, variant: str) -> str:
    """As the report calls it: linear with a mistake has the mistake's name."""
    if not variant:
        return encoder
    return variant if encoder == "linear" else f"{encoder} {variant}"


def by_seed(rows: Iterable[Run]) -> dict[int, Run]:
    """The rows by their seed.

    Raises:
        ValueError: if two of them have the seed in common.
    """
    found: dict[int, Run] = {}
    for run in rows:
        if run.seed in found:
            raise ValueError(
                f"runs {_named(found[run.seed])} and {_named(run)} are both of "
                f"{variant_name(run.encoder, run.variant)} with seed {run.seed}; one is allowed"
            )
        found[run.seed] = run
    return found


def _named(run: Run) -> str:
    return f"{run.sweep}/{run.run}"
