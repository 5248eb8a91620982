"""Which runs stand against which."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from vrp.study.comparison import (
    BySeed,
    Comparison,
    Test,
    by_seed,
    check_comparable,
    variant_name,
)
from vrp.study.plan import Plan
from vrp.study.records import ENCODERS, Run

BANDED = "banded"  # problems whose coordinates are seldom in one part of the square


class Study:
    """The runs, sorted by what they are compared in.

    Args:
        runs: all lines of runs.csv.
        plan: of the study.
    """

    def __init__(self, runs: Iterable[Run], plan: Plan) -> None:
        self.rows = list(runs)
        self.plan = plan
        self.runs = {run.key: run for run in self.rows if not run.is_pilot}
        self.pilot_runs = {run.key: run for run in self.rows if run.is_pilot}
        self.tested = [run for run in self.rows if not run.is_pilot and is_counted(run)]
        self.counted = {run.key for run in self.tested}

    @property
    def planned_test(self) -> Test:
        """That of the primary question."""
        return Test(self.plan.problem, self.plan.test_set, self.plan.decode)

    @cached_property
    def absent(self) -> list[tuple[str, int]]:
        """Encoder and seed of the plan's runs that no line is about."""
        known = {(r.encoder, r.seed) for r in self.runs.values() if self._is_primary(r)}
        planned = [(name, seed) for name in self.plan.encoders for seed in self.plan.seeds]
        return [pair for pair in planned if pair not in known]

    def lost(self, encoder: str, problem: str) -> int:
        """How many of an encoder's runs as it is failed, stopped, are missing or untested."""
        kind = (encoder, "", problem)
        return sum(
            (run.encoder, run.variant, run.problem) == kind and run.key not in self.counted
            for run in self.runs.values()
        )

    def _is_primary(self, run: Run) -> bool:
        return not run.variant and run.problem == self.plan.problem and self._may_answer(run)

    def _may_answer(self, run: Run) -> bool:
        """The plan names sweeps for its own problem; of other problems any sweep serves."""
        plan = self.plan
        return not plan.sweeps or run.problem != plan.problem or run.sweep in plan.sweeps

    def is_planned(self, comparison: Comparison) -> bool:
        """Whether all its runs are of sweeps that the plan names, if it names any."""
        sweeps = {run.sweep for run in (*comparison.ours, *comparison.theirs)}
        return not self.plan.sweeps or sweeps <= set(self.plan.sweeps)

    @cached_property
    def tests(self) -> list[Test]:
        """All that a counted run without a variant was asked, the plan's first.

        Runs that saw part of the square rarely are compared elsewhere, with uniform ones.
        """
        usual = (run for run in self.tested if not run.problem.startswith(BANDED))
        found = {_test(run) for run in usual if not run.variant}
        plan = self.plan

        def place(test: Test) -> tuple:
            first = (test != self.planned_test, test.problem != plan.problem, test.problem)
            is_further = not test.test_set.startswith("kool")
            return *first, is_further, test.decode != plan.decode, test

        return sorted(found, key=place)

    def main_test(self, problem: str) -> Test | None:
        """The one that a problem's encoders and variants are judged by; None without a test.

        The first of `tests` that is about it, greedy on its own set if there is one.
        """
        tests = [test for test in self.tests if test.problem == problem]
        sizes = {run.num_customers for run in self.tested if run.problem == problem}
        ours = [t for t in tests if t.decode == self.plan.decode]
        standard = [t for t in ours if t.test_set == self.plan.test_set]
        standard += [t for t in ours if t.test_set in {f"kool{size}" for size in sizes}]
        return next(iter([*standard, *ours, *tests]), None)

    @property
    def problems(self) -> list[str]:
        """With a counted run without a variant, the plan's first."""
        return list(dict.fromkeys(test.problem for test in self.tests))

    def plain(self, test: Test) -> dict[str, BySeed]:
        """The counted runs without a variant, by encoder and seed.

        They come from the sweeps that hold both encoders of the primary question; an encoder that
        has none there comes from wherever it was run.

        Raises:
            ValueError: if two of them differ in a setting, or have encoder and seed in common.
        """
        candidates = [r for r in self.tested if not r.variant and _test(r) == test]
        candidates = [r for r in candidates if self._may_answer(r)]
        main = self._main_sweeps(test.problem)
        rows = []
        for name in _names(candidates):
            own = [r for r in candidates if r.encoder == name]
            rows += [r for r in own if r.sweep in main] or own
        check_comparable(rows)
        order = [*self.plan.encoders, *ENCODERS]
        rows.sort(key=lambda run: (order.index(run.encoder), run.seed))
        return {name: by_seed(r for r in rows if r.encoder == name) for name in _names(rows)}

    def _main_sweeps(self, problem: str) -> set[str]:
        held: dict[str, set[str]] = {}
        for run in self.runs.values():
            if not run.variant and run.problem == problem:
                held.setdefault(run.sweep, set()).add(run.encoder)
        return {sweep for sweep, names in held.items() if set(self.plan.encoders) <= names}

    def primary(self) -> Comparison | None:
        """Of the plan's encoders and seeds; None without a pair of runs.

        Raises:
            ValueError: if the runs cannot be compared.
        """
        plan, test = self.plan, self.planned_test
        found = self.plain(test)
        both = [
            {seed: run for seed, run in found.get(name, {}).items() if seed in plan.seeds}
            for name in plan.encoders
        ]
        return self._compare(test, *plan.encoders, *both)

    def deviations(self, primary: Comparison) -> list[str]:
        """In what its runs, which agree among themselves, are not those of the plan."""
        run, found = primary.ours[0], []
        for column in ("budget", "test_instances", "checkpoint"):
            planned, value = getattr(self.plan, column), getattr(run, column)
            if planned is not None and planned != value:
                found.append(f"`{column}` is {value} and not {planned}")
        if len(primary.seeds) < len(self.plan.seeds):
            found.append(f"{len(primary.seeds)} of {len(self.plan.seeds)} seeds have both runs")
        return found

    def secondary(self) -> list[Comparison]:
        """Each pair of encoders in each test, but for the primary comparison.

        Raises:
            ValueError: if runs cannot be compared.
        """
        found = []
        for test in self.tests:
            plain = self.plain(test)
            # The encoder that others are compared with stands last in a pair.
            names = sorted(plain, key=lambda name: (name != "linear", ENCODERS.index(name)))
            pairs = [(a, b) for i, b in enumerate(names) for a in names[i + 1 :]]
            for name, reference in pairs:
                if test == self.planned_test and {name, reference} == set(self.plan.encoders):
                    continue
                found.append(self._compare(test, name, reference, plain[name], plain[reference]))
        return [comparison for comparison in found if comparison is not None]

    def variants(self, problem: str) -> dict[tuple[str, str], list[Run]]:
        """Counted rows with a variant, by encoder and variant, linear's and conv1d's first."""
        rows = [r for r in self.tested if r.variant and r.problem == problem]
        rows.sort(key=lambda run: (run.encoder == "embedding", run.encoder, run.variant, run.seed))
        found: dict[tuple[str, str], list[Run]] = {}
        for run in rows:
            found.setdefault((run.encoder, run.variant), []).append(run)
        return found

    def against_linear(self, encoder: str, variant: str, test: Test) -> Comparison | None:
        """A variant, or an encoder as it is, against linear as it is.

        A run's partner is of its own sweep where that has one of its seed, else of the sweeps
        that compare the encoders.

        Raises:
            ValueError: if partners differ in a setting.
        """
        if not variant:
            plain = self.plain(test)
            return self._compare(
                test, encoder, "linear", plain.get(encoder, {}), plain.get("linear", {})
            )
        rows = [r for r in self.tested if _test(r) == test]
        ours = by_seed(r for r in rows if (r.encoder, r.variant) == (encoder, variant))
        linear = [r for r in rows if (r.encoder, r.variant) == ("linear", "")]
        theirs = dict(self.plain(test).get("linear", {}))
        for seed, run in ours.items():
            for partner in linear:
                if (partner.sweep, partner.seed) == (run.sweep, seed):
                    theirs[seed] = partner
        return self._compare(test, variant_name(encoder, variant), "linear", ours, theirs)

    def pilots(self) -> list[Comparison]:
        """The pilot's runs of the primary question, by sweep and test.

        Raises:
            ValueError: if they cannot be compared.
        """
        rows = [r for r in self.rows if r.is_pilot and is_counted(r) and not r.variant]
        rows = [r for r in rows if r.problem == self.plan.problem]
        found = []
        for sweep, test in dict.fromkeys((r.sweep, _test(r)) for r in rows):
            both = [
                by_seed(r for r in rows if (r.sweep, _test(r), r.encoder) == (sweep, test, encoder))
                for encoder in self.plan.encoders
            ]
            found.append(self._compare(test, *self.plan.encoders, *both))
        return [comparison for comparison in found if comparison is not None]

    def _compare(
        self, test: Test, name: str, reference: str, ours: BySeed, theirs: BySeed
    ) -> Comparison | None:
        seeds = sorted(set(ours) & set(theirs))
        if not seeds:
            return None
        pairs = [tuple(runs[seed] for seed in seeds) for runs in (ours, theirs)]
        check_comparable([*pairs[0], *pairs[1]])
        return Comparison(test, name, reference, *pairs, self.plan.margin_percent)


def is_counted(run: Run) -> bool:
    """Whether a row is a result: of a run that used its budget, and tested."""
    return run.status == "finished" and run.cost is not None


def by_seed_of(rows: Iterable[Run], test: Test) -> dict[int, Run]:
    """The rows of a test, by seed.

    Raises:
        ValueError: if two of them differ in a setting, or have the seed in common.
    """
    found = [run for run in rows if _test(run) == test]
    check_comparable(found)
    return by_seed(found)


def _test(run: Run) -> Test:
    return Test(run.problem, run.test_set, run.decode)


def _names(rows: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run.encoder for run in rows))
