"""This code and RL4CO side by side. RL4CO itself is tried where it is installed."""

from __future__ import annotations

import csv
import importlib.util
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from test_configs import composed

from scripts import benchmark_rl4co, peers, race_rl4co
from scripts.launcher import Job
from scripts.peers import Ours, Rl4co, check_comparable
from vrp.problem.datasets import reference, standard_set
from vrp.search import Multistart

SMALL = ["embedding_dim=64", "batch_size=4", "threads=1", "policy.num_layers=1"]
POMO = ["experiment=pomo20", *SMALL]
KOOL = ["experiment=kool20", "baseline.eval_instances=100", *SMALL]
NEEDS_RL4CO = pytest.mark.skipif(
    importlib.util.find_spec("rl4co") is None, reason="RL4CO is not installed"
)


@pytest.fixture(autouse=True)
def same_threads():
    """A peer sets the threads of its process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


class Here(AbstractContextManager):
    """A player in this process; `test_turns` tries those in their own."""

    def __init__(self, make: type, *arguments: object) -> None:
        self.made = make(*arguments)

    def __call__(self, method: str, *arguments: object) -> tuple[object, float]:
        begun = time.perf_counter()
        found = getattr(self.made, method)(*arguments)
        return found, time.perf_counter() - begun

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def without_rl4co(monkeypatch):
    """Two of this code's in place of both."""
    for program in (benchmark_rl4co, race_rl4co):
        monkeypatch.setattr(program, "Player", Here)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(peers, "Rl4co", Ours)
    monkeypatch.setattr(peers, "names", lambda: ("one", "other"))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["experiment=nazari20"], "policy._target_ is vrp.policy.PointerPolicy"),
        ([*POMO, "encoder=conv1d"], "encoder._target_ is vrp.policy.encoders.Conv1dEncoder"),
        ([*POMO, "problem=clustered"], "problem._target_ is vrp.problem.ClusteredGenerator"),
        ([*POMO, "policy.normalization=rms"], "policy.normalization is rms; RL4CO is compared"),
        ([*POMO, "leader_weight=20"], "leader_weight is 20"),
        ([*POMO, "problem.split_delivery=true"], "problem.split_delivery is True"),
        ([*POMO, "num_rollouts=5"], "SharedBaseline with num_rollouts=5 and multistart=true"),
        ([*KOOL, "num_rollouts=2"], "RolloutBaseline with num_rollouts=2 and multistart=false"),
    ],
)
def test_what_rl4co_does_not_train_is_refused(without_rl4co, overrides, said):
    """In a line that names the key and its value."""
    with pytest.raises(ValueError, match="RL4CO is compared with") as raised:
        check_comparable(composed("benchmark", overrides))
    assert said in str(raised.value)


@pytest.mark.parametrize("overrides", [POMO, KOOL, ["experiment=pomo50"]])
def test_what_both_train_is_accepted(without_rl4co, overrides):
    """The papers' settings."""
    check_comparable(composed("benchmark", overrides))


def test_a_missing_rl4co_is_said(monkeypatch):
    """With the command that installs it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"RL4CO is not installed: pip install .*\[peers\]"):
        check_comparable(composed("benchmark", POMO))


@pytest.mark.parametrize("kind", [Ours, pytest.param(Rl4co, marks=NEEDS_RL4CO)])
@pytest.mark.parametrize("overrides", [POMO, KOOL])
def test_a_peer_learns_until_its_rate_is_zero(kind, overrides):
    """At the end of its course nothing moves any more; its tours are legal and have their costs."""
    peer = kind(composed("benchmark", overrides))
    instances = standard_set("kool20-val", 12)
    policy = peer._policy

    def weights() -> torch.Tensor:
        return torch.cat([p.detach().flatten().clone() for p in policy.parameters()])

    before = weights()
    peer.step(0.5)
    moved = weights()
    peer.step(1.0)
    assert not torch.equal(before, moved)
    assert torch.equal(moved, weights())
    steps, seconds = peer.train(0.05, 0.0, 100.0)
    assert steps >= 1
    assert seconds >= 0.05
    cost = peer.solve(instances)
    assert cost.shape == (12,)
    assert (cost.numpy() > reference("kool20-val").cost[:12]).all()  # an untrained policy's
    peer.decode(instances)
    assert peer.parameters() == len(moved)
    if kind is Ours:
        expected = Multistart()(policy, instances, torch.Generator()).cost
        assert torch.allclose(cost, expected.double(), atol=1e-5)


def test_turns_are_paired(capsys):
    """The ratio is the median over the turns, not the ratio of medians."""
    benchmark_rl4co.report(("one", "other"), [[60.0, 30.0, 20.0], [30.0, 30.0, 5.0]])
    assert capsys.readouterr().out.splitlines() == [
        "one          30 instances/s",
        "other        30 instances/s",
        "one is 2.00 times as fast (median of the turns; the middle half of them: 1.50 to 3.00)",
    ]


def test_both_are_measured(without_rl4co, tmp_path, monkeypatch, capsys):
    """Training, memory and decoding of each."""
    monkeypatch.setattr(benchmark_rl4co, "_TURN", 0.05)
    monkeypatch.setattr(benchmark_rl4co, "_DECODINGS", 2)
    monkeypatch.setattr(benchmark_rl4co, "_FIRST_DECODINGS", 1)
    config = composed("benchmark", [*POMO, "warmup=1", "steps=2", "decoded=4"])
    benchmark_rl4co.prepare(Job(config, tmp_path, (), False))()
    said = capsys.readouterr().out
    assert said.count("one is ") == said.count("peak memory") == 2
    assert "training, 2 turns of each" in said
    assert "greedy decoding, 4 instances at once" in said


def test_a_race(without_rl4co, tmp_path, monkeypatch, capsys):
    """Each trains for its time; both files hold every turn."""
    monkeypatch.setattr(race_rl4co, "_TURNS", 2)
    config = composed("race", [*SMALL, "max_time=0.4", "validation.limit=8", "progress=false"])
    race_rl4co.prepare(Job(config, tmp_path, (), False))()
    rows = list(csv.DictReader(Path(tmp_path, "race.csv").read_text().splitlines()))
    assert [row["code"] for row in rows] == ["one", "other"] * 3
    for code in ("one", "other"):
        own = [row for row in rows if row["code"] == code]
        assert float(own[0]["seconds"]) == int(own[0]["instances"]) == 0
        assert float(own[-1]["seconds"]) >= 0.4
        assert int(own[1]["instances"]) < int(own[2]["instances"])
        assert all(float(row["gap"]) > 0 for row in own)
    # The same seed, so the same weights before they learn.
    assert rows[0]["cost"] == rows[1]["cost"]
    assert b"<svg" in Path(tmp_path, "race.svg").read_bytes()
    assert capsys.readouterr().out.count("instances  cost") == 6


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("max_time=null", "max_time is null"),
        ("device=cuda", "device is cuda"),
        ("policy=am", "multistart is false"),
    ],
)
def test_a_race_that_cannot_be_run(without_rl4co, tmp_path, override, said):
    """Before any work."""
    overrides = [override, "baseline=rollout", "num_rollouts=1", "multistart=false"]
    config = composed("race", overrides if override == "policy=am" else [override])
    with pytest.raises(ValueError, match=said):
        race_rl4co.prepare(Job(config, tmp_path, (), False))
