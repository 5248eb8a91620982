"""The configs that the study trained its encoders with, as `train.py` composes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import hydra
from omegaconf import OmegaConf

from scripts.resolve import plain_config
from vrp.study.records import ENCODERS

_CONFIGS = Path(__file__).resolve().parent.parent / "configs"
# What the encoders are compared on, by the problem's name in runs.csv, and the overrides for it.
CASES = {
    "vrp10": (),
    "vrp20": ("problem=vrp20",),
    "vrp20-attention": ("sweep=encoders_attention",),
}


def encoder_configs(overrides: Iterable[str]) -> dict[str, dict]:
    """What `train.py` would train with these overrides, plain and complete, by encoder."""
    found = {}
    with hydra.initialize_config_dir(str(_CONFIGS), version_base="1.3"):
        for encoder in ENCODERS:
            config = hydra.compose("config", [*overrides, f"encoder={encoder}"])
            own = OmegaConf.masked_copy(config, [key for key in config if key != "name"])
            found[encoder] = plain_config(own)
    return found
