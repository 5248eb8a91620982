"""A run that stopped and went on is the run that never stopped, bit for bit."""

from __future__ import annotations

import copy
import itertools
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from runs import ROOT, events, learned, metrics, same, small_config

from vrp.search import Greedy
from vrp.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from vrp.training.provenance import versions
from vrp.training.resume import resumed_config
from vrp.training.trainer import Trainer

sys.path.insert(0, str(ROOT))

from train import work

ATTENTION = ("policy.num_layers=1", "policy.num_heads=2", "policy.feed_forward_dim=8")

# What takes part in learning beside the weights: each must come back.
VARIANTS = {
    "shared": (),
    "critic": ("baseline=critic", "num_rollouts=1"),
    "exponential": ("baseline=exponential", "num_rollouts=1"),
    "dropout": ("policy.dropout=0.3",),
    "embedding": ("encoder=embedding", "encoder.bins=4", "encoder.max_norm=0.5"),
    "frozen": ("encoder=embedding", "encoder.bins=4", "encoder.freeze=true"),
    "split": ("problem.split_delivery=true", "problem.capacity=6"),
    "paper": ("policy.scale_demand=false", "grad_clip_kind=per_variable", "grad_clip=0.1"),
    "attention": (*ATTENTION, "policy=attention", "num_rollouts=5", "entropy_weight=0.1"),
    "leader": ("leader_weight=3",),
    "rollout": (
        *ATTENTION,
        "policy=am",
        "multistart=false",
        "num_rollouts=1",
        "baseline=rollout",
        "baseline.epoch_instances=24",
        "baseline.eval_instances=100",
        "baseline.significance=0.99",
    ),
    # Ends before any comparison: what one would say is no number yet.
    "warmup": ("baseline=rollout", "baseline.eval_instances=100", "num_rollouts=1"),
    "steps": ("learning_rate_decay=steps", "learning_rate_steps=[0.3,0.6]", "weight_decay=0.1"),
    "constant": ("learning_rate_decay=none", "policy.glimpses=0"),
}


class Killed(Exception):
    """Ends a run between two steps, with nothing written."""


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Gives the folder of a run in one piece with given overrides; not to be written to."""
    home = tmp_path_factory.mktemp("straight")
    made: dict[tuple[str, ...], Path] = {}

    def run(*overrides: str) -> Path:
        if overrides not in made:
            made[overrides] = home / str(len(made))
            assert begin(made[overrides], *overrides).run() == 0
        return made[overrides]

    return run


def last(folder: Path) -> dict:
    """The checkpoint to go on from."""
    return load_checkpoint(folder / "last.pt")


def begin(folder: Path, *overrides: str) -> Trainer:
    """The trainer of a new small run."""
    folder.mkdir()
    return Trainer(small_config(*overrides), folder, torch.device("cpu"), time.perf_counter())


def go_on(folder: Path, **changes: object) -> Trainer:
    """The trainer that `resume=folder` with changed keys makes."""
    config = small_config() | changes | {"resume": str(folder)}
    merged, checkpoint = resumed_config(config, folder, tuple(changes))
    return Trainer(merged, folder, torch.device("cpu"), time.perf_counter(), checkpoint)


def kill_at(trainer: Trainer, step: int) -> None:
    """Run, and stop dead before the given step of this piece."""
    calls = iter(range(10_000))

    def count(*_: object) -> None:
        if next(calls) == step:
            raise Killed

    trainer.learner.register_forward_pre_hook(count)
    with pytest.raises(Killed):
        trainer.run()


@pytest.mark.parametrize("variant", VARIANTS)
def test_stopped_and_resumed(variant, straight, tmp_path):
    """Weights, optimizer, baseline and rows of metrics.csv are those of a run in one piece."""
    overrides, folder = VARIANTS[variant], tmp_path / "run"
    assert begin(folder, *overrides, "max_instances=64").run() == 0
    assert go_on(folder, max_instances=96).run() == 0
    expected = straight(*overrides)
    assert same(learned(last(folder)), learned(last(expected)))
    assert last(folder)["progress"]["step"] == last(expected)["progress"]["step"] == 12
    assert metrics(folder) == metrics(expected)


@pytest.mark.parametrize("variant", ["shared", "attention", "rollout"])
def test_compiled_and_resumed(variant, straight, tmp_path, monkeypatch):
    """The fused kernels take over at the same step, and hold for a validation left open, too."""
    overrides = VARIANTS[variant]
    monkeypatch.setattr("vrp.training.trainer._COMPILE_AT", 2)
    monkeypatch.setattr("vrp.training.trainer.missing_for_compile", lambda *_: None)
    monkeypatch.setattr("torch.compile", lambda function, **_: function)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    begin(whole, *overrides, "compile=auto").run()
    assert not same(learned(last(whole)), learned(last(straight(*overrides))))
    trainer = begin(parts, *overrides, "compile=auto", "max_instances=64")
    in_validation(trainer, 8, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert trainer.run() == 143
    resumed, compiled = go_on(parts, max_instances=96), []
    in_validation(resumed, 8, lambda: compiled.append(resumed.learner.policy.is_compiled()))
    resumed.run()
    assert compiled == [True]
    assert same(learned(last(parts)), learned(last(whole)))
    assert metrics(parts) == metrics(whole)


@pytest.mark.parametrize("variant", ["shared", "critic", "exponential", "rollout", "dropout"])
def test_killed_and_resumed(variant, straight, tmp_path):
    """A run that dies between two checkpoints repeats what it had not kept, exactly."""
    overrides, folder = VARIANTS[variant], tmp_path / "run"
    kill_at(begin(folder, *overrides), 7)
    assert last(folder)["progress"]["step"] == 4
    kill_at(go_on(folder), 6)
    assert last(folder)["progress"]["step"] == 8
    go_on(folder).run()
    expected = straight(*overrides)
    assert same(learned(last(folder)), learned(last(expected)))
    assert metrics(folder) == metrics(expected)
    assert events(folder) == events(expected)


def test_stopped_between_validations(straight, tmp_path):
    """A stop adds its own row; the weights and the later validations are the same."""
    folder = tmp_path / "run"
    begin(folder, "max_instances=40").run()
    go_on(folder, max_instances=96).run()
    assert same(learned(last(folder)), learned(last(straight())))
    validated = {row["step"]: row["val_cost"] for row in metrics(folder)}
    assert list(validated) == ["0", "4", "5", "8", "12"]
    for row in metrics(straight()):
        assert validated[row["step"]] == row["val_cost"]


def in_validation(trainer: Trainer, step: int, then: Callable[[], None]) -> None:
    """Have something happen while a run is validated at a step."""
    validate = trainer.validation

    class Disturbed:
        def __call__(self, *arguments: object) -> object:
            if trainer.progress.step == step:
                then()
            return validate(*arguments)

        def __getattr__(self, name: str) -> object:
            return getattr(validate, name)

    trainer.validation = Disturbed()


def test_stopped_in_a_validation(straight, tmp_path):
    """Each step has one row, whatever stops the run where it is validated."""
    folder = tmp_path / "run"
    trainer = begin(folder)
    in_validation(trainer, 8, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert trainer.run() == 143
    assert [row["step"] for row in metrics(folder)] == ["0", "4", "8"]
    assert go_on(folder, max_time=1e-9).run() == 0
    assert [row["step"] for row in metrics(folder)] == ["0", "4", "8"]
    go_on(folder, max_time=None).run()
    assert metrics(folder) == metrics(straight())


def after_each_batch(monkeypatch: pytest.MonkeyPatch, then: Callable[[int], None]) -> None:
    """Validate by threes, and have something happen after each batch; told its number, from 1."""
    monkeypatch.setattr("vrp.search.deterministic._PAIRS", 3 * 6**2)
    solve, numbers = Greedy.__call__, itertools.count(1)

    def disturbed(*arguments: object) -> object:
        found = solve(*arguments)
        then(next(numbers))
        return found

    monkeypatch.setattr(Greedy, "__call__", disturbed)


@pytest.mark.parametrize("step", [0, 8, 12])
def test_stopped_between_two_batches_of_a_validation(step, straight, tmp_path, monkeypatch):
    """A signal does not wait for all of them; the next piece solves the rest, where it is due."""
    folder, solved = tmp_path / "run", []
    expected = straight("checkpoint_every=8")
    first = 1 + step // 2  # two batches for each of the steps 0, 4, 8 and 12

    def stop(number: int) -> None:
        solved.append(number)
        if number == first:
            os.kill(os.getpid(), signal.SIGTERM)

    after_each_batch(monkeypatch, stop)
    trainer = begin(folder, "checkpoint_every=8")
    assert work(trainer, in_sweep=False) == 143
    assert solved[-1] == first
    row = metrics(folder)[-1]
    assert (row["step"], row["val_cost"]) == (str(step), "")
    assert last(folder)["progress"]["validated_step"] < step or step == 0
    assert go_on(folder).run() == 0
    assert len(solved) == 8
    assert metrics(folder) == metrics(expected)
    assert events(folder) == events(expected)
    assert same(learned(last(folder)), learned(last(expected)))
    assert last(folder)["progress"]["best_cost"] == last(expected)["progress"]["best_cost"]


def test_the_first_validation_in_pieces(straight, tmp_path, monkeypatch):
    """Pieces that are too short for it still come to the first step: no batch is solved twice."""
    folder, solved = tmp_path / "run", []
    expected = straight()

    def piece(trainer: Trainer) -> Trainer:
        before = len(solved)
        trainer.elapsed = lambda: 100.0 * (len(solved) - before)
        return trainer

    after_each_batch(monkeypatch, solved.append)
    assert piece(begin(folder, "max_time=50")).run() == 0
    assert len(solved) == 1
    assert not (folder / "best.pt").exists()
    assert json.loads((folder / "summary.json").read_text())["best_val_cost"] is None
    assert piece(go_on(folder)).run() == 0
    assert len(solved) == 2
    assert last(folder)["progress"]["step"] == 0
    assert [row["step"] for row in metrics(folder) if row["val_cost"]] == ["0"]
    assert piece(go_on(folder, max_time=None)).run() == 0
    assert len(solved) == 8
    assert metrics(folder) == metrics(expected)
    assert events(folder) == events(expected)
    assert same(learned(last(folder)), learned(last(expected)))


def test_a_piece_without_a_step_says_so(tmp_path, capsys):
    """It would never come to an end, and nobody might notice."""
    folder = tmp_path / "run"
    trainer = begin(folder, "max_time=50")
    trainer.elapsed = lambda: 60.0
    assert trainer.run() == 0
    assert last(folder)["progress"]["step"] == 0
    assert "no training step in this piece: max_time=50 was over" in capsys.readouterr().out
    assert go_on(folder, max_time=None).run() == 0
    assert "no training step" not in capsys.readouterr().out


@pytest.mark.parametrize("stopped", [False, True])
def test_what_is_measured_next_is_what_was_trained(stopped, tmp_path, capsys):
    """The best one where the last step was validated; else the last, as the best may be old."""
    folder = tmp_path / "run"
    trainer = begin(folder)
    if stopped:
        step = trainer.step

        def interrupting(*arguments: object, **named: object) -> object:
            if trainer.progress.step == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return step(*arguments, **named)

        trainer.step = interrupting
    work(trainer, in_sweep=False)
    said = capsys.readouterr().out
    name = os.path.relpath(folder)
    assert f"checkpoint={name}{'/last.pt' if stopped else ''} data=" in said
    told = f"best.pt is of step {trainer.progress.best_step}; step 6 was not validated"
    assert (told in said) is stopped


@pytest.mark.parametrize(("seconds", "validated"), [(69.0, True), (70.0, False)])
def test_a_validation_may_end_20_seconds_late(seconds, validated, straight, tmp_path, monkeypatch):
    """What takes longer than that after `max_time` is given up; for good, where it is not due."""
    folder = tmp_path / "run"
    expected = straight()
    after_each_batch(monkeypatch, lambda number: None)
    trainer = begin(folder, "max_time=50")
    calls, clock = iter(range(100)), [0.0]
    trainer.elapsed = lambda: clock[0]

    def late(*_: object) -> None:
        if next(calls) == 5:
            clock[0] = seconds

    trainer.learner.register_forward_pre_hook(late)
    assert trainer.run() == 0
    row = metrics(folder)[-1]
    assert (row["step"], bool(row["val_cost"])) == ("6", validated)
    assert go_on(folder, max_time=None).run() == 0
    rows = {row["step"]: row["val_cost"] for row in metrics(folder)}
    assert bool(rows.pop("6")) is validated
    assert rows == {row["step"]: row["val_cost"] for row in metrics(expected)}
    assert same(learned(last(folder)), learned(last(expected)))


def test_stopped_in_the_rollout_baselines_comparison(straight, tmp_path):
    """It may take long, so a stop does not wait for it; the next piece makes up for it."""
    overrides, folder = VARIANTS["rollout"], tmp_path / "run"
    trainer = begin(folder, *overrides)
    baseline = trainer.learner.baseline
    solve = baseline._solve

    def stop(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        solve(*arguments)

    baseline._solve = stop
    assert trainer.run() == 143
    assert last(folder)["progress"]["step"] == 3  # 24 instances, the end of the first epoch
    assert int(last(folder)["baseline"]["epochs"]) == 0
    go_on(folder).run()
    assert same(learned(last(folder)), learned(last(straight(*overrides))))


def in_the_last_comparison(trainer: Trainer, then: Callable[[], None]) -> None:
    """Have something happen while the policy is compared after its ninth step."""
    baseline = trainer.learner.baseline
    solve, left = baseline._solve, [then]

    def disturbed(*arguments: object) -> None:
        if trainer.progress.step == 8 and left:
            left.pop()()
        solve(*arguments)

    baseline._solve = disturbed


TO_GO_ON = "to go on:      python train.py resume="


def test_stopped_in_the_last_comparison(straight, tmp_path, capsys):
    """Though no step is left, the comparison at the end of the last one is made up for."""
    overrides, folder = (*VARIANTS["rollout"], "max_instances=72"), tmp_path / "run"
    trainer = begin(folder, *overrides)
    in_the_last_comparison(trainer, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert work(trainer, in_sweep=False) == 143
    assert TO_GO_ON in capsys.readouterr().out
    assert last(folder)["progress"]["step"] == 9
    assert int(last(folder)["baseline"]["epochs"]) == 2
    assert work(go_on(folder), in_sweep=False) == 0
    assert TO_GO_ON not in capsys.readouterr().out
    assert same(learned(last(folder)), learned(last(straight(*overrides))))


def test_out_of_time_in_the_last_comparison(straight, tmp_path, capsys):
    """A run whose steps are done and validated has not ended while a comparison is missing."""
    overrides, folder = (*VARIANTS["rollout"], "max_instances=72"), tmp_path / "run"
    trainer = begin(folder, *overrides)
    in_the_last_comparison(trainer, lambda: trainer.config.update(max_time=1e-9))
    assert work(trainer, in_sweep=False) == 0
    assert TO_GO_ON in capsys.readouterr().out
    assert int(last(folder)["baseline"]["epochs"]) == 2
    assert work(go_on(folder, max_time=None), in_sweep=False) == 0
    assert TO_GO_ON not in capsys.readouterr().out
    assert int(last(folder)["baseline"]["epochs"]) == 3
    assert same(learned(last(folder)), learned(last(straight(*overrides))))
    assert metrics(folder) == metrics(straight(*overrides))


def test_stopped_then_validated(tmp_path):
    """A stop's row gets its validation if that comes before the next step."""
    folder = tmp_path / "run"
    trainer = begin(folder)
    calls = iter(range(100))

    def stop(*_: object) -> None:
        if next(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    trainer.learner.register_forward_pre_hook(stop)
    assert trainer.run() == 143
    before = metrics(folder)[-1]
    assert (before["step"], before["val_cost"]) == ("6", "")
    assert go_on(folder, max_time=1e-9).run() == 0
    after = metrics(folder)[-1]
    assert [row["step"] for row in metrics(folder)] == ["0", "4", "6"]
    assert after["val_cost"]
    assert after["train_cost"] == before["train_cost"]


def test_killed_in_the_last_validation(straight, tmp_path):
    """The last weights are kept by then; what is still missing is done when the run goes on."""
    overrides, folder = ("max_instances=88", "checkpoint_every=8"), tmp_path / "run"

    def die() -> None:
        raise Killed

    trainer = begin(folder, *overrides)
    in_validation(trainer, 11, die)
    with pytest.raises(Killed):
        trainer.run()
    assert last(folder)["progress"]["step"] == 11
    assert not (folder / "summary.json").exists()
    assert go_on(folder).run() == 0
    assert metrics(folder) == metrics(straight(*overrides))
    assert json.loads((folder / "summary.json").read_text())["steps"] == 11


@pytest.mark.parametrize(("every", "kept"), [(32, 4), (64, 0)])
def test_later_traces_are_cut(every, kept, straight, tmp_path):
    """Rows and events from after the checkpoint are gone before training goes on."""
    overrides, folder = (f"checkpoint_every={every}", "validation.every=16"), tmp_path / "run"
    kill_at(begin(folder, *overrides), 7)
    assert [row["step"] for row in metrics(folder)] == ["0", "2", "4", "6"]
    assert last(folder)["progress"]["step"] == kept
    kill_at(go_on(folder), 0)
    assert [int(row["step"]) for row in metrics(folder)] == list(range(0, kept + 1, 2))
    assert {step for step, _ in events(folder)} == set(range(0, kept + 1, 2))
    go_on(folder).run()
    assert metrics(folder) == metrics(straight(*overrides))
    assert events(folder) == events(straight(*overrides))


def test_half_a_row(tmp_path):
    """A last row that was only half written is dropped."""
    folder = tmp_path / "run"
    begin(folder, "max_instances=64").run()
    rows = metrics(folder)
    with open(folder / "metrics.csv", "a") as file:
        file.write("9,72,1.2")
    kill_at(go_on(folder, max_instances=96), 0)
    assert metrics(folder) == rows


def test_seconds_go_on(tmp_path):
    """Time adds up over the pieces and never falls."""
    folder = tmp_path / "run"
    begin(folder, "max_instances=64").run()
    first = last(folder)["progress"]
    go_on(folder, max_instances=96).run()
    second = last(folder)["progress"]
    assert 0 < first["train_seconds"] < second["train_seconds"]
    assert 0 < first["seconds"] < second["seconds"]
    assert second["train_seconds"] <= second["seconds"]


@pytest.mark.parametrize("damage", ["empty", "truncated", "changed", "missing"])
def test_damaged_last_falls_back(damage, straight, tmp_path, capsys):
    """Where last.pt cannot be read previous.pt is taken, and it is said which."""
    folder = tmp_path / "run"
    shutil.copytree(straight(), folder)
    path = folder / "last.pt"
    data = path.read_bytes()
    middle = len(data) // 2
    broken = {
        "empty": b"",
        "truncated": data[:middle],
        "changed": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "missing": None,
    }[damage]
    path.unlink()
    if broken is not None:
        path.write_bytes(broken)
    trainer = go_on(folder)
    said = capsys.readouterr().err
    assert "last.pt" in said
    assert "previous.pt" in said
    trainer.run()
    assert same(learned(last(folder)), learned(last(straight())))


def test_nothing_to_resume(tmp_path):
    """A folder without a checkpoint is named."""
    with pytest.raises(FileNotFoundError, match=r"last\.pt"):
        resumed_config(small_config() | {"resume": str(tmp_path)}, tmp_path, ())


def test_both_damaged(tmp_path):
    """Where neither file can be read the error is a damaged checkpoint."""
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match=r"\.pt"):
        resumed_config(small_config() | {"resume": str(tmp_path)}, tmp_path, ())


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """A run that stopped at 64 of 96 instances; not to be written to."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    config = small_config()
    save_checkpoint_of(config, folder)
    return folder


def save_checkpoint_of(config: dict, folder: Path) -> None:
    """A checkpoint that holds a config and nothing to go on from."""
    folder.mkdir()
    save_checkpoint(folder / "last.pt", {"config": config})


def changed(key: str, value: object) -> dict:
    """The small run's config with one dotted key changed."""
    config = small_config()
    *path, last = key.split(".")
    section = config
    for part in path:
        section = section[part]
    section[last] = value
    return config


def test_a_group_that_is_named_again_is_no_other(stopped):
    """What it takes from elsewhere in the config is the run's, not today's default."""
    config = small_config("embedding_dim=128") | {"resume": str(stopped)}
    merged, _ = resumed_config(config, stopped, ("encoder", "policy"))
    assert merged["encoder"] == small_config()["encoder"]
    other = small_config("embedding_dim=128", "encoder.init=glorot") | {"resume": str(stopped)}
    with pytest.raises(ValueError, match=r"encoder\.init is glorot here and torch in the run"):
        resumed_config(other, stopped, ("encoder",))
    with pytest.raises(ValueError, match="embedding_dim is 128 here and 8 in the run"):
        resumed_config(config, stopped, ("embedding_dim",))


@pytest.mark.parametrize(
    ("key", "value", "was"),
    [
        ("learning_rate", 0.5, "0.001"),
        ("seed", 7, "0"),
        ("batch_size", 16, "8"),
        ("encoder.init", "glorot", "torch"),
        ("problem.capacity", 20, "15"),
        ("validation.every", 10, "32"),
        ("decay_instances", 1000, "96"),
    ],
)
def test_other_settings_may_not_differ(key, value, was, stopped):
    """What would make it another run is refused, with both values."""
    config = changed(key, value) | {"resume": str(stopped)}
    with pytest.raises(ValueError, match=key) as refused:
        resumed_config(config, stopped, (key,))
    assert f" {value} " in str(refused.value)
    assert f" {was} " in str(refused.value)


def test_equal_settings_may_be_repeated(stopped):
    """To type what the run has anyway is no error."""
    config = small_config() | {"resume": str(stopped)}
    merged, _ = resumed_config(config, stopped, ("learning_rate", "encoder", "encoder.init"))
    assert merged["learning_rate"] == config["learning_rate"]


def test_config_comes_from_the_run(stopped):
    """Defaults of the command line do not replace what the run was made with."""
    other = changed("learning_rate", 9.0) | {"resume": str(stopped), "max_time": 5.0}
    merged, checkpoint = resumed_config(other, stopped, ("max_time",))
    assert merged["learning_rate"] == small_config()["learning_rate"]
    assert merged["max_time"] == 5.0
    assert merged["resume"] == str(stopped)
    assert same(checkpoint["config"], small_config())


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_instances", 80), ("max_time", 1.0), ("progress", True), ("device", "cpu")],
)
def test_stops_logging_and_device_may_differ(key, value, stopped):
    """When it stops, what it shows and where it computes are the user's choice."""
    merged, _ = resumed_config(
        small_config() | {key: value, "resume": str(stopped)}, stopped, (key,)
    )
    assert merged[key] == value


def test_beyond_the_decay(stopped):
    """More instances than the learning rate was planned for are refused, with both numbers."""
    config = small_config() | {"max_instances": 97, "resume": str(stopped)}
    with pytest.raises(ValueError, match=r"97.*96"):
        resumed_config(config, stopped, ("max_instances",))


def test_a_new_run_is_left_as_it_is(tmp_path):
    """Without `resume` the config is the command line's."""
    config = small_config()
    merged, checkpoint = resumed_config(copy.deepcopy(config), tmp_path, ("seed",))
    assert merged == config
    assert checkpoint is None


def altered(folder: Path, alter: Callable[[dict], object]) -> Path:
    """The folder, with what its checkpoint holds changed."""
    content = last(folder)
    alter(content)
    save_checkpoint(folder / "last.pt", content)
    return folder


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (lambda config: config.pop("leader_weight"), "leader_weight is missing"),
        (lambda config: config.update(old=1), "old is not known"),
        (lambda config: config["validation"].pop("decode"), "validation.decode is missing"),
        (lambda config: config["policy"].pop("tanh_clipping"), "policy.tanh_clipping is missing"),
        (lambda config: config["encoder"].update(old=1), "encoder.old is not known"),
    ],
)
def test_a_config_of_another_version(alter, said, tmp_path):
    """Keys that came or went since are named, and the run is to begin again."""
    save_checkpoint_of(small_config(), tmp_path / "run")
    folder = altered(tmp_path / "run", lambda content: alter(content["config"]))
    with pytest.raises(ValueError, match="was begun by another version of this program") as refused:
        go_on(folder, max_time=5.0)
    assert str(refused.value).startswith(os.path.relpath(folder))
    assert str(refused.value).endswith(f"({said}); begin again")


def test_another_class_than_todays_choice(tmp_path):
    """What a section must hold is asked of the run's own class, whatever is chosen here."""
    config = small_config(*VARIANTS["attention"])
    del config["policy"]["combine_bias"]
    save_checkpoint_of(config, tmp_path / "run")
    with pytest.raises(ValueError, match=r"\(policy\.combine_bias is missing\); begin again"):
        go_on(tmp_path / "run")


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (lambda content: content["baseline"].pop("p_value"), "baseline.p_value is missing"),
        (lambda content: content["policy"].update(old=torch.ones(1)), "policy.old is not known"),
        (lambda content: content["progress"].pop("cost_sum"), "progress.cost_sum is missing"),
        (lambda content: content.pop("optimizer"), "optimizer is missing"),
    ],
)
def test_weights_of_another_version(alter, said, straight, tmp_path):
    """What the program has learned to keep since, or keeps no more, is named; nothing is done."""
    shutil.copytree(straight(*VARIANTS["rollout"]), tmp_path / "run")
    folder = altered(tmp_path / "run", alter)
    before = sorted(path.stat().st_mtime_ns for path in folder.iterdir())
    with pytest.raises(ValueError, match="was begun by another version of this program") as refused:
        go_on(folder)
    assert said in str(refused.value)
    assert sorted(path.stat().st_mtime_ns for path in folder.iterdir()) == before


def test_another_commit_goes_on(straight, tmp_path):
    """Most commits change nothing for a run: the new one is written down from there."""
    begin(tmp_path / "run", "max_instances=64").run()
    folder = altered(tmp_path / "run", lambda content: content["versions"].update(commit="old"))
    assert go_on(folder, max_instances=96).run() == 0
    assert last(folder)["versions"] == versions()
    assert same(learned(last(folder)), learned(last(straight())))


def test_a_copy_goes_on_elsewhere(straight, tmp_path):
    """A run folder that was moved goes on where it lies."""
    begin(tmp_path / "run", "max_instances=64").run()
    shutil.move(tmp_path / "run", tmp_path / "moved")
    go_on(tmp_path / "moved", max_instances=96).run()
    assert same(learned(last(tmp_path / "moved")), learned(last(straight())))
    assert not (tmp_path / "run").exists()


def test_killed_between_two_rows(tmp_path):
    """Where checkpoints and validations do not coincide the rows are those of one piece, too."""
    overrides = "validation.every=48", "checkpoint_every=32"
    begin(tmp_path / "straight", *overrides).run()
    kill_at(begin(tmp_path / "pieces", *overrides), 5)
    go_on(tmp_path / "pieces").run()
    assert metrics(tmp_path / "pieces") == metrics(tmp_path / "straight")


def test_resuming_a_finished_run(straight, tmp_path):
    """A run that had ended is left as it is: no second row for the same step."""
    folder = tmp_path / "run"
    shutil.copytree(straight(), folder)
    go_on(folder).run()
    assert metrics(folder) == metrics(straight())
    assert events(folder) == events(straight())


def test_damaged_event_file(straight, tmp_path):
    """A record that is damaged within does not keep a run from going on."""
    folder = tmp_path / "run"
    begin(folder, "max_instances=64").run()
    (path,) = folder.glob("events.out.tfevents.*")
    data = bytearray(path.read_bytes())
    for offset in range(len(data) - 60, len(data) - 20):
        data[offset] = 0xFF
    path.write_bytes(data)
    assert go_on(folder, max_instances=96).run() == 0


def test_previous_survives_the_fallback(straight, tmp_path, monkeypatch):
    """After falling back, the damaged file never takes the place of the sound one."""
    folder = tmp_path / "run"
    shutil.copytree(straight(), folder)
    (folder / "last.pt").write_bytes(b"damaged")
    trainer = go_on(folder)
    replace = os.replace

    def dies_before_last(source, target):
        if str(target).endswith("last.pt"):
            raise OSError("killed")
        replace(source, target)

    monkeypatch.setattr(os, "replace", dies_before_last)
    with pytest.raises(OSError, match="killed"):
        trainer.run()
    monkeypatch.undo()
    go_on(folder)  # one of the two must still be readable
