"""Going on where a run stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from vrp.training.checkpoint import CheckpointError, load_checkpoint
from vrp.training.settings import MAY_DIFFER


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
        ValueError: if the user gave a key that may not differ another value; names both.
        FileNotFoundError: if the folder holds no checkpoint.
        CheckpointError: if neither last.pt nor previous.pt can be read.
    """
    if config["resume"] is None:
        return config, None
    checkpoint = _load_last(folder)
    stored = dict(checkpoint["config"])
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
