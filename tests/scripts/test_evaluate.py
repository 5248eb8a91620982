"""`scripts/evaluate.py` as it is typed: what it prints, what it writes, its exit codes."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts.evaluate import prepare  # noqa: E402
from scripts.launcher import launch  # noqa: E402
from scripts.schema import EvaluateConfig  # noqa: E402
from vrp.training.build import build_policy  # noqa: E402
from vrp.training.checkpoint import save_checkpoint  # noqa: E402

CONFIG = {
    "problem": {"_target_": "vrp.problem.UniformGenerator", "num_customers": 10, "capacity": 20},
    "encoder": {"_target_": "vrp.policy.encoders.Conv1dEncoder", "embedding_dim": 8},
    "policy": {"_target_": "vrp.policy.PointerPolicy", "embedding_dim": 8},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the command is typed; it holds a run."""
    policy = build_policy(CONFIG)
    policy.initialise(0)
    (tmp_path / "run").mkdir()
    save_checkpoint(tmp_path / "run" / "last.pt", {"config": CONFIG, "policy": policy.state_dict()})
    (tmp_path / "empty.pt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Type the command: exit code, lines on stdout, lines on stderr."""
    monkeypatch.setattr("vrp.evaluation.evaluate.can_draw", lambda: False)  # it takes a second
    root_logger = logging.getLogger()
    handlers, level = root_logger.handlers[:], root_logger.level

    def typed(*arguments):
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *arguments])
        with pytest.raises(SystemExit) as stopped:
            launch(prepare, EvaluateConfig, "evaluate")
        captured = capsys.readouterr()
        return stopped.value.code, captured.out.splitlines(), captured.err.splitlines()

    yield typed
    root_logger.handlers[:] = handlers
    root_logger.setLevel(level)


def test_a_result_is_printed_and_written(run, folder):
    """The last line is a command; nothing goes to stderr."""
    code, out, err = run("checkpoint=run", "data=kool10", "limit=10", "output=results")
    assert (code, err) == (0, [])
    assert out[0] == "checkpoint:   run, last.pt of it"
    assert out[-1] == (
        "next:         python scripts/evaluate.py checkpoint=run data=kool10 decode=greedy"
    )
    assert out[-2].startswith("written:")  # too few instances to say how long the next takes
    assert json.loads((folder / "results" / "summary.json").read_text())["instances"] == 10
    assert sorted(path.name for path in folder.iterdir()) == ["empty.pt", "results", "run"]


def test_a_decoding_has_its_own_keys(run, folder):
    """And the default folder is named after them."""
    code, out, _ = run("checkpoint=run", "data=kool10", "limit=10", "decode=beam", "decode.width=3")
    assert code == 0
    assert "decoding:     beam(width=3), whole deliveries" in out
    name = "run-last-kool10-beam-width-3-first10"
    assert (folder / "outputs" / "evaluate" / name / "solutions.npz").exists()


def test_what_was_typed_is_typed_again(run):
    """Where the result or its time hangs on it."""
    code, out, _ = run(
        "checkpoint=run", "data=kool10", "limit=4", "batch_size=3", "device=cpu", "seed=5"
    )
    assert code == 0
    assert out[-1].endswith("data=kool10 seed=5 device=cpu batch_size=3 decode=greedy")


def test_a_caution_comes_before_the_work(run):
    """On stderr, and again in the report."""
    code, out, err = run("checkpoint=run", "data=kool20", "limit=4")
    assert code == 0
    assert err[0].startswith("caution: outside the training distribution: num_customers is 20")
    assert any(line.startswith("caution:      outside") for line in out)


def test_help_names_the_keys_of_every_strategy(run):
    """As the files in configs/decode have them."""
    code, out, _ = run("--help")
    assert code == 0
    for file in sorted((ROOT / "configs" / "decode").glob("*.yaml")):
        keys = OmegaConf.load(file).keys() - {"_target_", "time_limit"}
        (line,) = [line for line in out if line.split()[:1] == [file.stem]]
        assert set(line.replace(",", "").split()[1:]) == keys


UNUSABLE = {
    "checkpoint=run data=kool10 decode=annealing": "decode: no option 'annealing'; allowed: ",
    "checkpoint=run data=kool10 decode=beam decode.width=0": "decode.width is 0; it must be at",
    "checkpoint=run data=kool10 decode.time_limit=0": "decode.time_limit is 0",
    "checkpoint=nothing data=kool10": "checkpoint: nothing is no file, run folder or released",
    "checkpoint=empty.pt data=kool10": "empty.pt is empty",
    "checkpoint=run data=nothing": "data: nothing is no file and no standard set",
    "checkpoint=run data=empty.pt": "empty.pt: ",
    "checkpoint=run data=kool10 limit=10001": "limit is 10001; kool10 holds 10000",
    "checkpoint=run data=kool10 decode.width=3": "decode.width: unknown key of Greedy",
    "checkpoint=run data=kool10 output=empty.pt/x": "output: empty.pt/x cannot be written",
    "checkpoint=run data=kool10 device=cuda": "device is cuda, but",
    "checkpoint=run": "data: required",
}


@pytest.mark.parametrize("arguments", UNUSABLE)
def test_unusable_arguments_are_told_in_one_line(run, folder, arguments):
    """Exit code 2, nothing on stdout, nothing written."""
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    before = sorted(folder.rglob("*"))
    code, out, err = run(*arguments.split())
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(UNUSABLE[arguments])
    assert sorted(folder.rglob("*")) == before


def test_it_runs_from_any_folder(folder):
    """As a process, where the package's folder is not the working folder."""
    command = [sys.executable, str(ROOT / "scripts" / "evaluate.py")]
    done = subprocess.run(
        [*command, "checkpoint=run", "data=kool10", "limit=5"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "mean cost:" in done.stdout


def test_ctrl_c_keeps_what_there_is(folder):
    """Exit code 130, a line at once, and a report that says so."""
    command = [sys.executable, str(ROOT / "scripts" / "evaluate.py"), "checkpoint=run"]
    typed = [
        "data=kool10",
        "limit=9",
        "batch_size=4",
        "decode=sampling",
        "decode.samples=100000000",
    ]
    process = subprocess.Popen(
        [*command, *typed, "output=results"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not (folder / "results").exists():  # it is made just before the work begins
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.split("\n") == [
        "",
        "stopping after this piece; again to abort without a result",
        "",
    ]
    assert "stopped:      by Ctrl-C, with " in out
    assert ": 4 instances of 9 that were asked for" in out
    summary = json.loads((folder / "results" / "summary.json").read_text())
    assert (summary["ended"], summary["instances"]) == ("SIGINT", 4)
    assert summary["decode_options"]["samples"] == 100_000_000
