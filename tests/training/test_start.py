"""A run that begins with the weights of another."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from runs import ROOT, small_config

from train import find_start
from vrp.evaluation.trained import find_checkpoint, load_trained
from vrp.training.build import build_policy
from vrp.training.checkpoint import load_checkpoint
from vrp.training.resume import resumed_config
from vrp.training.start import Start
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
    last = folder / "last.pt"
    assert load_trained(*find_checkpoint(str(last))).instances == source.instances + 96


def test_another_encoder_does_not_fit(first, tmp_path):
    """The error names both and what differs."""
    with pytest.raises(ValueError, match=r"start_from is .*first, which has another encoder"):
        trainer(tmp_path / "second", "encoder=embedding", start=str(first))


ATTENTION = ("policy=attention", "encoder=linear", "num_rollouts=5")
EMBEDDING = ("encoder=embedding", "encoder.bins=8")


@pytest.mark.parametrize(
    ("network", "changed", "said"),
    [
        (ATTENTION, "policy.num_heads=4", "policy.num_heads is 8 and should be 4"),
        (ATTENTION, "policy.tanh_clipping=0", "policy.tanh_clipping is 10.0 and should be 0.0"),
        (ATTENTION, "policy.normalization=rms", "norm_attention.bias is not known"),
        ((), "policy.scale_demand=false", "policy.scale_demand is True and should be False"),
        ((), "policy.tanh_clipping=10", "policy.tanh_clipping is 0.0 and should be 10"),
        (EMBEDDING, "encoder.max_norm=1", "encoder.max_norm is None and should be 1"),
        (
            EMBEDDING,
            "encoder.tables=joint encoder.bins=4",  # 16 rows of both
            "encoder.bins is 8 and should be 4; encoder.tables is factorised and should be joint",
        ),
        (
            ("encoder=linear",),
            "encoder._target_=vrp.policy.mistakes.BlindEncoder",
            "encoder is LinearEncoder and should be BlindEncoder",
        ),
    ],
)
def test_another_function_of_the_weights_does_not_fit(network, changed, said):
    """Names and shapes may be the same: the error names the argument and both values."""
    ours, theirs = (build_policy(small_config(*network, *more)) for more in (changed.split(), ()))
    ours.initialise(0)
    theirs.initialise(1)
    before = {name: weight.clone() for name, weight in ours.state_dict().items()}
    with pytest.raises(ValueError, match=re.escape(said)):
        Start("first", "", None, theirs).load_into(ours)
    assert all(torch.equal(before[name], weight) for name, weight in ours.state_dict().items())


@pytest.mark.parametrize(
    ("network", "changed"),
    [
        (ATTENTION, "policy.precision=bfloat16 policy.init=glorot encoder.init=glorot"),
        ((), "policy.dropout=0.1 policy.init=glorot"),
        (EMBEDDING, "encoder.freeze=true encoder.scale_grad_by_freq=true"),
    ],
)
def test_what_only_training_or_rounding_asks_for_may_differ(network, changed):
    """A run begins with the weights all the same."""
    ours, theirs = (build_policy(small_config(*network, *more)) for more in (changed.split(), ()))
    ours.initialise(0)
    theirs.initialise(1)
    Start("first", "", None, theirs).load_into(ours)
    expected = theirs.state_dict()
    assert all(torch.equal(expected[name], weight) for name, weight in ours.state_dict().items())


IN_SHAPES = {"embedding_dim", "num_layers", "feed_forward_dim", "normalization", "graph_context",
             "combine_bias", "pointer_projection", "glimpses", "num_customers"}  # fmt: skip
NO_FUNCTION = {"encoder", "precision", "dropout", "init", "scale_grad_by_freq", "pretrained",
               "freeze"}  # fmt: skip


@pytest.mark.parametrize("network", [(), ATTENTION, EMBEDDING], ids=str)
def test_every_argument_is_a_setting_or_shows_in_the_weights(network):
    """Or is of no function: a new argument has to say which."""
    policy = build_policy(small_config(*network))
    for part in (policy, policy.encoder):
        taken = set(inspect.signature(type(part)).parameters)
        assert taken - IN_SHAPES - NO_FUNCTION == set(part.settings())


def test_an_unknown_name_is_told_in_one_line(tmp_path):
    """Before anything is written."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "start_from=nobody", "name=run"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("start_from: nobody is no file, run folder or released model")
    assert not (tmp_path / "outputs" / "run").exists()
