"""What a checked claim looks like, and what all checks need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

TRUE, FALSE, DEPENDS = "true", "false", "depends"


@dataclass(frozen=True)
class Fact:
    """A claim found in a tutorial, and what came out when it was checked.

    Attributes:
        name: short and unique; `--only` finds it.
        claim: in our words.
        verdict: `true`, `false` or `depends`, computed from the measurement.
        figure: what was measured.
        why: the reason for the outcome.
    """

    name: str
    claim: str
    verdict: str
    figure: str
    why: str


@dataclass(frozen=True)
class Budget:
    """How much work the costly checks may do.

    Attributes:
        seeds: repetitions of the one-step experiment.
        steps: training steps of the regression.
        policy_steps: training steps of the pointer policy.
        twins: copies of the regression's linear network that start one rounding error away, at
            least 1.
        policy_twins: likewise of the pointer policy.
        seconds: of timing for each layer and shape.
        timed_steps: how many training steps are timed.
        step_configs: of the runs whose steps are timed, plain and complete, by encoder.
    """

    seeds: int
    steps: int
    policy_steps: int
    twins: int
    policy_twins: int
    seconds: float
    timed_steps: int
    step_configs: Mapping[str, dict] = field(default_factory=dict)


FULL = Budget(
    seeds=1000,
    steps=10_000,
    policy_steps=10_000,
    twins=5,
    policy_twins=1,
    seconds=0.5,
    timed_steps=200,
)
FAST = Budget(
    seeds=500,
    steps=1000,
    policy_steps=100,
    twins=2,
    policy_twins=1,
    seconds=0.05,
    timed_steps=20,
)

Check = Callable[[Budget], Fact]


def verdict(*cases: bool) -> str:
    """`true` if the claim held in all cases, `false` if in none, otherwise `depends`."""
    if all(cases):
        return TRUE
    return DEPENDS if any(cases) else FALSE


def error_of(work: Callable[[], object]) -> str:
    """The name of the error that `work` raises, or an empty text."""
    try:
        work()
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        return type(error).__name__
    return ""
