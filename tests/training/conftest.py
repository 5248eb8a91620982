"""What the tests of training share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from runs import small_config

from vrp.training.trainer import Trainer


@pytest.fixture(autouse=True, scope="package")
def no_pictures():
    """Drawing takes longer than all the rest of a small run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vrp.training.trainer.can_draw", lambda: False)
        yield


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Makes a small run: `make_trainer(*overrides, folder="run")`."""

    def make(*overrides: str, folder: str = "run") -> Trainer:
        (tmp_path / folder).mkdir()
        config = small_config(*overrides)
        return Trainer(config, tmp_path / folder, torch.device("cpu"), time.perf_counter())

    return make
