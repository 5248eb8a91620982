"""Weights beyond the last ones: which are kept, and that nothing else is."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.append(str(ROOT / "tests" / "training"))

from runs import metrics, small_config  # noqa: E402

from scripts.extrapolate import between, main  # noqa: E402
from vrp.evaluation.trained import find_checkpoint, load_trained  # noqa: E402
from vrp.training.build import build_generator, build_policy  # noqa: E402
from vrp.training.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from vrp.training.trainer import Trainer  # noqa: E402
from vrp.training.validation import make_validation  # noqa: E402

FACTORS = ["0.5", "1", "3", "0.25"]


def checkpoint(folder: Path, seed: int, *overrides: str) -> str:
    """A policy of a small run as its seed draws it."""
    config = small_config(*overrides)
    policy = build_policy(config)
    policy.initialise(seed)
    folder.mkdir()
    content = {"config": config, "policy": policy.state_dict(), "progress": {"instances": 8}}
    save_checkpoint(folder / "best.pt", content)
    return str(folder)


@pytest.fixture
def pair(tmp_path) -> list[str]:
    """Two checkpoints of one shape."""
    return [checkpoint(tmp_path / name, seed) for seed, name in enumerate(("earlier", "later"))]


def cost_at(pair: list[str], factor: float) -> float:
    """Of greedy tours on the validation set, with weights made here."""
    held = [load_checkpoint(Path(folder, "best.pt")) for folder in pair]
    config = held[1]["config"]
    policy = build_policy(config)
    policy.load_state_dict(
        {
            name: (1 - factor) * held[0]["policy"][name] + factor * held[1]["policy"][name]
            for name in policy.state_dict()
        }
    )
    chosen = config["validation"]
    validation = make_validation(
        build_generator(config), chosen["set"], chosen["limit"], chosen["decode"]
    )
    return validation(policy, torch.device("cpu")).cost.mean().item()


def test_the_best_factor_is_kept(pair, tmp_path, capsys):
    """Each is measured from the two files alone, whatever was tried before it."""
    arguments = [*pair, "far", "--factors", *FACTORS, "--decode", "greedy", "--threads", "1"]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    printed = re.findall(r"factor (\S+) +(\d+\.\d+)", capsys.readouterr().out)
    expected = {factor: cost_at(pair, float(factor)) for factor in FACTORS}
    assert {factor: float(cost) for factor, cost in printed} == pytest.approx(expected, abs=2e-5)
    best = min(expected, key=expected.__getitem__)
    content = load_checkpoint(tmp_path / "far" / "best.pt")
    origin = content["started_from"]
    assert origin["extrapolated"]["factor"] == float(best)
    assert origin["instances"] == 8
    first, last = (load_checkpoint(Path(folder, "best.pt"))["policy"] for folder in pair)
    for name, tensor in between(first, last, float(best)).items():
        assert torch.equal(content["policy"][name], tensor)
    trained = load_trained(*find_checkpoint(str(tmp_path / "far")))
    assert trained.instances == 8


def test_what_is_left_is_a_runs(pair, tmp_path):
    """The files have the columns and keys of a run's, but what only training further needs."""
    arguments = [*pair, "far", "--factors", "1", "--decode", "greedy", "--threads", "1"]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    run = tmp_path / "run"
    run.mkdir()
    config = small_config("max_instances=8")
    Trainer(config, run, torch.device("cpu"), time.perf_counter()).run()
    summaries = [json.loads((x / "summary.json").read_text()) for x in (tmp_path / "far", run)]
    assert summaries[0].keys() == summaries[1].keys()
    assert {summary["device"] for summary in summaries} == {"cpu"}
    assert {summary["products"] for summary in summaries} == {"float32"}
    held = [load_checkpoint(x / "best.pt").keys() for x in (tmp_path / "far", run)]
    assert held[1] - held[0] == {"baseline", "optimizer", "validating"}
    assert held[0] <= held[1]
    far, ours = (metrics(x) for x in (tmp_path / "far", run))
    assert far[0].keys() == ours[0].keys()
    assert far[0]["val_cost"] == f"{summaries[0]['best_val_cost']:.6g}"
    assert not list((tmp_path / "far").glob("*.tmp"))


def test_one_is_the_later_itself(pair):
    """To the last bit but rounding, and nothing is the earlier."""
    first, last = (load_checkpoint(Path(folder, "best.pt"))["policy"] for folder in pair)
    for name, tensor in between(first, last, 1.0).items():
        torch.testing.assert_close(tensor, last[name])
    for name, tensor in between(first, last, 0.0).items():
        assert torch.equal(tensor, first[name])


def test_statistics_are_the_laters(tmp_path):
    """A variance that shrank would be below zero further on."""
    network = ("policy=attention", "encoder=linear", "policy.normalization=batch")
    pair = [checkpoint(tmp_path / name, 0, *network) for name in ("earlier", "later")]
    for folder, variance in zip(pair, (4.0, 1.0), strict=True):
        content = load_checkpoint(Path(folder, "best.pt"))
        for name, tensor in content["policy"].items():
            if name.endswith("running_var"):
                tensor.fill_(variance)
        save_checkpoint(Path(folder, "best.pt"), content)
    arguments = [*pair, "far", "--factors", "2", "--decode", "greedy", "--threads", "1"]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    kept = load_checkpoint(tmp_path / "far" / "best.pt")["policy"]
    found = [tensor for name, tensor in kept.items() if name.endswith("running_var")]
    assert found
    assert all((tensor == 1).all() for tensor in found)


def test_what_does_not_fit_is_refused(pair, tmp_path, capsys):
    """Other shapes, a folder in use, a checkpoint that is not there; nothing is written."""
    other = checkpoint(tmp_path / "other", 0, "embedding_dim=16")
    output = ["--output", str(tmp_path)]
    assert main([other, pair[1], "far", *output]) == 2
    assert "are not alike" in capsys.readouterr().err
    clipped = checkpoint(tmp_path / "clipped", 0, "policy.tanh_clipping=10")
    assert main([clipped, pair[1], "far", *output]) == 2
    assert "policy.tanh_clipping is 10 and should be 0.0" in capsys.readouterr().err
    assert main([*pair, "later", *output]) == 2
    assert "exists; choose another name" in capsys.readouterr().err
    assert main(["nowhere", pair[1], "far", *output]) == 2
    assert "EARLIER: nowhere is no file" in capsys.readouterr().err
    content = load_checkpoint(Path(pair[1], "best.pt"))
    del content["config"]["validation"]  # as of imported weights
    save_checkpoint(Path(pair[1], "best.pt"), content)
    assert main([*pair, "far", *output]) == 2
    assert "names no validation set" in capsys.readouterr().err
    assert not (tmp_path / "far").exists()
