"""What the benchmark times is the trainer's own step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_configs import composed

from scripts import benchmark
from scripts.benchmark import (
    OTHERS,
    Clock,
    beside_others,
    decode,
    decoding_setting,
    prepare,
    step_setting,
)
from scripts.launcher import Job
from vrp.problem import UniformGenerator
from vrp.search import Greedy
from vrp.training.baselines import RolloutBaseline
from vrp.training.build import build_policy

SMALL = ["threads=1", "batch_size=4", "embedding_dim=16", "warmup=1", "steps=2", "decoded=4",
         "device=cpu", "compile=off"]  # fmt: skip


def run(*overrides: str, folder: Path) -> None:
    """Measure, on a small scale; two steps are timed after one that warms; another is counted."""
    threads = torch.get_num_threads()
    prepare(Job(composed("benchmark", [*SMALL, *overrides]), folder, (), False))()
    torch.set_num_threads(threads)


def test_the_rollout_baseline_plays(tmp_path, monkeypatch, capsys):
    """In each step the copy solves the batch: the warm-up of the first epoch is over."""
    solved, play = [], RolloutBaseline._greedy

    def spy(self, policy, instances):
        solved.append(len(instances))
        return play(self, policy, instances)

    monkeypatch.setattr(RolloutBaseline, "_greedy", spy)
    run("experiment=kool20", "baseline.eval_instances=100", folder=tmp_path)
    assert solved == [4, 4, 4, 8]
    assert "instances per second" in capsys.readouterr().out


@pytest.mark.parametrize("policy", ["pointer", "attention"])
def test_what_compiling_lacks_is_said(policy, tmp_path, monkeypatch, capsys):
    """And the step is measured without."""
    monkeypatch.setattr("vrp.training.compilation.missing_for_compile", lambda *_: "no compiler")
    run(f"policy={policy}", "compile=auto", folder=tmp_path)
    assert "not compiled: no compiler" in capsys.readouterr().out


def test_gradients_are_clipped_and_weights_decay(tmp_path, monkeypatch):
    """As the config says."""
    clipped, made = [], []
    clip, adam = torch.nn.utils.clip_grad_norm_, torch.optim.Adam
    monkeypatch.setattr(
        torch.nn.utils,
        "clip_grad_norm_",
        lambda part, most: clipped.append(most) or clip(part, most),
    )
    monkeypatch.setattr(torch.optim, "Adam", lambda *a, **k: made.append(k) or adam(*a, **k))
    run("grad_clip=0.5", "weight_decay=0.25", folder=tmp_path)
    assert clipped == [0.5] * 8  # policy and critic, in four steps
    assert [arguments["weight_decay"] for arguments in made] == [0.25, 0.25]


@pytest.mark.parametrize("policy", ["pointer", "attention"])
def test_what_is_decoded_is_greedys(policy):
    """Part by part it finds the tours that the search finds."""
    network = build_policy(composed("benchmark", [f"policy={policy}", "embedding_dim=16"]))
    network.initialise(0)
    instances = UniformGenerator(10, 20)(20, torch.Generator().manual_seed(0))
    clock = Clock(False)
    found = decode(network.eval(), instances, clock)
    expected = Greedy()(network, instances, torch.Generator())
    assert torch.equal(found.actions, expected.actions)
    assert torch.equal(found.cost, expected.cost)
    assert list(clock.seconds) == ["encode", "rollout", "judge"]


@pytest.mark.parametrize(
    ("overrides", "step", "decoding"),
    [
        ("experiment=pomo20", {"POMO's own code": 286, "RL4CO": 243}, None),
        ("experiment=pomo50", {"RL4CO": 49, "POMO's own code": 47}, None),
        ("experiment=pomo100", None, None),
        (
            "experiment=kool20",
            {"RL4CO": 557, "Kool et al.'s code": 366},
            {"Kool et al.'s code": 2207},
        ),
        ("experiment=kool50", None, {"Kool et al.'s code": 725}),
        ("problem=vrp20", {"a PyTorch port of the paper": 266}, None),
        ("problem=vrp10", {"a PyTorch port of the paper": 548}, None),
        ("problem=vrp10 batch_size=128", None, None),
        ("experiment=pomo20 policy.num_layers=2", None, None),
        ("experiment=kool20 embedding_dim=64", None, None),
        ("experiment=kool20 decoded=64", {"RL4CO": 557, "Kool et al.'s code": 366}, None),
    ],
)
def test_others_are_known_for_their_own_setting(overrides, step, decoding):
    """As the commands of the README name it; not for another batch, size or network."""
    config = composed("benchmark", overrides.split())
    assert OTHERS.get(step_setting(config)) == step
    assert OTHERS.get(decoding_setting(config)) == decoding


def test_the_best_of_others_is_compared_with():
    """In a line that says what it was measured on; none for a GPU."""
    setting = step_setting(composed("benchmark", ["experiment=pomo20"]))
    assert beside_others(setting, 858.0, torch.device("cpu")) == (
        "others: POMO's own code 286, RL4CO 243 instances/s, on two cores of an AMD EPYC "
        "(Zen 5), float32; the rate here is 3.0 times the best of them"
    )
    assert beside_others(setting, 858.0, torch.device("cuda")) is None


def test_others_are_printed_where_they_are_known(tmp_path, monkeypatch, capsys):
    """A line below the speed of the step, and one below that of decoding."""
    config = composed("benchmark", SMALL)
    run(folder=tmp_path)
    assert "others" not in capsys.readouterr().out
    known = {step_setting(config): {"A": 1}, decoding_setting(config): {"B": 2}}
    monkeypatch.setattr(benchmark, "OTHERS", known)
    run(folder=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    for speed, other in (("instances per second", "A 1"), ("greedy decoding", "B 2")):
        (place,) = (number for number, line in enumerate(lines) if line.startswith(speed))
        assert lines[place + 1].startswith(f"others: {other} instances/s")
