"""What the benchmark times is the trainer's own step."""

from __future__ import annotations

from pathlib import Path

import torch
from test_configs import composed

from scripts.benchmark import prepare
from scripts.launcher import Job
from vrp.training.baselines import RolloutBaseline

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
