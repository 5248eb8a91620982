"""A run that begins with the weights of another."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from runs import ROOT, small_config

from train import find_start
from vrp.evaluation.trained import find_checkpoint, load_trained
from vrp.training.checkpoint import load_checkpoint
from vrp.training.resume import resumed_config
from vrp.training.trainer import Trainer


def trainer(folder: Path, *overrides: str, start: str | None = None) -> Trainer:
    """Of a new small run."""
    folder.mkdir()
    given = () if start is None else (f"start_from={start}",)
    return Trainer(
        small_config(*overrides, *given), folder, torch.device("cpu"), time.perf_counter(),
        None, find_start(start),
    )  # fmt: skip


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("start") / "first"
    assert trainer(folder).run() == 0
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """That `start_from` of a run folder names."""
    return load_trained(*find_checkpoint(str(folder))).policy.state_dict()


def test_the_policy_begins_with_them(first, tmp_path):
    """Not with those of the seed; and it goes on learning from there."""
    begun = trainer(tmp_path / "second", "seed=5", start=str(first))
    before = {name: w.clone() for name, w in begun.learner.policy.state_dict().items()}
    assert all(torch.equal(before[name], w) for name, w in weights(first).items())
    assert begun.run() == 0
    after = begun.learner.policy.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_on_another_problem(first, tmp_path):
    """A policy is of no size."""
    begun = trainer(tmp_path / "larger", "problem.num_customers=9", start=str(first))
    assert begun.run() == 0


def test_the_copy_of_a_rollout_baseline_begins_there_too(first, tmp_path):
    """Else it would be the worse player of the two from the first step on."""
    begun = trainer(tmp_path / "second", "baseline=rollout", start=str(first))
    copied = begun.learner.baseline.copy.state_dict()
    assert all(torch.equal(copied[name], w) for name, w in weights(first).items())


def test_the_checkpoint_says_where_it_began(first, tmp_path):
    """So does a resumed run's, which needs the other file no more; instances add up."""
    folder = tmp_path / "second"
    begun = trainer(folder, start=str(first))
    assert begun.run() == 0
    source = load_trained(*find_checkpoint(str(first)))
    told = load_checkpoint(folder / "last.pt")["started_from"]
    assert told == {"name": str(first), "sha256": source.sha256, "instances": source.instances}
    config = begun.config | {"resume": str(folder)}
    merged, checkpoint = resumed_config(config, folder, ())
    again = Trainer(merged, folder, torch.device("cpu"), time.perf_counter(), checkpoint)
    assert again.started_from == told
    assert load_trained(*find_checkpoint(str(folder))).instances == 2 * source.instances


def test_another_encoder_does_not_fit(first, tmp_path):
    """The error names both and what differs."""
    with pytest.raises(ValueError, match=r"start_from is .*first, which has another encoder"):
        trainer(tmp_path / "second", "encoder=embedding", start=str(first))


def test_an_unknown_name_is_told_in_one_line(tmp_path):
    """Before anything is written."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "start_from=nobody", "name=run"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("start_from: nobody is no file, run folder or released model")
    assert not (tmp_path / "outputs" / "run").exists()
