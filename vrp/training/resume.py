"""Going on where a run stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import fields
from pathlib import Path

from vrp.training.build import SECTIONS, keys_of
from vrp.training.checkpoint import CheckpointError, load_checkpoint
from vrp.training.learner import Learner
from vrp.training.progress import Progress
from vrp.training.settings import MAY_DIFFER
from vrp.training.start import differences, some


def resumed_config(
    config: dict, folder: Path, overridden: tuple[str, ...]
) -> tuple[dict, dict | None]:
    """The config to train with, and the checkpoint to go on from.

    Args:
        config: of the command line.
        folder: of the run.
        overridden: dotted keys that the user gave on the command line.

    Returns:
        `config` and None for a new run; for `resume=...` the checkpoint's config with what may
        differ taken from the command line, and the checkpoint.

    Raises:
        ValueError: if the user gave a key that may not differ another value; names both. And if
            the run's config has other keys than this version's; names some.
        FileNotFoundError: if the folder holds no checkpoint.
        CheckpointError: if neither last.pt nor previous.pt can be read.
    """
    if config["resume"] is None:
        return config, None
    checkpoint = _load_last(folder)
    stored = dict(checkpoint["config"])
    _refuse(folder, _other_keys(config, stored))
    for key in overridden:
        if key in MAY_DIFFER:
            continue
        for name, here, there in _differences(key, config, stored):
            raise ValueError(
                f"{name} is {here} here and {there} in the run to resume; only "
                f"{', '.join(sorted(MAY_DIFFER))} may differ"
            )
    merged = stored | {key: config[key] for key in overridden if key in MAY_DIFFER}
    merged["resume"] = config["resume"]
    horizon = merged["decay_instances"]
    if merged["learning_rate_decay"] == "linear" and merged["max_instances"] > horizon:
        raise ValueError(
            f"max_instances is {merged['max_instances']}, but the learning rate of this run "
            f"reaches zero at {horizon} instances (decay_instances)"
        )
    return merged, checkpoint


def refuse_other_weights(folder: Path, checkpoint: dict, learner: Learner) -> None:
    """Raise a ValueError if a checkpoint does not hold what is to go on; names some of it.

    Args:
        folder: of the run.
        checkpoint: that `resumed_config` gave.
        learner: that its config describes.
    """
    parts = ("policy", "baseline")
    others = ("optimizer", "progress", "rounding", "products", "started_from", "validating")
    _refuse(folder, _missing((*parts, *others), checkpoint))
    known = [field.name for field in fields(Progress)]
    _refuse(folder, _misnamed(known, checkpoint["progress"], "progress."))
    weights = {f"{part}.{name}": held for part in parts for name, held in checkpoint[part].items()}
    _refuse(folder, differences(learner, weights))


def _refuse(folder: Path, wrong: Iterable[str]) -> None:
    if wrong := list(wrong):
        raise ValueError(
            f"{os.path.relpath(folder)} was begun by another version of this program "
            f"({some(wrong)}); begin again"
        )


def _other_keys(config: dict, stored: dict) -> Iterator[str]:
    """What keys a stored config lacks, or has too many, two levels deep."""
    yield from _misnamed(config, stored)
    for name, here in config.items():
        there = stored.get(name)
        if isinstance(here, dict) and isinstance(there, dict):
            wanted = keys_of(name, there) if name in SECTIONS else here
            yield from _misnamed(wanted, there, f"{name}.")


def _misnamed(wanted: Iterable[str], held: Collection[str], prefix: str = "") -> Iterator[str]:
    yield from _missing(wanted, held, prefix)
    yield from (f"{prefix}{name} is not known" for name in held if name not in wanted)


def _missing(wanted: Iterable[str], held: Collection[str], prefix: str = "") -> Iterator[str]:
    return (f"{prefix}{name} is missing" for name in wanted if name not in held)


def _differences(key: str, config: dict, stored: dict) -> Iterator[tuple[str, object, object]]:
    """Each value below a key in which two configs differ: dotted name, here and there.

    A value that a section takes from the key of its name at the top, as `embedding_dim`, was not
    given with the section: it does not count.
    """
    here, there = _lookup(config, key), _lookup(stored, key)
    if isinstance(here, dict) and isinstance(there, dict):
        for name in sorted({*here, *there}):
            both = here.get(name), there.get(name)
            if name not in config or both != (config[name], stored.get(name)):
                yield from _differences(f"{key}.{name}", config, stored)
    elif here != there:
        yield key, here, there


def _load_last(folder: Path) -> dict:
    last, previous = folder / "last.pt", folder / "previous.pt"
    try:
        return load_checkpoint(last)
    except (CheckpointError, FileNotFoundError) as error:
        if not previous.exists():
            raise
        content = load_checkpoint(previous)
        print(f"{error}; going on from {previous}", file=sys.stderr)
        if last.exists():  # out of the way, or the next save would keep it as previous.pt
            last.replace(folder / "damaged.pt")
        return content


def _lookup(config: dict, key: str) -> object:
    found: object = config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
