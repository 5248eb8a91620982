"""Between the command line and a program: Hydra, the schema, and the exit code.

A program is a function `prepare(job)` that builds all that its arguments name and returns the
function that does the work. Arguments are checked before `prepare` imports torch. Exit codes:
0 done, 1 a failure, 2 unusable arguments, 130 and 143 interrupted.
"""

from __future__ import annotations

import argparse
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
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/NAME.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.checks import SPEAKING, UsageError, check_config, choices, one_line  # noqa: E402
from scripts.cores import Reading, choose_waiting  # noqa: E402
from scripts.folder_lock import LOCK, InUse, held  # noqa: E402
from scripts.overrides import set_keys  # noqa: E402
from scripts.plan import make_plan, refuse_used  # noqa: E402
from scripts.resolve import plain_config  # noqa: E402
from scripts.sweep import Status, Sweep, clear, end_of, holds_checkpoint, side_by_side  # noqa: E402

UNUSABLE = (ValueError, TypeError, FileNotFoundError, NotADirectoryError, IsADirectoryError)
INTERRUPTED = (130, 143)


@dataclass(frozen=True)
class Job:
    """One run of the program.

    Attributes:
        config: checked, resolved, plain: dicts, lists and scalars.
        run_folder: absolute; exists. With `resume`, that folder.
        overridden: keys set on the command line, dotted, `resume` left out. A group counts
            by its name (`encoder`), an experiment by the keys that its file sets.
        in_sweep: whether it is one of several.
    """

    config: dict[str, Any]
    run_folder: Path
    overridden: tuple[str, ...]
    in_sweep: bool


_STARTED = Reading.now()

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
        code, _ = _report("interrupted", 130, debug)
    except UsageError as error:
        code, _ = _report(str(error), 2, debug)
    except Exception as error:  # Hydra's own, while it sets up the run folder and its log
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        code, _ = _report(f"cannot set up the run: {one_line(cause)}", 1, debug)
    sys.exit(code)


def _launch(
    prepare: Prepare, schema: type, config_name: str, root: Path, arguments: list[str], debug: bool
) -> int:
    flags, texts = _read_flags([a for a in arguments if a != "--debug"], schema)
    sweep = None
    if not flags.direct:
        plan = make_plan(schema, config_name, root, texts, flags.multirun, flags.shown)
        texts = plan.overrides
        if plan.runs:
            runs = {folder.name: config for folder, config in plan.runs.items()}
            sweep = Sweep.begin(next(iter(plan.runs)).parent, runs)
            # Processes of a parallel launcher find scripts/ by it.
            os.environ["PYTHONPATH"] = os.pathsep.join(
                filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
            )
    codes = [0]

    def task(config: DictConfig) -> None:
        with _environment("HYDRA_FULL_ERROR", "1" if debug else None):
            codes.append(_run(prepare, schema, root, config, debug))
        alone = HydraConfig.get().launcher._target_.endswith("BasicLauncher")
        if alone and codes[-1] in INTERRUPTED:
            sys.exit(codes[-1])  # ends a sweep, too

    # With this variable Hydra raises its errors; otherwise it prints them and exits.
    with _environment("HYDRA_FULL_ERROR", "1"), _command_line([*flags.passed, *texts]):
        hydra.main(str(root / "configs"), config_name, version_base="1.3")(task)()
    if sweep is None:
        return max(codes)
    lines, code = sweep.report()
    print("\n".join(lines))
    return code


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


def _run(prepare: Prepare, schema: type, root: Path, config: DictConfig, debug: bool) -> int:
    """Run one job, alone in its folder if it has one, and give its exit code."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    owned = settings.output_subdir is not None
    in_sweep = owned and settings.mode == RunMode.MULTIRUN
    if not owned and config.get("resume") is None:
        return _prepare_and_work(prepare, schema, root, config, False, debug)[0]
    try:
        with held(folder):
            if in_sweep:
                return _run_of_sweep(prepare, schema, root, config, debug)
            return _prepare_and_work(prepare, schema, root, config, False, debug)[0]
    except InUse as error:
        if in_sweep:
            print(f"{error}, which is left to finish it", flush=True)
            return 0
        return _report(f"{error}; wait for it, or choose another name", 2, debug)[0]


def _run_of_sweep(
    prepare: Prepare, schema: type, root: Path, config: DictConfig, debug: bool
) -> int:
    """As `_run`; leaves the run's status."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    asked, before = _lasting(config), Status.read(folder)
    if before is not None and before.is_done_with(asked) and holds_checkpoint(folder):
        print(f"{folder.name} is done already", flush=True)
        return 0
    print(f"{folder.name} {'goes on' if holds_checkpoint(folder) else 'begins'}", flush=True)
    Status("running").write(folder)
    code, error = _prepare_and_work(prepare, schema, root, config, True, debug)
    status = end_of(code, error, asked, side_by_side(settings.launcher))
    status.write(folder)
    sweep = Sweep.read(folder.parent)
    print(f"{folder.name} {status.state}" + (f"; {sweep.line()}" if sweep else ""), flush=True)
    return code


def _lasting(config: DictConfig) -> dict[str, Any] | None:
    """What makes a run the same when its sweep is started again: its name tells the time."""
    try:
        return {key: value for key, value in plain_config(config).items() if key != "name"}
    except UsageError:  # said when the run is prepared
        return None


def _prepare_and_work(
    prepare: Prepare, schema: type, root: Path, config: DictConfig, in_sweep: bool, debug: bool
) -> tuple[int, str | None]:
    """The exit code, and the error in a line."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    owned = settings.output_subdir is not None
    names = {field.name for field in fields(schema)}
    overridden = set_keys(settings.overrides.task, root / "configs", names)
    try:
        plain = check_config(schema, plain_config(config), root)
        if in_sweep and holds_checkpoint(folder):
            plain["resume"] = str(folder)
        elif in_sweep:
            clear(folder)
        elif owned:
            refuse_used(folder)
        overridden = tuple(key for key in overridden if key != "resume")
        choose_waiting(_STARTED)
        work = prepare(Job(plain, folder, overridden, in_sweep))
    except UNUSABLE as error:
        if owned and not in_sweep:
            _remove_empty_run(folder, settings.job.name)
        hint = "" if isinstance(error, SPEAKING) else " (--debug shows the traceback)"
        return _report(one_line(error) + hint, 2, debug)
    except Exception as error:
        return _report(f"{one_line(error)} ({_keep_traceback()})", 1, debug)
    try:
        return work() or 0, None
    except Exception as error:
        return _report(f"{one_line(error)} ({_keep_traceback()})", 1, debug)


def _remove_empty_run(folder: Path, name: str) -> None:
    """Remove the folder of a run that was not even prepared."""
    if {path.name for path in folder.iterdir()} == {".hydra", LOCK, f"{name}.log"}:
        shutil.rmtree(folder)


def _report(line: str, code: int, debug: bool) -> tuple[int, str]:
    if debug and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(line, file=sys.stderr, flush=True)
    return code, line


def _keep_traceback() -> str:
    """Write the traceback to the run's log file, if there is one, and say where it is."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            record = {"levelno": logging.ERROR, "levelname": "ERROR", "exc_info": sys.exc_info()}
            handler.handle(logging.makeLogRecord({**record, "msg": "the run failed"}))
            return f"traceback in {os.path.relpath(handler.baseFilename)}"
    return "--debug shows the traceback"


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
