"""The real command lines of `train.py`, as far as their plan."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts.checks import UsageError  # noqa: E402
from scripts.plan import make_plan  # noqa: E402
from scripts.schema import TrainConfig  # noqa: E402


@pytest.fixture
def folder(tmp_path) -> Path:
    """Of a run that was begun with policy=pomo."""
    found = tmp_path / "run"
    (found / ".hydra").mkdir(parents=True)
    choices = "{policy: pomo, baseline: shared, encoder: linear, problem: vrp20}"
    (found / ".hydra" / "hydra.yaml").write_text(f"hydra: {{runtime: {{choices: {choices}}}}}\n")
    (found / "last.pt").touch()
    return found


def plan(*texts: str) -> list[str]:
    """The overrides as Hydra gets them."""
    return make_plan(TrainConfig, "config", ROOT, list(texts), False, False).overrides


@pytest.mark.parametrize("key", ["policy.num_layers=6", "policy.precision=float32"])
def test_a_key_of_the_resumed_runs_policy_needs_its_choice(folder, key):
    """The command line knows the default policy alone, which has no such key."""
    with pytest.raises(UsageError) as caught:
        plan(f"resume={folder}", key)
    name = key.partition("=")[0]
    assert str(caught.value) == f"{name}: the run to resume has policy=pomo; type that, too"
    assert key in plan(f"resume={folder}", "policy=pomo", key)


def test_other_mistakes_are_told_as_ever(folder):
    """With a key that the same choice does not have, and without a run to look at."""
    with pytest.raises(UsageError, match=r"policy\.layers: unknown key of AttentionPolicy"):
        plan(f"resume={folder}", "policy=pomo", "policy.layers=6")
    with pytest.raises(UsageError, match=r"baseline\.epochs: unknown key of SharedBaseline"):
        plan(f"resume={folder}", "baseline.epochs=6")
    with pytest.raises(UsageError, match=r"policy\.num_layers: unknown key of PointerPolicy"):
        plan("policy.num_layers=6")


def test_another_programs_group_is_no_choice_of_this_one():
    """Those of this one are named, and none is called near."""
    with pytest.raises(UsageError) as caught:
        plan("decode=beam")
    assert str(caught.value).startswith("decode: no choice of this program; allowed: ")
    assert "nearest" not in str(caught.value)


def test_a_key_that_follows_another_says_so():
    """Nobody has typed the value that is wrong; one that was typed is told as ever."""
    with pytest.raises(UsageError) as caught:
        plan("policy=attention", "problem.num_customers=0")
    assert str(caught.value) == (
        "num_rollouts is 0; it must be at least 1 "
        "(num_rollouts is ${problem.num_customers} unless given)"
    )
    with pytest.raises(UsageError, match=r"^num_rollouts is 0; it must be at least 1$"):
        plan("policy=attention", "num_rollouts=0")


def test_records_of_tensors_are_no_choice():
    """What a package exports beside what a config can build."""
    with pytest.raises(UsageError) as caught:
        plan("problem._target_=vrp.problem.Instances")
    assert str(caught.value) == (
        "problem._target_: 'vrp.problem.Instances' is no class of vrp.problem; "
        "allowed: BandedGenerator, ClusteredGenerator, UniformGenerator"
    )
