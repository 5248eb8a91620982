"""How long steps take, from measured turns to a file and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from synthetic import steps

from scripts.study_configs import CASES, encoder_configs
from scripts.time_encoders import main
from vrp.policy.encoders import LinearEncoder
from vrp.study.steps import read_steps, summarised, write_steps
from vrp.study.timing import make_timed


def test_a_file_gives_back_what_was_written(tmp_path):
    """To the last bit."""
    timed = steps({"conv1d": 102.0, "linear": 100.0})
    write_steps(tmp_path / "steps.csv", timed)
    assert read_steps(tmp_path / "steps.csv") == timed


def test_a_ratio_needs_two_blocks():
    """Twenty turns are the least."""
    for turns, blocks in ((19, None), (20, 2)):
        conv1d, linear = summarised(steps({"conv1d": 1.0, "linear": 1.0}, turns))
        assert (conv1d.speed and conv1d.speed.count) == blocks
        assert linear.speed is None
    assert [timed.speed for timed in summarised(steps({"conv1d": 1.0}))] == [None]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda timed: timed[:-1], "turns are missing"),
        (lambda timed: [*timed, timed[-1]], "turns are missing or there twice"),
        (lambda timed: [replace(timed[0], threads=2), *timed[1:]], "differ in threads"),
    ],
)
def test_turns_that_do_not_compare_are_refused(tmp_path, change, words):
    """The error names the file."""
    write_steps(tmp_path / "steps.csv", change(steps({"conv1d": 1.0, "linear": 1.0})))
    with pytest.raises(ValueError, match=f"steps.csv: .*{words}"):
        read_steps(tmp_path / "steps.csv")


def test_a_time_is_above_zero():
    """And an encoder is one of the study's."""
    (first, *_) = steps({"conv1d": 1.0})
    with pytest.raises(ValueError, match="step_ms is 0"):
        replace(first, step_ms=0.0)
    with pytest.raises(ValueError, match="encoder is 'gru'"):
        replace(first, encoder="gru")


def test_the_command_times_all_encoders(tmp_path, capsys, monkeypatch):
    """Prints a line for each, and leaves every turn."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # takes long
    monkeypatch.setitem(CASES, "vrp10", ("batch_size=4", "num_rollouts=2"))
    path = tmp_path / "new" / "steps.csv"
    assert main(["vrp10", "--turns", "20", "--threads", "1", "--output", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["conv1d", "linear", "embedding"]
    assert "of linear's" in lines[1]
    assert len(read_steps(path)) == 60
    assert [file.name for file in path.parent.iterdir()] == ["steps.csv"]


@pytest.mark.parametrize(("case", "times"), [("vrp10", [11]), ("vrp20-attention", [20, 1])])
def test_an_encoder_alone_is_all_that_the_policy_encodes(monkeypatch, case, times):
    """The attention policy has another one for the depot."""
    config = encoder_configs(CASES[case])["linear"] | {"batch_size": 4, "num_rollouts": 2}
    timed, seen = make_timed(config), []
    forward = LinearEncoder.forward
    monkeypatch.setattr(
        LinearEncoder,
        "forward",
        lambda self, points: (seen.append(points.shape[1]), forward(self, points))[1],
    )
    timed.alone()
    assert sorted(seen, reverse=True) == times


def test_an_interrupted_run_replaces_nothing(tmp_path, capsys, monkeypatch):
    """The cases before it are in a file of their own, and the complete one stays."""
    timed = steps({"conv1d": 2.0, "linear": 1.0})

    def time_two(case, configs, turns):
        if case == "vrp20":
            raise KeyboardInterrupt
        return timed

    monkeypatch.setattr("vrp.study.timing.time_steps", time_two)
    path = tmp_path / "steps.csv"
    arguments = ["--threads", "1", "--output", str(path)]
    assert main(["vrp10", *arguments]) == 0
    before = path.read_bytes()
    timed = steps({"conv1d": 4.0, "linear": 3.0})
    assert main(["vrp10", "vrp20", *arguments]) == 130
    assert f"{path}.partial has the cases before" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert read_steps(tmp_path / "steps.csv.partial") == timed
    assert main(["vrp20", *arguments]) == 130
    assert "nothing is written" in capsys.readouterr().err


def test_a_folder_cannot_be_written_to(tmp_path, capsys, monkeypatch):
    """It is named before anything is timed."""
    monkeypatch.setattr("vrp.study.timing.time_steps", lambda *_: pytest.fail("it was timed"))
    assert main(["vrp10", "--threads", "1", "--output", str(tmp_path)]) == 2
    assert f"--output is {tmp_path}, a folder" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [("--turns", "19"), ("--threads", "0"), ("vrp11",)])
def test_what_cannot_be_timed_is_named(wrong, capsys):
    """Before anything is built."""
    with pytest.raises(SystemExit):
        main([*wrong])
    assert wrong[-1] in capsys.readouterr().err


@pytest.mark.parametrize("case", ["vrp10", "vrp20-attention"])
def test_only_the_encoder_differs(case, monkeypatch):
    """The encoders' policies play the same tours, step by step, however long that is done."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # takes long
    played = []
    for config in encoder_configs(CASES[case]).values():
        timed = make_timed(config | {"batch_size": 4})
        played.append([timed.step()[0].cost for _ in range(3)])
    for conv1d, linear, embedding in zip(*played, strict=True):
        assert torch.equal(conv1d, linear)
        assert torch.equal(conv1d, embedding)
