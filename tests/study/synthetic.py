"""Runs and curves that were never run, with known differences between the encoders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vrp.study.plan import Plan
from vrp.study.records import CurvePoint, Run
from vrp.study.steps import StepTime

BUDGET = 400_000
COST = {"vrp10": 4.82, "vrp20": 6.60}  # that a run ends with
REFERENCE = {"vrp10": 4.54, "banded10": 4.54, "vrp20": 6.14}

PLAN = Plan(
    margin_percent=0.5,
    alpha=0.05,
    power=0.8,
    problem="vrp10",
    test_set="kool10",
    test_instances=10_000,
    decode="greedy",
    checkpoint="last",
    encoders=("conv1d", "linear"),
    seeds=tuple(range(10)),
)


def run(
    encoder: str, seed: int, cost: float, sweep: str = "encoders", variant: str = "", **changed
) -> Run:
    """A finished and tested run of VRP10."""
    problem = changed.pop("problem", "vrp10")
    size = int(problem.removeprefix("vrp"))
    name = f"{problem}-{encoder}{'-' + variant if variant else ''}-s{seed}"
    gap = 100 * (cost / REFERENCE[problem] - 1)
    made = Run(
        sweep=sweep, run=name, status="finished", error="", problem=problem, num_customers=size,
        capacity=size + 10, split_delivery=False, policy="pointer", encoder=encoder,
        variant=variant, seed=seed, budget=BUDGET, instances=BUDGET, batch_size=64,
        num_rollouts=8, learning_rate=1e-3, settings="baseline=shared", seconds=1300.0 + 10 * seed,
        train_seconds=1200.0 + 9 * seed + (20 if encoder == "conv1d" else 0), threads=1,
        side_by_side=2, device="cpu", precision="float32", torch="2.13.0", commit="0123abc",
        parameters=198_784,
        checkpoint="last",
        test_set=f"kool{size}", decode="greedy", test_instances=10_000, cost=cost, gap=gap,
        reference_instances=1000, validation=f"kool{size}-val", val_cost=cost + 0.01,
        val_gap=gap + 0.2,
    )  # fmt: skip
    return replace(made, **changed)


def lost(made: Run, status: str, error: str = "") -> Run:
    """The same run, but failed, stopped or missing."""
    untested = replace(
        made, status=status, error=error, checkpoint="", test_set="", decode="",
        test_instances=None, cost=None, gap=None, reference_instances=None,
        **({"instances": made.budget // 4} if status == "stopped" else {"instances": None,
            "seconds": None, "train_seconds": None, "parameters": None}),
        validation="", val_cost=None, val_gap=None,
    )  # fmt: skip
    return untested


def steps(milliseconds: dict[str, float], turns: int = 60) -> list[StepTime]:
    """Turns of encoders whose step takes so long, while the machine is now fast and now slow."""
    random = np.random.default_rng(0)
    speeds = np.repeat(random.uniform(1, 2, -(-turns // 10)), 10)[:turns]
    return [
        StepTime(
            "vrp10", encoder, turn, 64, 8, float(ms * speeds[turn] * random.normal(1, 0.01)),
            0.5 if encoder == "linear" else 0.9, 1, "cpu", "2.13.0",
        )
        for turn in range(turns)
        for encoder, ms in milliseconds.items()
    ]  # fmt: skip


def pairs(
    effects: dict[str, float],
    seeds: int = 10,
    spread: float = 0.3,
    shared: float = 0.2,
    problem: str = "vrp10",
    sweep: str = "encoders",
    draw: int = 0,
) -> list[Run]:
    """A run of each encoder with each seed.

    Args:
        effects: by encoder, how much longer its tours are, in percent.
        seeds: how many.
        spread: standard deviation of a run, in percent.
        shared: standard deviation of what runs of one seed have in common, in percent.
        problem: of all runs.
        sweep: of all runs.
        draw: seed of the random numbers.
    """
    random = np.random.default_rng(draw)
    common = random.normal(0, shared, seeds)
    made = []
    for encoder, effect in effects.items():
        for seed in range(seeds):
            percent = effect + common[seed] + random.normal(0, spread)
            cost = float(COST[problem] * (1 + percent / 100))
            made.append(run(encoder, seed, cost, sweep=sweep, problem=problem))
    return made


def curve(made: Run, slowness: float = 1.0, points: int = 21) -> list[CurvePoint]:
    """A run's validation: its gap falls towards its last value, `slowness` times as late."""
    random = np.random.default_rng(made.seed)
    found = []
    for i in range(points):
        instances = made.budget * i // (points - 1)
        gap = made.val_gap + 52 * np.exp(-12 * i / (points - 1) / slowness)
        gap = float(gap * (1 + random.normal(0, 0.01))) if i < points - 1 else float(gap)
        cost = REFERENCE[made.problem] * (1 + gap / 100)
        share = i / (points - 1)
        found.append(
            CurvePoint(
                made.sweep, made.run, instances, made.seconds * share, made.train_seconds * share,
                None if i == 0 else cost + 0.1, cost, gap,
            )
        )  # fmt: skip
    return found


def curves(runs: list[Run], slowness: dict[str, float] | None = None) -> list[CurvePoint]:
    """Of all runs that have seconds, each once; `slowness` by variant."""
    once = {made.key: made for made in runs if made.cost is not None}
    return [p for made in once.values() for p in curve(made, (slowness or {}).get(made.variant, 1))]


def whole_study() -> tuple[list[Run], list[CurvePoint]]:
    """Every section has data: two problems, suspects, tables, a clustered set, a pilot, losses."""
    runs = pairs({"conv1d": 0.05, "linear": 0.0, "embedding": 0.9})
    runs[3] = lost(runs[3], "failed", "ValueError: the loss is nan")
    runs[24] = lost(runs[24], "stopped")
    runs += pairs({"conv1d": 0.1, "linear": 0.0, "embedding": 1.5}, 5, problem="vrp20", draw=1)
    random = np.random.default_rng(2)
    changes = {
        "reshape": 6.0, "flatten": 3.0, "strict_mask": 4.5, "tf32": 0.0, "glorot": -0.1,
        "dropout": 0.6,
    }  # fmt: skip
    for variant, effect in changes.items():
        for seed in range(4):
            cost = COST["vrp10"] * (1 + (effect + random.normal(0, 0.3)) / 100)
            runs.append(run("linear", seed, cost, "suspects", variant))
    for bins in (8, 16, 32, 128, 256):
        for tables in ("", "joint,"):
            if tables and bins > 64:
                continue
            for seed in range(3):
                effect = 40 / bins + 0.002 * bins * bool(tables) + random.normal(0, 0.2)
                variant = f"{tables}bins={bins}"
                size = 198_784 + 128 * (bins**2 if tables else 2 * bins)
                cost = COST["vrp10"] * (1 + effect / 100)
                runs.append(run("embedding", seed, cost, "tables", variant, parameters=size))
    clustered = [
        replace(made, test_set="clustered10", cost=made.cost * 0.8, gap=None,
                reference_instances=None, test_instances=1000)
        for made in runs
        if made.cost is not None and made.problem == "vrp10" and made.sweep == "encoders"
    ]  # fmt: skip
    beams = [
        replace(made, decode="beam(width=10)", cost=made.cost * 0.975)
        for made in runs
        if made.cost is not None and made.sweep == "encoders"
    ]
    runs += clustered + beams
    for encoder, effect in {"linear": 2.0, "embedding": 9.0}.items():
        for seed in range(3):
            cost = COST["vrp10"] * (1 + (effect + random.normal(0, 0.2)) / 100)
            sizes = {"num_customers": 10, "capacity": 20}
            runs.append(
                replace(run(encoder, seed, cost, "rare", test_set="kool10"), problem="banded10",
                        run=f"{encoder}-s{seed}", **sizes)
            )  # fmt: skip
    runs += pairs({"conv1d": 0.0, "linear": 0.0}, 3, sweep="pilot", draw=3)
    slow = {"reshape": 3.5, "flatten": 1.8, "strict_mask": 1.4, "dropout": 1.2}
    return runs, curves(runs, slow)
