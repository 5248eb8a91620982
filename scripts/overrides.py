"""What was typed, key=value by key=value: read, checked, and spread over the jobs of a sweep."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from scripts.checks import UsageError, choices


def config_groups(configs: Path) -> dict[str, list[str]]:
    """The options of each group in the config folder."""
    folders = sorted(path for path in configs.iterdir() if path.is_dir())
    return {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}


def read_overrides(
    texts: Iterable[str],
    loader: ConfigLoader,
    groups: dict[str, list[str]],
) -> list[Override]:
    """The overrides, each key once, every option of a group known.

    Args:
        texts: as typed. A leading + or ++ says nothing that the schema does not know and is
            dropped.
        loader: of the config folder.
        groups: the options of each group.

    Raises:
        UsageError: for the first that cannot be used.
    """
    parser = OverridesParser.create(config_loader=loader)
    overrides: dict[str, Override] = {}
    for text in texts:
        override = _read(text, parser)
        key = override.key_or_group
        if key in overrides:
            first = overrides[key].input_line
            raise UsageError(f"{key}: given twice, {first!r} and {override.input_line!r}")
        if override.is_interval_sweep():
            raise UsageError(f"{override.input_line}: an interval cannot be swept; list values")
        if key in groups and not isinstance(override.value(), dict):
            options = groups[key]
            for value in _values(override):
                if value not in options:
                    raise UsageError(f"{key}: no option {value!r}; {choices(value, options)}")
        overrides[key] = override
    return list(overrides.values())


def _read(text: str, parser: OverridesParser) -> Override:
    if text.startswith("~"):
        raise UsageError(f"{text!r}: keys cannot be removed")
    plain = text.lstrip("+")
    key, equals, value = plain.partition("=")
    if not equals or not key:
        raise UsageError(f"{text!r}: expected key=value")
    try:
        override = parser.parse_override(plain)
    except HydraException as error:
        reason = str(error).splitlines()[0]
        quoted = "'" + value.replace("'", "\\'") + "'"
        raise UsageError(
            f'{text!r} cannot be read ({reason}); quote special characters: "{key}={quoted}"'
        ) from error
    if override.package is not None:
        raise UsageError(f"{text!r}: '@' cannot be used here")
    override.config_loader = parser.config_loader
    return override


def _values(override: Override) -> list[str]:
    """The values in turn, as they would be typed: one, or those of a sweep."""
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    value = override.value()
    return ["null" if value is None else str(value)]


def jobs(overrides: Iterable[Override]) -> list[list[Override]]:
    """The overrides of each job of a sweep, in the order Hydra's basic sweeper runs them."""
    parser = OverridesParser.create()
    choices_of_each = [
        [parser.parse_override(f"{o.key_or_group}={value}") for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [o]
        for o in overrides
    ]
    return [list(job) for job in itertools.product(*choices_of_each)]


def set_keys(texts: Iterable[str], configs: Path, sections: Iterable[str]) -> tuple[str, ...]:
    """Config keys that overrides set, dotted; those of an experiment file are listed singly.

    Args:
        texts: key=value, as a run keeps them.
        configs: the config folder.
        sections: groups that fill a section of their own name; any other group's file sets
            keys of the whole config.
    """
    keys: list[str] = []
    for text in texts:
        key, _, value = text.lstrip("+").partition("=")
        file = configs / key / f"{value}.yaml"
        if key in sections or not file.is_file():
            keys.append(key)
            continue
        content = OmegaConf.load(file)
        for default in content.pop("defaults", []):
            if isinstance(default, str):  # another file of the group
                keys += set_keys([f"{key}={default}"], configs, sections)
            else:
                keys += [group.removeprefix("override ").strip("/") for group in default]
        keys += leaves(OmegaConf.to_container(content))
    return tuple(dict.fromkeys(key for key in keys if not key.startswith("hydra")))


def leaves(values: dict, prefix: str = "") -> dict[str, object]:
    """All values of nested sections, by dotted key."""
    found: dict[str, object] = {}
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        found |= leaves(value, f"{dotted}.") if isinstance(value, dict) else {dotted: value}
    return found
