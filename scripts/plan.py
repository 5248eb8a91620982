"""The configs of all jobs on a command line, composed and checked before any of them starts."""

from __future__ import annotations

import copy
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from scripts.checks import UsageError, check_config, one_line
from scripts.overrides import config_groups, jobs, leaves, read_overrides
from scripts.resolve import plain_config
from scripts.sweep import holds_checkpoint, holds_run, sweep_overrides
from vrp.training.settings import MAY_DIFFER


@dataclass(frozen=True)
class Plan:
    """What is about to run.

    Attributes:
        overrides: as Hydra needs them.
        runs: the config of each run of a sweep, by its folder; empty without one.
    """

    overrides: list[str]
    runs: dict[Path, dict[str, Any]]


def make_plan(
    schema: type, config_name: str, root: Path, texts: list[str], multirun: bool, shown: bool
) -> Plan:
    """Compose and check the configs of all jobs that the overrides make.

    Args:
        schema: dataclass of the config, see `check_config`.
        config_name: file in configs/ without its suffix.
        root: folder that holds configs/ and the packages named in the configs.
        texts: overrides as typed.
        multirun: whether several values for a key are a sweep.
        shown: the config is only printed: values may be missing, no folder is looked at.

    Raises:
        UsageError: for the first thing that cannot be used.
    """
    with hydra.initialize_config_dir(str(root / "configs"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        groups = config_groups(root / "configs")
        composer = _Composer(config_name, set(groups))
        typed = read_overrides(texts, loader, groups)
        whole = composer.base([o for o in typed if not o.is_sweep_override()])
        multirun = multirun or whole.hydra.mode == RunMode.MULTIRUN
        params = dict(whole.hydra.sweeper.get("params") or {}) if multirun else {}
        grid = read_overrides([f"{k}={v}" for k, v in params.items()], loader, groups)
        for override in typed:
            if override.is_sweep_override() and not multirun:
                raise UsageError(f"{override.input_line}: several values need --multirun")
        set_by_user = [o.key_or_group for o in typed]
        swept = [o for o in grid if o.key_or_group not in set_by_user]
        owned = whole.hydra.output_subdir is not None
        if multirun and owned:
            several = [o.key_or_group for o in [*grid, *typed] if o.is_sweep_override()]
            more = sweep_overrides(whole, several, set_by_user, groups)
            typed += read_overrides(more, loader, groups)
        added: set[str] = set()
        runs: dict[Path, dict[str, Any]] = {}
        for job in jobs([*swept, *typed]):
            config = composer.job(job, added)
            try:
                plain = check_config(schema, plain_config(config), root, allow_missing=shown)
            except UsageError as error:
                told = composer.of_resumed(job, config) or _with_followed(str(error), config)
                raise UsageError(told) from error
            resume = plain.get("resume")
            if resume is not None and multirun:
                raise UsageError(
                    "resume: a sweep is resumed by starting it again, its runs one by one"
                )
            if resume is None and not shown and owned:
                folder = composer.folder(job, config, len(runs) if multirun else None)
                if not multirun:
                    refuse_used(folder)
                elif folder in runs:
                    raise UsageError(
                        f"hydra.sweep.subdir: two runs of the sweep would share {folder}"
                    )
                else:
                    _refuse_other(folder, schema, plain, root)
                    runs[folder] = plain
        final = [f"++{o.input_line}" if o.key_or_group in added else o.input_line for o in typed]
        if shown or resume is None:
            return Plan(final, runs)
        if not Path(resume).is_dir():
            raise UsageError(f"resume: {resume} is no run folder")
        if not holds_checkpoint(Path(resume)):
            raise UsageError(f"resume: {resume} holds no checkpoint")
        # The run's own .hydra/ stays as it was.
        final += [f"hydra.run.dir={_quoted(resume)}", "hydra.output_subdir=null"]
        return Plan(final, {})


class _Composer:
    """Composes configs for checking, each choice of groups once."""

    def __init__(self, config_name: str, groups: set[str]) -> None:
        self.config_name = config_name
        self.groups = groups
        self.composed: dict[tuple[str, ...], DictConfig] = {}
        self.current: DictConfig | None = None

    def selects(self, override: Override) -> bool:
        """Whether Hydra takes the override while it composes, not as a value afterwards."""
        group = override.key_or_group in self.groups and not isinstance(override.value(), dict)
        return group or override.is_hydra_override()

    def base(self, job: list[Override]) -> DictConfig:
        """The config with the job's groups and nothing else of the job."""
        selection = tuple(o.input_line for o in job if self.selects(o))
        if selection not in self.composed:
            try:
                composed = hydra.compose(self.config_name, [*selection], return_hydra_config=True)
            except Exception as error:  # the lines after the first are advice that holds no more
                said = self._foreign(job) or str(error).partition("\n")[0]
                raise UsageError(said) from error
            self.composed[selection] = composed
        composed = self.composed[selection]
        if composed is not self.current:  # what ${hydra:...} reads
            HydraConfig.instance().set_config(composed)
            self.current = composed
        return composed

    def _foreign(self, job: list[Override]) -> str | None:
        """What is wrong with an override that chooses of a group of another program's; or None."""
        chosen = hydra.compose(self.config_name, [], return_hydra_config=True).hydra.runtime.choices
        own = [group for group in chosen if not group.startswith("hydra/")]
        for name in (override.key_or_group for override in job):
            if name in self.groups and name not in chosen:
                return f"{name}: no choice of this program; allowed: {', '.join(own)}"
        return None

    def of_resumed(self, job: list[Override], config: DictConfig) -> str | None:
        """What is wrong with a key of a section that the run to resume chose otherwise; or None."""
        file = Path(str(config.get("resume")), ".hydra", "hydra.yaml")
        if not file.is_file():
            return None
        stored = OmegaConf.load(file).hydra.runtime.choices
        here = self.base(job).hydra.runtime.choices
        for override in job:
            section, _, key = override.key_or_group.partition(".")
            if key and section in here and here[section] != stored.get(section):
                return (
                    f"{override.key_or_group}: the run to resume has {section}="
                    f"{stored.get(section)}; type that, too"
                )
        return None

    def job(self, job: list[Override], added: set[str]) -> DictConfig:
        """The job's config; keys that the config files do not have are put into `added`."""
        base = self.base(job)
        config = OmegaConf.masked_copy(base, [key for key in base if key != "hydra"])
        for override in job:
            if self.selects(override):
                continue
            key = override.key_or_group
            parent, _, name = key.rpartition(".")
            try:
                owner = OmegaConf.select(config, parent) if parent else config
                if not isinstance(owner, DictConfig) or name not in owner.keys():  # noqa: SIM118
                    added.add(key)  # `in owner` misses keys that still need a value
                OmegaConf.update(config, key, override.value(), merge=True, force_add=True)
            except Exception as error:
                raise UsageError(f"{override.input_line}: {one_line(error)}") from error
        return config

    def folder(self, job: list[Override], config: DictConfig, number: int | None) -> Path:
        """The folder of the run, or of the sweep's job of that number."""
        settings = self.base(job).hydra
        whole = copy.deepcopy(config)
        OmegaConf.update(whole, "hydra", settings, force_add=True)
        if number is None:
            return Path(whole.hydra.run.dir)
        OmegaConf.set_readonly(whole.hydra, False)
        whole.hydra.job.num = number
        return Path(whole.hydra.sweep.dir, whole.hydra.sweep.subdir)


def _with_followed(told: str, config: DictConfig) -> str:
    """An error's text, and what the key whose value it is about follows where it is not given."""
    key = told.partition(" is ")[0]
    if re.fullmatch(r"[\w.]+", key) is None:
        return told
    parent, _, name = key.rpartition(".")
    owner = OmegaConf.select(config, parent) if parent else config
    if not (isinstance(owner, DictConfig) and OmegaConf.is_interpolation(owner, name)):
        return told
    return f"{told} ({key} is {OmegaConf.to_container(owner)[name]} unless given)"


def refuse_used(folder: Path) -> None:
    """Raise a UsageError if a run has written into the folder."""
    if holds_run(folder):
        shown = os.path.relpath(folder)
        way = f"continue it with resume={shown}" if holds_checkpoint(folder) else "remove it"
        raise UsageError(f"name: {shown} holds a run already; {way}, or choose another name")


def _refuse_other(folder: Path, schema: type, config: dict[str, Any], root: Path) -> None:
    """Raise a UsageError if the sweep would continue a run that has other settings."""
    file = folder / ".hydra" / "config.yaml"
    if not (file.is_file() and holds_checkpoint(folder)):
        return
    stored = OmegaConf.load(file)
    stored.name = config["name"]  # holds the time, in the run's own words
    try:
        before = check_config(schema, plain_config(stored), root)
    except UsageError as error:
        raise UsageError(
            f"{os.path.relpath(folder)} was begun by another version of this program ({error}); "
            "give the sweep another folder with name=NAME"
        ) from error
    here, there = leaves(config), leaves(before)
    for key in sorted({*here, *there} - MAY_DIFFER):
        if here.get(key) != there.get(key):
            raise UsageError(
                f"{os.path.relpath(folder)} was begun with another {key}: {there.get(key)}, not "
                f"{here.get(key)}; give the sweep another folder with name=NAME"
            )


def _quoted(text: str) -> str:
    """As a value that Hydra reads back unchanged."""
    return "'" + text.replace("'", "\\'").replace("${", "\\${") + "'"
