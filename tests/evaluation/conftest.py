"""A checkpoint that took no training, and the config of an evaluation of it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from vrp.training.build import build_policy
from vrp.training.checkpoint import save_checkpoint

CONFIG = {
    "problem": {
        "_target_": "vrp.problem.UniformGenerator",
        "num_customers": 10,
        "capacity": 20,
        "min_demand": 1,
        "max_demand": 9,
        "split_delivery": False,
    },
    "encoder": {"_target_": "vrp.policy.encoders.Conv1dEncoder", "embedding_dim": 8},
    "policy": {"_target_": "vrp.policy.PointerPolicy", "embedding_dim": 8},
}


@pytest.fixture
def tiny_content():
    """The content of a checkpoint of a policy with random weights."""
    config = copy.deepcopy(CONFIG)
    policy = build_policy(config)
    policy.initialise(0)
    return {"config": config, "policy": policy.state_dict(), "progress": {"instances": 1234}}


@pytest.fixture
def tiny_run(tmp_path, tiny_content) -> Path:
    """A run folder with best.pt and last.pt."""
    folder = tmp_path / "tiny-run"
    folder.mkdir()
    for name in ("best.pt", "last.pt"):
        save_checkpoint(folder / name, tiny_content)
    return folder


@pytest.fixture
def evaluate_config(tiny_run, tmp_path):
    """The config that `scripts/evaluate.py` would hand over, with some keys changed."""

    def with_keys(**keys):
        config = {
            "checkpoint": str(tiny_run),
            "data": "kool10",
            "decode": {"_target_": "vrp.search.Greedy"},
            "limit": 20,
            "output": str(tmp_path / "results"),
            "seed": 0,
            "device": "cpu",
            "threads": None,
            "compile": "off",
            "batch_size": 1000,
            "capacity": None,
            "split_delivery": None,
        }
        assert keys.keys() <= config.keys()
        return config | keys

    return with_keys
