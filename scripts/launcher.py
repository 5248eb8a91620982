"""Between the command line and a program: Hydra, the schema, and the exit code.

A program is a function `prepare(job)` that builds all that its arguments name and returns the
function that does the work. Arguments are checked before `prepare` imports torch. Exit codes:
0 done, 1 a failure, 2 unusable arguments, 130 and 143 interrupted.
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/NAME.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.checks import UsageError, check_config, choices  # noqa: E402
from scripts.overrides import config_groups, jobs, read_overrides, set_keys  # noqa: E402

UNUSABLE = (ValueError, TypeError, FileNotFoundError, NotADirectoryError, IsADirectoryError)
SPEAKING = (ValueError, OSError, HydraException)  # their text says enough without their name
LONGEST = 400  # characters of an error's text
INTERRUPTED = (130, 143)


@dataclass(frozen=True)
class Job:
    """One run of the program.

    Attributes:
        config: checked, resolved, plain: dicts, lists and scalars.
        run_folder: absolute; exists. With `resume`, that folder.
        overridden: keys set on the command line, dotted, `resume` left out. A group counts
            by its name (`encoder`), an experiment by the keys that its file sets.
    """

    config: dict[str, Any]
    run_folder: Path
    overridden: tuple[str, ...]


Prepare = Callable[[Job], Callable[[], int | None]]


def launch(prepare: Prepare, schema: type, config_name: str, root: Path = ROOT) -> NoReturn:
    """Run the program on the command line's arguments and exit.

    Args:
        prepare: builds, and returns the work. ValueError, TypeError or a missing file in it
            means unusable arguments; any other error, or one in the work, a failure. The work
            returns its exit code, None for 0.
        schema: dataclass of the config, see `checks.check_config`.
        config_name: file in configs/ without its suffix.
        root: folder that holds configs/ and the packages named in the configs.
    """
    arguments = sys.argv[1:]
    debug = "--debug" in arguments or os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        code = _launch(prepare, schema, config_name, root, arguments, debug)
    except KeyboardInterrupt:
        code = _report("interrupted", 130, debug)
    except UsageError as error:
        code = _report(str(error), 2, debug)
    except Exception as error:  # Hydra's own, while it sets up the run folder and its log
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        code = _report(f"cannot set up the run: {_one_line(cause)}", 1, debug)
    sys.exit(code)


def _launch(
    prepare: Prepare, schema: type, config_name: str, root: Path, arguments: list[str], debug: bool
) -> int:
    flags, texts = _read_flags([a for a in arguments if a != "--debug"], schema)
    if not flags.direct:
        texts = _check(schema, config_name, root, flags, texts)
    codes = [0]

    def task(config: DictConfig) -> None:
        with _environment("HYDRA_FULL_ERROR", "1" if debug else None):
            codes.append(_run(prepare, schema, root, config, debug))
        if codes[-1] in INTERRUPTED:
            sys.exit(codes[-1])  # ends a sweep, too

    # With this variable Hydra raises its errors; otherwise it prints them and exits.
    with _environment("HYDRA_FULL_ERROR", "1"), _command_line([*flags.passed, *texts]):
        hydra.main(str(root / "configs"), config_name, version_base="1.3")(task)()
    return max(codes)


@dataclass(frozen=True)
class _Flags:
    multirun: bool
    shown: bool  # the config is printed, nothing runs
    direct: bool  # Hydra's business, no config is read
    passed: tuple[str, ...]  # as Hydra takes them


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _read_flags(arguments: list[str], schema: type) -> tuple[_Flags, list[str]]:
    """The flags and, in order, the overrides.

    Raises:
        UsageError: for an unknown flag.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-c", "--cfg", choices=("job", "hydra", "all"))
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--hydra-help", action="store_true")
    parser.add_argument("-sc", "--shell-completion", action="store_true")
    found, texts = parser.parse_known_args(arguments)
    for text in texts:
        if text.startswith("-"):
            name = text.lstrip("-").partition("=")[0].replace("-", "_")
            allowed = ("--cfg", "--debug", "--help", "--multirun", "--resolve")
            hint = choices(text, allowed)
            if name in {field.name for field in fields(schema)}:
                hint = f"write {name}=VALUE"
            raise UsageError(f"{text}: no such flag; {hint}")
    if found.help + found.multirun + (found.cfg is not None) > 1:
        raise UsageError("--help, --multirun and --cfg cannot be combined")
    if found.resolve and not (found.help or found.cfg):
        raise UsageError("--resolve goes with --cfg or --help only")
    passed = [
        flag
        for flag in ("help", "multirun", "resolve", "hydra_help", "shell_completion")
        if getattr(found, flag)
    ]
    passed = [f"--{flag.replace('_', '-')}" for flag in passed]
    return _Flags(
        multirun=found.multirun,
        shown=found.help or found.cfg is not None,
        direct=found.hydra_help or found.shell_completion,
        passed=(*passed, *(["--cfg", found.cfg] if found.cfg else [])),
    ), texts


def _check(
    schema: type, config_name: str, root: Path, flags: _Flags, texts: list[str]
) -> list[str]:
    """Check the configs of all jobs.

    Returns:
        The overrides as Hydra needs them.

    Raises:
        UsageError: for the first thing that cannot be used.
    """
    names = {field.name for field in fields(schema)}
    with hydra.initialize_config_dir(str(root / "configs"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        groups = config_groups(root / "configs")
        composer = _Composer(config_name, set(groups))
        optional = set(groups) - names
        typed = read_overrides(texts, loader, groups, optional)
        whole = composer.base([o for o in typed if not o.is_sweep_override()])
        multirun = flags.multirun or whole.hydra.mode == RunMode.MULTIRUN
        grid = dict(whole.hydra.sweeper.get("params") or {}) if multirun else {}
        for override in typed:
            grid.pop(override.key_or_group, None)
            if override.is_sweep_override() and not multirun:
                raise UsageError(f"{override.input_line}: several values need --multirun")
        swept = read_overrides([f"{k}={v}" for k, v in grid.items()], loader, groups, optional)
        added: set[str] = set()
        for number, job in enumerate(jobs([*swept, *typed])):
            config = composer.job(job, added)
            plain = check_config(schema, _plain(config), root, allow_missing=flags.shown)
            resume = plain.get("resume")
            if resume is None and not flags.shown and whole.hydra.output_subdir is not None:
                _refuse_used(composer.folder(job, config, number if multirun else None))
        final = [f"++{o.input_line}" if o.key_or_group in added else o.input_line for o in typed]
        if flags.shown or resume is None:
            return final
        if multirun:
            raise UsageError("resume: a sweep cannot be resumed; resume its runs one by one")
        if not Path(resume).is_dir():
            raise UsageError(f"resume: {resume} is no run folder")
        # The run's own .hydra/ stays as it was.
        return [*final, f"hydra.run.dir={_quoted(resume)}", "hydra.output_subdir=null"]


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
                raise UsageError(str(error).partition("\n")[0]) from error
            self.composed[selection] = composed
        composed = self.composed[selection]
        if composed is not self.current:  # what ${hydra:...} reads
            HydraConfig.instance().set_config(composed)
            self.current = composed
        return composed

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
                raise UsageError(f"{override.input_line}: {_one_line(error)}") from error
        return config

    def folder(self, job: list[Override], config: DictConfig, number: int | None) -> Path:
        """The folder of the run, or of the sweep's job of that number."""
        settings = self.base(job).hydra
        if number is not None and not Path(settings.sweep.dir).exists():
            return Path(settings.sweep.dir)
        whole = copy.deepcopy(config)
        OmegaConf.update(whole, "hydra", settings, force_add=True)
        if number is None:
            return Path(whole.hydra.run.dir)
        OmegaConf.set_readonly(whole.hydra, False)
        whole.hydra.job.num = number
        return Path(whole.hydra.sweep.dir, whole.hydra.sweep.subdir)


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        return OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UsageError(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def _run(prepare: Prepare, schema: type, root: Path, config: DictConfig, debug: bool) -> int:
    """Prepare and run one job, and give its exit code."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    owned = settings.output_subdir is not None
    names = {field.name for field in fields(schema)}
    overridden = set_keys(settings.overrides.task, root / "configs", names)
    try:
        if owned:
            _refuse_used(folder)
        plain = check_config(schema, _plain(config), root)
        work = prepare(Job(plain, folder, tuple(key for key in overridden if key != "resume")))
    except UNUSABLE as error:
        if owned and not _holds_run(folder) and folder != Path.cwd():
            shutil.rmtree(folder)
        hint = "" if isinstance(error, SPEAKING) else " (--debug shows the traceback)"
        return _report(_one_line(error) + hint, 2, debug)
    except Exception as error:
        return _report(f"{_one_line(error)} ({_keep_traceback()})", 1, debug)
    try:
        return work() or 0
    except Exception as error:
        return _report(f"{_one_line(error)} ({_keep_traceback()})", 1, debug)


def _holds_run(folder: Path) -> bool:
    """Whether the folder has more in it than Hydra puts there."""
    if not folder.is_dir():
        return False
    return any(path.name != ".hydra" and path.suffix != ".log" for path in folder.iterdir())


def _refuse_used(folder: Path) -> None:
    if _holds_run(folder):
        shown = os.path.relpath(folder)
        raise UsageError(f"name: {shown} is in use; continue it with resume={shown}, or rename")


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {error.filename}"
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return text if text and isinstance(error, SPEAKING) else f"{type(error).__name__}: {text}"


def _report(line: str, code: int, debug: bool) -> int:
    if debug and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(line, file=sys.stderr, flush=True)
    return code


def _keep_traceback() -> str:
    """Write the traceback to the run's log file, if there is one, and say where it is."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            record = {"levelno": logging.ERROR, "levelname": "ERROR", "exc_info": sys.exc_info()}
            handler.handle(logging.makeLogRecord({**record, "msg": "the run failed"}))
            return f"traceback in {os.path.relpath(handler.baseFilename)}"
    return "--debug shows the traceback"


def _quoted(text: str) -> str:
    """As a value that Hydra reads back unchanged."""
    return "'" + text.replace("'", "\\'").replace("${", "\\${") + "'"


@contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


@contextmanager
def _command_line(arguments: list[str]) -> Iterator[None]:
    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        yield
    finally:
        sys.argv = before
