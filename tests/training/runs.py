"""Small runs, and what they leave to be compared."""

from __future__ import annotations

import copy
import csv
from functools import cache
from pathlib import Path

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

ROOT = Path(__file__).resolve().parents[2]

# 12 steps of 8 instances; validated and written every 4 steps.
SMALL = (
    "problem.num_customers=5",
    "problem.capacity=15",
    "batch_size=8",
    "num_rollouts=2",
    "embedding_dim=8",
    "encoder=conv1d",
    "baseline=shared",
    "learning_rate=0.001",
    "learning_rate_decay=linear",
    "grad_clip=1.0",
    "grad_clip_kind=global",
    "max_instances=96",
    "decay_instances=96",
    "validation.every=32",
    "validation.limit=6",
    "checkpoint_every=32",
    "device=cpu",
    "compile=off",
    "progress=false",
    "name=test",
)


def small_overrides(*overrides: str) -> list[str]:
    """The command line of a small run; `overrides` count more than `SMALL`."""
    given = {text.partition("=")[0] for text in overrides}
    return [text for text in SMALL if text.partition("=")[0] not in given] + list(overrides)


def small_config(*overrides: str) -> dict:
    """The plain config of that command line."""
    return composed(*small_overrides(*overrides))


def composed(*overrides: str) -> dict:
    """The plain config of a command line."""
    return copy.deepcopy(_composed(overrides))


@cache
def _composed(overrides: tuple[str, ...]) -> dict:
    with hydra.initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = hydra.compose("config", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    own = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    return OmegaConf.to_container(own, resolve=True)


def metrics(folder: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without the columns that hold times."""
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]


def events(folder: Path) -> list[tuple[int, str]]:
    """Step and tag of everything in the event files that no clock decides, sorted."""
    found = []
    for path in folder.glob("events.out.tfevents.*"):
        for event in EventFileLoader(str(path)).Load():
            found += [(event.step, value.tag) for value in event.summary.value]
    return sorted(found)


def same(first: object, second: object) -> bool:
    """Whether two nested records hold the same, tensors bit for bit; all NaN are one."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and _bits(first) == _bits(second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def _bits(tensor: torch.Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    if tensor.is_floating_point():
        tensor = tensor.masked_fill(tensor.isnan(), torch.nan)
    raw = tensor.detach().cpu().flatten().view(torch.uint8)
    return tensor.dtype, tensor.shape, raw.numpy().tobytes()


LEARNED = ("policy", "baseline", "optimizer")


def learned(checkpoint: dict) -> dict:
    """The part of a checkpoint that must repeat bit for bit."""
    return {key: checkpoint[key] for key in LEARNED}
