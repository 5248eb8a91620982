"""The launcher on a toy program: what is refused, how it is said, and what a run is given."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import hydra
import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts.checks import UsageError, check_config, check_value, nearest  # noqa: E402
from scripts.folder_lock import held  # noqa: E402
from scripts.launcher import Job, launch  # noqa: E402
from scripts.overrides import set_keys  # noqa: E402
from scripts.signatures import exported, signature_of  # noqa: E402
from scripts.sweep import Sweep, end_of, sweep_overrides  # noqa: E402

FILES = {
    "toys/__init__.py": "",
    "toys/shapes/__init__.py": """
from abc import ABC
from torch import Tensor
from .square import Square
from toys.shapes.circle import Circle
__all__ = ["Shape", "Square", "Circle", "Tensor", "draw"]
class Shape(ABC):
    pass
def draw():
    pass
""",
    "toys/shapes/types.py": """
from typing import Literal
Colour = Literal["red", "green"]
""",
    "toys/shapes/square.py": """
from __future__ import annotations
from dataclasses import dataclass
from .types import Colour
@dataclass(frozen=True)
class Base:
    side: int
@dataclass(frozen=True)
class Square(Base):
    colour: Colour = "red"
    label: str | None = None
""",
    "toys/shapes/circle.py": """
import torch
from typing import Optional
class Circle(torch.nn.Module):
    def __init__(self, radius: float, steps: "list[int]", generator: torch.Generator, *,
                 filled: bool = True, scale: Optional[float] = None, plain=3) -> None:
        pass
""",
    "configs/config.yaml": """
defaults:
  - _self_
  - shape: square
  - experiment: null
  - sweep: null
name: ${hydra:runtime.choices.shape}-s${seed}
seed: 0
lr: 1e-3
side: 4
mode: fast
inner:
  every: 10
resume: null
hydra:
  job:
    name: toy
  run:
    dir: outputs/${name}
  sweep:
    dir: multirun/toy
    subdir: ${hydra.runtime.choices.shape}-s${seed}
""",
    "configs/bare.yaml": """
defaults:
  - _self_
  - shape: square
  - override hydra/job_logging: stdout
name: ???
side: 1
hydra:
  output_subdir: null
  run:
    dir: .
""",
    "configs/shape/square.yaml": "_target_: toys.shapes.Square\nside: ${side}\ncolour: red\n",
    "configs/shape/circle.yaml": "_target_: toys.shapes.Circle\nradius: 1\nsteps: [1, 2]\n",
    "configs/experiment/round.yaml": """
# @package _global_
defaults:
  - override /shape: circle
seed: 7
inner:
  every: 3
shape:
  radius: 2.5
""",
    "configs/experiment/flat.yaml": "# @package _global_\nlr: 1\n",
    "configs/experiment/rounder.yaml": "# @package _global_\ndefaults: [round]\nside: 9\n",
    "configs/sweep/seeds.yaml": """
# @package _global_
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      seed: range(2)
""",
    "configs/sweep/rates.yaml": """
# @package _global_
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      lr: 1e-3,1e-2
      side: 5
""",
}


@dataclass(frozen=True)
class Inner:
    """A nested part."""

    every: int = field(metadata={"min": 1})


@dataclass(frozen=True)
class Config:
    """Keys of the toy program."""

    name: str
    shape: dict = field(metadata={"package": "toys.shapes"})
    seed: int = field(metadata={"min": 0, "max": 99})
    lr: float = field(metadata={"above": 0})
    side: int = field()
    mode: Literal["fast", "slow"] = field()
    inner: Inner = field()
    resume: str | None = field()

    def __post_init__(self) -> None:
        """A rule between keys."""
        if self.mode == "slow" and self.seed == 1:
            raise ValueError("seed 1 needs mode=fast")


@dataclass(frozen=True)
class Bare:
    """Keys of a program without a folder of its own."""

    name: str
    side: int
    shape: dict = field(metadata={"package": "toys.shapes"})


@pytest.fixture(scope="module")
def toy_root(tmp_path_factory):
    """A folder with configs and the sources of a package that is never imported."""
    root = tmp_path_factory.mktemp("toy")
    for name, text in FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.lstrip("\n"))
    return root


@pytest.fixture(scope="module")
def compose_once():
    """Hydra's compose, each selection once: it takes most of the time that a check takes."""
    compose, composed = hydra.compose, {}

    def cached(config_name, overrides, return_hydra_config):
        key = (config_name, *overrides)
        if key not in composed:
            composed[key] = compose(config_name, overrides, return_hydra_config)
        return composed[key]

    return cached


@pytest.fixture
def run(toy_root, compose_once, tmp_path, monkeypatch, capsys):
    """Launch in an empty folder: exit code, lines on stderr, jobs that were prepared."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hydra, "compose", compose_once)
    root_logger = logging.getLogger()
    handlers, level = root_logger.handlers[:], root_logger.level

    def launched(*arguments, prepare=None, schema=Config, config="config"):
        seen: list[Job] = []

        def keep(job):
            seen.append(job)
            return prepare(job) if prepare else lambda: None

        monkeypatch.setattr(sys, "argv", ["toy.py", *arguments])
        with pytest.raises(SystemExit) as stopped:
            launch(keep, schema, config, root=toy_root)
        return stopped.value.code, capsys.readouterr().err.splitlines(), seen

    yield launched
    root_logger.handlers[:] = handlers
    root_logger.setLevel(level)


REFUSED = {
    # an unknown key, as plain, + or ++, at the top and inside a section
    "sed=1": "sed: unknown key; nearest: seed",
    "+sed=1": "sed: unknown key; nearest: seed",
    "++sed=1": "sed: unknown key; nearest: seed",
    "every=1": "every: unknown key; nearest: inner.every",
    "+foo=1": "foo: unknown key; allowed: name, shape, seed, lr, side, mode, inner, resume",
    "inner.evry=1": "inner.evry: unknown key; nearest: inner.every",
    "shape.colr=red": "shape.colr: unknown key of Square; "
    "allowed: side, colour, label (nearest: colour)",
    "+shape.foo=1": "shape.foo: unknown key of Square; allowed: side, colour, label",
    "shape.radius=1": "shape.radius: unknown key of Square; allowed: side, colour, label; "
    "known to shape=circle",
    # a wrong option
    "shape=squar": "shape: no option 'squar'; allowed: circle, square (nearest: square)",
    "shape=": "shape: no option ''; allowed: circle, square",
    "shape=null": "shape: no option 'null'; allowed: circle, square",
    "+experiment=rund": "experiment: no option 'rund'; allowed: flat, round, rounder "
    "(nearest: round)",
    "experiment=rund": "experiment: no option 'rund'; allowed: flat, round, rounder "
    "(nearest: round)",
    "experiment=null": "experiment: no option 'null'; allowed: flat, round, rounder",
    "hydra/launcher=none": "In 'hydra/config': Could not find 'hydra/launcher/none'",
    # a wrong type
    "seed=x": "seed: expected an integer, got 'x'",
    "seed=1.5": "seed: expected an integer, got 1.5",
    "seed=true": "seed: expected an integer, got True",
    "seed=null": "seed: expected an integer, got null",
    "seed=": "seed: no value given; expected an integer",
    "seed.x=1": "seed: expected an integer, got {'x': 1}",
    "inner=3": "inner: expected a section, got 3",
    "name=": "name: no value given; expected text",
    "lr=nan": "lr: expected a finite number, got nan",
    "lr=inf": "lr: expected a finite number, got inf",
    "mode=fats": "mode: 'fats' is not possible; allowed: fast, slow (nearest: fast)",
    "shape.side=a": "shape.side: expected an integer, got 'a'",
    "shape.colour=blue": "shape.colour: 'blue' is not possible; allowed: red, green",
    # out of range
    "seed=-1": "seed is -1; it must be at least 0",
    "seed=100": "seed is 100; it must be at most 99",
    "lr=0": "lr is 0.0; it must be above 0",
    "inner.every=0": "inner.every is 0; it must be at least 1",
    # a class that is not offered
    "shape._target_=os.system": "shape._target_: 'os.system' is no class of toys.shapes; "
    "allowed: Square, Circle",
    "shape._target_=toys.shapes.Shape": "shape._target_: 'toys.shapes.Shape' is no class of "
    "toys.shapes; allowed: Square, Circle",
    # what cannot be read
    "seed": "'seed': expected key=value",
    "=3": "'=3': expected key=value",
    "~shape": "'~shape': keys cannot be removed",
    "shape@foo=square": "'shape@foo=square': '@' cannot be used here",
    "seed=1,2": "seed=1,2: several values need --multirun",
    "side=${sed}": "side: Interpolation key 'sed' not found",
    "resume=nowhere": "resume: nowhere is no run folder",
    "hydra.run.dirr=x": "Could not override 'hydra.run.dirr'.",
    # flags
    "--mode=fast": "--mode=fast: no such flag; write mode=VALUE",
    "--multirn": "--multirn: no such flag; allowed: --cfg, --debug, --help, --multirun, "
    "--resolve (nearest: --multirun)",
}


@pytest.mark.parametrize(("argument", "message"), REFUSED.items(), ids=REFUSED)
def test_refused(run, tmp_path, argument, message):
    """An unusable argument: one line that names it, exit code 2, nothing prepared or written."""
    assert run(argument) == (2, [message], [])
    assert not list(tmp_path.iterdir())


def test_special_characters_are_quoted_for_the_user(run):
    """A value that Hydra's grammar cannot read: the line shows how to write it."""
    code, lines, _ = run("name=a=b")
    assert code == 2
    assert len(lines) == 1
    assert "\"name='a=b'\"" in lines[0]
    assert run("name='a=b'")[2][0].config["name"] == "a=b"


def test_a_key_given_twice(run):
    """Neither of two values wins in silence."""
    assert run("seed=1", "+seed=2")[:2] == (2, ["seed: given twice, 'seed=1' and 'seed=2'"])


def test_a_rule_between_keys(run):
    """A ValueError of the schema's own check is an unusable argument."""
    assert run("seed=1", "mode=slow") == (2, ["seed 1 needs mode=fast"], [])


def test_keys_of_the_new_class(run):
    """The chosen class's signature counts: keys absent from its file, and the program's own."""
    _, _, (job,) = run("shape=circle", "shape.filled=false", "shape.scale=2", "shape.steps=[3]")
    expected = {"radius": 1.0, "steps": [3], "filled": False, "scale": 2.0}
    assert job.config["shape"] == {"_target_": "toys.shapes.Circle", **expected}
    for key in ("generator", "plain"):
        line = f"shape.{key}: set by the program, not by a config"
        assert run("shape=circle", f"shape.{key}=1") == (2, [line], [])


def test_job(run, tmp_path):
    """The job: plain checked values, the run folder with .hydra/, and what was overridden."""
    code, lines, (job,) = run("side=5.0", "seed=10", "lr=1", "+inner.every=2")
    assert (code, lines) == (0, [])
    assert job.config == {
        "name": "square-s10",
        "shape": {"_target_": "toys.shapes.Square", "side": 5, "colour": "red"},
        "seed": 10,
        "lr": 1.0,
        "side": 5,
        "mode": "fast",
        "inner": {"every": 2},
        "resume": None,
    }
    assert type(job.config["side"]) is int
    assert type(job.config["lr"]) is float
    assert job.run_folder == tmp_path / "outputs" / "square-s10"
    assert sorted(path.name for path in job.run_folder.iterdir()) == [".hydra", ".lock", "toy.log"]
    assert job.overridden == ("side", "seed", "lr", "inner.every")


def test_overridden_lists_the_keys_of_an_experiment(run):
    """An experiment counts by the keys that its file sets, a group by its name."""
    _, _, (job,) = run("experiment=round", "side=2")
    assert job.config["shape"] == {
        "_target_": "toys.shapes.Circle",
        "radius": 2.5,
        "steps": [1, 2],
    }
    assert job.overridden == ("shape", "seed", "inner.every", "shape.radius", "side")


def test_overridden_lists_the_keys_of_an_experiment_of_another(toy_root):
    """What the file that it builds on sets was given, too."""
    keys = set_keys(["experiment=rounder"], toy_root / "configs", {"shape"})
    assert set(keys) == {"shape", "seed", "inner.every", "shape.radius", "side"}


def test_resume_runs_in_the_old_folder(run, tmp_path):
    """The folder of `resume` is used, its .hydra/ left alone, and no other folder is made."""
    folder = tmp_path / "it's old"
    folder.mkdir()
    (folder / "last.pt").write_text("weights")
    code, lines, (job,) = run(f"resume={json.dumps(str(folder))}", "seed=3")
    assert (code, lines) == (0, [])
    assert job.run_folder == folder
    assert job.overridden == ("seed",)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "last.pt", "toy.log"]
    assert list(tmp_path.iterdir()) == [folder]


def test_resume_needs_a_checkpoint(run, tmp_path):
    """A folder that is no run's is refused and nothing is written there."""
    (tmp_path / "other").mkdir()
    assert run("resume=other") == (2, ["resume: other holds no checkpoint"], [])
    assert not list((tmp_path / "other").iterdir())


def test_a_folder_in_use_is_refused(run, tmp_path):
    """A second run does not write into the first one's folder."""
    used = tmp_path / "outputs" / "mine"
    used.mkdir(parents=True)
    (used / "best.pt").write_text("of a run that died before its first last.pt")
    said = "name: outputs/mine holds a run already; {}, or choose another name"
    assert run("name=mine") == (2, [said.format("remove it")], [])
    assert [path.name for path in used.iterdir()] == ["best.pt"]
    (used / "last.pt").write_text("weights")
    assert run("name=mine") == (2, [said.format("continue it with resume=outputs/mine")], [])


def test_two_processes_do_not_share_a_folder(run, tmp_path):
    """The second one leaves the first one's files alone, whether it is new or resumes."""
    mine = tmp_path / "outputs" / "mine"
    mine.mkdir(parents=True)
    said = "outputs/mine is in use by another process; wait for it, or choose another name"
    with held(mine):
        assert run("name=mine") == (2, [said], [])
        (mine / "last.pt").write_text("weights")
        assert run("resume=outputs/mine") == (2, [said], [])
    assert run("resume=outputs/mine")[0] == 0


def test_an_unwritable_folder_is_a_failure(run, tmp_path):
    """A run folder that cannot be made: exit code 1, before any work."""
    (tmp_path / "outputs").write_text("a file")
    code, lines, seen = run("name=mine")
    assert (code, seen) == (1, [])
    assert lines == ["cannot set up the run: Not a directory: outputs/mine"]


def test_a_program_without_a_folder_writes_nothing(run, tmp_path):
    """No .hydra/ and no log where the config asks for none; a missing value is named."""
    assert run(schema=Bare, config="bare")[:2] == (2, ["name: required; give name=VALUE"])
    code, _, (job,) = run("name=x", schema=Bare, config="bare")
    assert (code, job.run_folder) == (0, tmp_path)
    assert not list(tmp_path.iterdir())


def raising(error):
    """A prepare or a work that fails."""

    def fail(*_):
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("bins is 0;\nit must be 1"), 2, "bins is 0; it must be 1"),
        (FileNotFoundError(2, "No such file", "x.pt"), 2, "No such file: x.pt"),
        (TypeError("no radius"), 2, "TypeError: no radius (--debug shows the traceback)"),
        (RuntimeError("boom"), 1, "RuntimeError: boom (traceback in outputs/square-s0/toy.log)"),
    ],
)
def test_errors_while_preparing(run, tmp_path, error, code, line):
    """What cannot be built is the arguments' fault and leaves no folder; the rest is ours."""
    assert run(prepare=raising(error))[:2] == (code, [line])
    assert (tmp_path / "outputs" / "square-s0").exists() == (code == 1)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("odd"), 1, "odd (traceback in outputs/square-s0/toy.log)"),
        (KeyError("k"), 1, "KeyError: 'k' (traceback in outputs/square-s0/toy.log)"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_while_running(run, tmp_path, error, code, line):
    """A failure at work is one line and keeps its folder; the log has the traceback."""
    assert run(prepare=lambda job: raising(error))[:2] == (code, [line])
    log = (tmp_path / "outputs" / "square-s0" / "toy.log").read_text()
    assert ("Traceback" in log) == (code == 1)


@pytest.mark.parametrize("how", ["--debug", "HYDRA_FULL_ERROR"])
def test_traceback_on_demand(run, monkeypatch, how):
    """The traceback comes with --debug or HYDRA_FULL_ERROR=1, for a usage error too."""
    if how == "--debug":
        code, lines, _ = run("--debug", "seed=x")
    else:
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        code, lines, _ = run("seed=x")
    assert code == 2
    assert lines[0].startswith("Traceback")


def test_exit_code_of_the_work(run):
    """What the work returns is the exit code."""
    assert run(prepare=lambda job: lambda: 143)[:2] == (143, [])


def test_hydra_full_error_is_left_alone(run):
    """Hydra's variable is set for Hydra only, not for the program."""
    seen = []
    run(prepare=lambda job: lambda: seen.append(os.environ.get("HYDRA_FULL_ERROR")))
    assert seen == [None]
    assert "HYDRA_FULL_ERROR" not in os.environ


class TestSweep:
    """Several values for a key."""

    def test_runs_every_job(self, run, tmp_path):
        """The product of the values, each in its own folder, each group with its own keys."""
        code, _, seen = run("--multirun", "shape=square,circle", "seed=1")
        assert code == 0
        assert [job.config["name"] for job in seen] == ["square-s1", "circle-s1"]
        assert [job.run_folder for job in seen] == [
            tmp_path / "multirun" / "toy" / "square-s1",
            tmp_path / "multirun" / "toy" / "circle-s1",
        ]
        assert seen[1].overridden == ("shape", "seed")
        assert all(job.in_sweep for job in seen)

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (("seed=1,x",), "seed: expected an integer, got 'x'"),
            (("mode=fast,slow", "seed=0,1"), "seed 1 needs mode=fast"),
            (("shape=circle,squar",), "shape: no option 'squar'"),
            (("shape=square,circle", "shape.radius=2"), "shape.radius: unknown key of Square"),
            (("seed=interval(0,1)",), "seed=interval(0,1): an interval cannot be swept"),
            (("resume=.",), "resume: a sweep is resumed by starting it again"),
        ],
    )
    def test_checks_all_before_the_first(self, run, tmp_path, arguments, line):
        """One bad job stops the sweep before any has started."""
        code, lines, seen = run("--multirun", *arguments)
        assert (code, len(lines), seen) == (2, 1, [])
        assert lines[0].startswith(line)
        assert not list(tmp_path.iterdir())

    def test_grid_from_a_file(self, run):
        """A sweep file needs no flag, and the command line overrides its grid."""
        code, _, seen = run("sweep=seeds", "shape=circle")
        assert (code, [job.config["seed"] for job in seen]) == (0, [0, 1])
        assert [job.config["seed"] for job in run("sweep=seeds", "seed=5")[2]] == [5]

    def test_folders_are_named_after_all_that_varies(self, run, tmp_path):
        """Keys that the pattern does not name are added to it, groups by their option."""
        run("--multirun", "lr=1e-3,1e-2", "inner.every=1,2", "experiment=round", "shape=circle")
        names = {path.name for path in (tmp_path / "multirun" / "toy").iterdir() if path.is_dir()}
        assert names == {f"circle-s7-lr_{a}-every_{b}" for a in (0.001, 0.01) for b in (1, 2)}
        run("--multirun", "sweep=seeds", "experiment=round,flat", "seed=5")
        assert (tmp_path / "multirun" / "toy" / "square-s5-flat").is_dir()

    def test_part_of_a_sweep_has_the_names_of_the_whole(self, run):
        """A key that its file varies is in the name, also where it takes one value."""
        whole = [job.run_folder.name for job in run("sweep=rates", "seed=3")[2]]
        part = [job.run_folder.name for job in run("sweep=rates", "seed=4", "lr=1e-2")[2]]
        assert (whole, part) == (["square-s3-lr_0.001", "square-s3-lr_0.01"], ["square-s4-lr_0.01"])

    def test_runs_that_would_share_a_folder_are_refused(self, run, tmp_path):
        """Nothing is run where two jobs would write into one folder."""
        code, lines, seen = run("--multirun", "seed=1,2", "hydra.sweep.subdir=all")
        assert (code, len(lines), seen) == (2, 1, [])
        assert lines[0].startswith("hydra.sweep.subdir: two runs of the sweep would share")

    def test_a_name_names_the_sweep(self, run, tmp_path):
        """Its folder is then where a run of that name would be."""
        _, _, seen = run("--multirun", "seed=1,2", "name=mine")
        assert seen[0].run_folder == tmp_path / "outputs" / "mine" / "square-s1"

    def test_goes_on_where_it_was(self, run, tmp_path):
        """Started again, a sweep resumes runs with a checkpoint and begins the others anew."""

        def prepare(job):
            def work():
                if job.config["seed"] == 1:
                    (job.run_folder / "last.pt").write_text("weights")
                (job.run_folder / "log.csv").write_text("row")
                raise RuntimeError("boom")

            return work

        run("--multirun", "seed=0,1", prepare=prepare)
        seen = {}

        def again(job):
            files = {path.name for path in job.run_folder.iterdir()}
            seen[job.config["seed"]] = (job.config["resume"], files & {"last.pt", "log.csv"})
            return lambda: None

        assert run("--multirun", "seed=0,1,2", prepare=again)[0] == 0
        toy = Path("multirun", "toy")
        assert seen[0] == (None, set())
        assert Path(seen[1][0]).samefile(toy / "square-s1")
        assert seen[1][1] == {"last.pt", "log.csv"}
        assert seen[2] == (None, set())
        planned = json.loads((toy / "sweep.json").read_text())["runs"]
        assert {name: config["seed"] for name, config in planned.items()} == {
            "square-s0": 0,
            "square-s1": 1,
            "square-s2": 2,
        }

    def test_finished_runs_are_left_alone(self, run, tmp_path, capsys):
        """Not even their status is touched; one whose checkpoint is gone is made again."""

        def prepare(job):
            return lambda: (job.run_folder / "last.pt").write_text("weights") and None

        run("--multirun", "seed=0,1", prepare=prepare)
        toy = tmp_path / "multirun" / "toy"
        (toy / "square-s1" / "last.pt").unlink()
        before = (toy / "square-s0" / "status.json").read_text()
        capsys.readouterr()
        _, _, seen = run("--multirun", "seed=0,1,2")
        assert [job.config["seed"] for job in seen] == [1, 2]
        assert (toy / "square-s0" / "status.json").read_text() == before

    def test_a_run_of_another_process_is_left_to_it(self, run, tmp_path, capsys):
        """A sweep that is started twice shares its runs out and touches none of the other's."""
        theirs = tmp_path / "multirun" / "toy" / "square-s0"
        theirs.mkdir(parents=True)
        with held(theirs):
            code, _, seen = run("--multirun", "seed=0,1")
        assert (code, [job.config["seed"] for job in seen]) == (0, [1])
        assert not (theirs / "status.json").exists()

    def test_a_run_without_a_last_checkpoint_begins_again(self, run, tmp_path):
        """It cannot go on from the best one, which lacks the optimizer's state."""
        died = tmp_path / "multirun" / "toy" / "square-s0"
        died.mkdir(parents=True)
        (died / "best.pt").write_text("weights")
        _, _, (job,) = run("--multirun", "seed=0")
        assert job.config["resume"] is None
        assert not (died / "best.pt").exists()

    def test_a_damaged_list_is_not_overwritten(self, run, tmp_path):
        """What the sweep was to do is not forgotten without a word."""
        run("--multirun", "seed=0,1")
        listed = tmp_path / "multirun" / "toy" / "sweep.json"
        listed.write_text("{")
        code, lines, seen = run("--multirun", "seed=0,1")
        assert (code, seen) == (1, [])
        assert "sweep.json is damaged" in lines[0]
        assert listed.read_text() == "{"

    def test_runs_with_other_settings_are_not_continued(self, run, tmp_path):
        """The sweep is refused before any run has started, and what is there stays."""
        run("--multirun", "seed=0,1")
        checkpoint = tmp_path / "multirun" / "toy" / "square-s1" / "last.pt"
        checkpoint.write_text("weights")
        code, lines, seen = run("--multirun", "seed=0,1", "side=5")
        assert (code, len(lines), seen) == (2, 1, [])
        assert lines[0].startswith("multirun/toy/square-s1 was begun with another shape.side: 4")
        assert checkpoint.read_text() == "weights"

    def test_runs_of_another_version_are_not_continued(self, run, tmp_path):
        """A stored config that lacks a key of today's is named with its folder."""
        run("--multirun", "seed=0,1")
        folder = tmp_path / "multirun" / "toy" / "square-s1"
        (folder / "last.pt").write_text("weights")
        stored = folder / ".hydra" / "config.yaml"
        lines = stored.read_text().splitlines(keepends=True)
        stored.write_text("".join(line for line in lines if not line.startswith("seed:")))
        code, lines, seen = run("--multirun", "seed=0,1")
        assert (code, len(lines), seen) == (2, 1, [])
        assert lines[0].startswith("multirun/toy/square-s1 was begun by another version of this")
        assert "seed: required" in lines[0]

    def test_a_failed_job_does_not_stop_the_others(self, run, tmp_path, capsys):
        """The sweep goes on, says what failed, leaves its error, and ends with its code."""

        def prepare(job):
            return raising(RuntimeError("boom")) if job.config["seed"] == 0 else lambda: None

        code, lines, seen = run("--multirun", "seed=0,1", prepare=prepare)
        assert (code, len(lines), len(seen)) == (1, 1, 2)
        toy = tmp_path / "multirun" / "toy"
        status = json.loads((toy / "square-s0" / "status.json").read_text())
        assert (status["state"], status["exit_code"]) == ("failed", 1)
        assert "boom" in status["error"]
        assert json.loads((toy / "square-s1" / "status.json").read_text())["state"] == "done"

    def test_an_interrupt_stops_the_others(self, run):
        """No further job is started after an interrupted one."""
        code, _, seen = run("--multirun", "seed=0,1,2", prepare=lambda job: lambda: 130)
        assert (code, len(seen)) == (130, 1)

    def test_threads_are_divided(self, run, tmp_path):
        """Side by side, runs share the cores and show no bars; what the user says stands."""
        whole = OmegaConf.create(
            {
                "threads": None,
                "progress": True,
                "hydra": {"sweep": {"subdir": "x"}, "launcher": {"n_jobs": -1}},
            }
        )
        assert "threads=1" in sweep_overrides(whole, [], [], [])
        assert "progress=false" in sweep_overrides(whole, [], [], [])
        assert not any(
            "threads" in text or "progress" in text
            for text in sweep_overrides(whole, [], ["threads", "progress"], [])
        )

    def test_the_line_tells_how_far_it_is(self, tmp_path):
        """Done, failed and left are counted over all runs; time left only from this sitting."""
        sweep = Sweep.begin(tmp_path, {name: {} for name in "abcd"})
        for name, code in (("a", 0), ("b", 1)):
            (tmp_path / name).mkdir()
            end_of(code, "broke" if code else None).write(tmp_path / name)
        assert sweep.line().startswith("1 of 4 runs done, 1 failed, about 0 min left")
        lines, code = sweep.report()
        assert lines[1:] == [f"{tmp_path / 'b'} failed: broke"]
        assert code == 1
        later = Sweep(tmp_path, sweep.runs, started=time.time() + 60)
        assert later.line() == "1 of 4 runs done, 1 failed"
        assert later.report()[1] == 0


@pytest.mark.parametrize("flag", [["--help"], ["--cfg", "job"]])
def test_shown_configs_may_have_gaps(toy_root, monkeypatch, capsys, flag):
    """--help and --cfg print the config, required values still open; nothing is run."""
    monkeypatch.setattr(sys, "argv", ["toy.py", *flag, "side=31"])
    with pytest.raises(SystemExit) as stopped:
        launch(raising(AssertionError), Bare, "bare", root=toy_root)
    out, err = capsys.readouterr()
    assert (stopped.value.code, err) == (0, "")
    assert "name: ???" in out
    assert "side: 31" in out


PROGRAM = """
import sys
sys.path.insert(0, {scripts!r})
from launcher import launch
from schema import EvaluateConfig
def prepare(job):
    import os
    def work():
        os.kill(os.getpid(), 2)
    return work
if __name__ == "__main__":
    launch(prepare, EvaluateConfig, "evaluate")
"""


@pytest.mark.parametrize(
    ("arguments", "code", "start"),
    [
        (["data=kool20"], 2, "checkpoint: required"),
        (["checkpoint=x", "data=kool20", "decode.width=3"], 2, "decode.width: unknown key"),
        (["checkpoint=x", "data=kool20"], 130, "interrupted"),
    ],
)
def test_from_the_shell(tmp_path, arguments, code, start):
    """The real thing, as scripts/evaluate.py imports it: code, one line, no torch, fast."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(scripts=str(ROOT / "scripts")))
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(program), *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert time.perf_counter() - began < 3
    assert (done.returncode, done.stdout) == (code, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]


def test_checking_imports_no_torch():
    """Arguments are judged before torch is imported."""
    source = "import sys; sys.path.insert(0, sys.argv[1]); import scripts.launcher, scripts.schema"
    source += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source, str(ROOT)]).returncode == 0


class TestSignature:
    """Reading a class's arguments from its source."""

    def test_init(self, toy_root):
        """Quoted, optional, keyword-only; None for what a config cannot give."""
        assert signature_of(toy_root, "toys.shapes.Circle") == {
            "radius": float,
            "steps": list[int],
            "generator": None,
            "filled": bool,
            "scale": float | None,
            "plain": None,
        }

    def test_dataclass(self, toy_root):
        """Inherited fields come first; an imported alias is followed."""
        assert signature_of(toy_root, "toys.shapes.Square") == {
            "side": int,
            "colour": Literal["red", "green"],
            "label": str | None,
        }

    def test_exported(self, toy_root):
        """Interfaces, functions and classes of others are not on the list."""
        assert exported(toy_root, "toys.shapes") == ["Square", "Circle"]
        assert exported(toy_root, "toys.shapes.square") == ["Base", "Square"]
        assert exported(toy_root, "toys.nothing") == []

    def test_unknown_class(self, toy_root):
        """No such class, no such module, no module at all."""
        for target in ("toys.shapes.Oval", "toys.none.Square", "Square"):
            assert signature_of(toy_root, target) is None


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (3, float, 3.0),
        (1e6, int, 1_000_000),
        (20, str, "20"),
        (None, int | None, None),
        (True, Literal["auto", "on", "off"], "on"),
        (1, Literal[0, 1], 1),
        ([1, 2.0], list[int], [1, 2]),
        ("x", int | str, "x"),
    ],
)
def test_accepted_values(value, kind, expected):
    """What stands for a type without loss is taken as that type."""
    checked = check_value("key", value, kind)
    assert checked == expected
    assert type(checked) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(1.5, int), ("1", int), (True, int), (1, bool), ([1], int), ("on", bool), (["a"], list[int])],
)
def test_refused_values(value, kind):
    """What would lose or guess something is refused."""
    with pytest.raises(UsageError, match="key"):
        check_value("key", value, kind)


def test_nearest_understands_abbreviations():
    """Typing errors, last parts and abbreviations; nothing for a strange word."""
    keys = ["learning_rate", "learning_rate_decay", "batch_size", "problem.capacity"]
    assert nearest("lr", keys)[0] == "learning_rate"
    assert nearest("lrr", keys)[0] == "learning_rate"
    assert nearest("batchsize", keys) == ["batch_size"]
    assert nearest("capacity", keys) == ["problem.capacity"]
    assert nearest("foo", keys) == []


def test_a_schema_key_without_a_value(toy_root):
    """A key that no config file sets is named."""
    with pytest.raises(UsageError, match="name: required"):
        check_config(Bare, {"side": 1}, toy_root)


def test_set_keys_of_plain_overrides(toy_root):
    """Hydra's own keys do not count, nor does a prefix; each key is named once."""
    texts = ["++shape.side=1", "shape=square", "hydra.run.dir=x", "shape.side=2"]
    assert set_keys(texts, toy_root / "configs", {"shape"}) == ("shape.side", "shape")
