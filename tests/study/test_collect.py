"""What becomes of a real sweep, with all that can happen to a run in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from programs import Done, run_program

from vrp.problem import Instances
from vrp.problem.datasets import reference
from vrp.study.collect import collect
from vrp.study.describe import Planned, describe, settings_of
from vrp.study.records import read_curves, read_runs, write_curves, write_runs
from vrp.training.build import build_generator, build_learner
from vrp.training.checkpoint import load_checkpoint
from vrp.training.step import TrainingStep, make_optimizer

SMALL = [
    "batch_size=16",
    "num_rollouts=2",
    "embedding_dim=8",
    "max_instances=64",
    "decay_instances=64",
    "compile=off",
    "validation.limit=10",
    "validation.every=32",
    "threads=1",
    "name=tried",
]


def train(folder: Path, *arguments: str) -> Done:
    """`python train.py --multirun ...` in a folder."""
    given = {argument.partition("=")[0] for argument in arguments}
    small = [setting for setting in SMALL if setting.partition("=")[0] not in given]
    return run_program(["train.py", "--multirun", *small, *arguments], folder)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Four finished runs, one that was stopped, one that failed, one that never began."""
    cwd = tmp_path_factory.mktemp("sweep")
    folder = cwd / "outputs" / "tried"
    broken = folder / "linear-s1"
    broken.mkdir(parents=True)
    (broken / "last.pt").write_bytes(b"no checkpoint")
    first = train(cwd, "encoder=conv1d,linear,embedding", "seed=0,1")
    assert first.returncode == 2, first.stderr
    assert "5 of 6 runs done, 1 failed" in first.stdout
    stopped = train(cwd, "encoder=conv1d", "seed=2", "max_time=1e-6")
    assert stopped.returncode == 0, stopped.stderr
    shutil.rmtree(folder / "embedding-s1")
    return folder


@pytest.fixture(scope="module")
def collected(sweep):
    """The runs, tested on a part of kool10, and their curves."""
    return collect([sweep], ["kool10", "clustered10"], 20)


def test_every_planned_run_is_there(collected):
    """With what became of it; only finished ones have costs."""
    runs, _ = collected
    states = {run.run: run.status for run in runs}
    assert states == {
        "conv1d-s0": "finished",
        "conv1d-s1": "finished",
        "linear-s0": "finished",
        "linear-s1": "failed",
        "embedding-s0": "finished",
        "embedding-s1": "missing",
        "conv1d-s2": "stopped",
    }
    assert all((run.cost is not None) == (run.status == "finished") for run in runs)
    failed = next(run for run in runs if run.status == "failed")
    assert failed.error.startswith("last.pt is damaged or no checkpoint")  # no machine's path


def test_a_run_is_described_by_its_config(collected):
    """The columns that comparisons rely on."""
    run = next(run for run in collected[0] if run.run == "linear-s0")
    assert (run.sweep, run.problem, run.num_customers, run.capacity) == ("tried", "vrp10", 10, 20)
    assert (run.policy, run.encoder, run.variant, run.seed) == ("pointer", "linear", "", 0)
    assert (run.budget, run.instances, run.batch_size, run.num_rollouts) == (64, 64, 16, 2)
    assert (run.threads, run.precision, run.checkpoint) == (1, "float32", "last")
    assert run.side_by_side == 1
    assert run.device in ("cpu", "cuda")
    assert run.seconds > run.train_seconds > 0


def test_tested_on_every_set_that_fits(collected, sweep):
    """The gap is to the reference of the very instances; clustered ones have none."""
    runs, _ = collected
    rows = {run.test_set: run for run in runs if run.run == "conv1d-s0"}
    assert set(rows) == {"kool10", "clustered10"}
    known = reference("kool10").cost[:20].mean()
    assert rows["kool10"].gap == pytest.approx(100 * (rows["kool10"].cost / known - 1))
    assert (rows["kool10"].reference_instances, rows["clustered10"].gap) == (20, None)


def test_multi_start_training_is_tested_both_ways(tmp_path):
    """Greedily as all others, and as it was trained; the best of several is never longer."""
    small = ["policy=attention", "policy.num_layers=1", "policy.num_heads=2", "num_rollouts=10"]
    small += ["policy.precision=bfloat16"]
    done = train(tmp_path, *small, "encoder=linear", "seed=0")
    assert done.returncode == 0, done.stderr
    runs, _ = collect([tmp_path / "outputs" / "tried"], ["kool10"], 20)
    assert [(run.problem, run.decode) for run in runs] == [
        ("vrp10-attention", "greedy"),
        ("vrp10-attention", "multistart"),
    ]
    assert runs[1].cost < runs[0].cost
    assert runs[0].precision == "float32, products bfloat16"


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"multistart": True}, "multistart=True"),
        ({"leader_weight": 3.0}, "leader_weight=3.0"),
        ({"start_from": "vrp10-conv1d"}, "start_from=vrp10-conv1d"),
        ({"learning_rate_decay": "steps"}, "steps=[0.8]/0.1"),
        ({"problem": {"max_demand": 5}}, "max_demand=5"),
        ({"problem": {"_target_": "vrp.problem.ClusteredGenerator", "spread": 0.4}}, "spread=0.4"),
    ],
)
def test_runs_that_were_trained_otherwise_are_told_apart(changed, shown, sweep):
    """What has no column of its own is in the settings, if it is not as usual."""
    config = load_checkpoint(sweep / "linear-s0" / "last.pt")["config"]
    assert shown not in settings_of(config)
    parts = {key: config[key] | new for key, new in changed.items() if isinstance(new, dict)}
    assert shown in settings_of(config | changed | parts).split(" ")


def test_another_vehicle_has_no_gap_to_the_usual_ones_tours(tmp_path):
    """One that holds three times as much needs shorter tours, which nobody has computed."""
    done = train(tmp_path, "problem.capacity=60", "encoder=linear", "seed=0")
    assert done.returncode == 0, done.stderr
    (run,), _ = collect([tmp_path / "outputs" / "tried"], ["kool10"], 20)
    assert (run.problem, run.capacity) == ("vrp10-capacity60", 60)
    assert run.cost > 0
    assert (run.gap, run.reference_instances) == (None, None)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({}, ("vrp10", "")),
        ({"learning_rate": 3e-4}, ("vrp10-rate0.0003", "")),
        ({"max_instances": 400_000}, ("vrp10", "")),
        ({"max_instances": 800_000}, ("vrp10-instances800000", "")),
        ({"problem": {"capacity": 19}}, ("vrp10-capacity19", "")),
        (
            {"problem": {"capacity": 19}, "validation": {"set": "kool10-val"}},
            ("vrp10", "strict_mask"),
        ),
        ({"encoder": {"_target_": "vrp.policy.mistakes.BlindEncoder"}}, ("vrp10", "blind")),
    ],
)
def test_what_is_compared_with_what(changed, named, sweep, tmp_path):
    """Another rate, budget or vehicle is another problem; the strict mask needs the usual one."""
    config = load_checkpoint(sweep / "linear-s0" / "last.pt")["config"]
    config |= {"learning_rate": 2e-3}
    for key, new in changed.items():
        config[key] = config[key] | new if isinstance(new, dict) else new
    described = describe(Planned("tried", "linear-s0", tmp_path, config))
    assert (described.problem, described.variant) == named


def test_an_unknown_generator_is_named(sweep, tmp_path):
    """A problem that this program does not have."""
    config = load_checkpoint(sweep / "linear-s0" / "last.pt")["config"]
    config["problem"] = config["problem"] | {"_target_": "vrp.problem.Torus"}
    with pytest.raises(ValueError, match=r"'vrp.problem.Torus'; the study knows none"):
        describe(Planned("tried", "linear-s0", tmp_path, config))


def test_damaged_results_are_named(collected, sweep, tmp_path):
    """Whatever a run's tests.json holds."""
    folder = tmp_path / "conv1d-s0"
    shutil.copytree(sweep / "conv1d-s0", folder)
    content = json.loads((folder / "tests.json").read_text())
    content["kool10 greedy 20"] = {"price": 1.0}
    (folder / "tests.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"tests.json is damaged: 'kool10 greedy 20' is"):
        collect([folder], ["kool10"], 20)


def test_results_are_kept_while_the_checkpoint_is_the_same(collected, sweep):
    """A second look takes them from the run's folder; another checkpoint is solved anew."""
    kept = sweep / "conv1d-s0" / "tests.json"
    content = json.loads(kept.read_text())
    content["kool10 greedy 20"]["cost"] = 99.0
    kept.write_text(json.dumps(content))
    again, _ = collect([sweep / "conv1d-s0"], ["kool10"], 20)
    assert again[0].cost == 99.0
    content["checkpoint_sha256"] = "of another"
    kept.write_text(json.dumps(content))
    anew, _ = collect([sweep / "conv1d-s0"], ["kool10"], 20)
    assert anew[0].cost == next(r.cost for r in collected[0] if r.run == "conv1d-s0")


def test_the_curves_are_those_of_metrics_csv(collected, sweep):
    """A point per row, of stopped runs too, none of failed and missing ones."""
    runs, curves = collected
    points = [point for point in curves if point.run == "linear-s0"]
    assert [point.instances for point in points] == [0, 32, 64]
    assert {point.run for point in curves} == {
        r.run for r in runs if r.status in ("finished", "stopped")
    }


def test_the_files_hold_it_all(collected, tmp_path):
    """Both records pass the checks of the files and come back equal."""
    runs, curves = collected
    write_runs(tmp_path / "runs.csv", runs)
    write_curves(tmp_path / "curves.csv", curves, runs)
    assert read_runs(tmp_path / "runs.csv") == runs
    assert read_curves(tmp_path / "curves.csv", runs) == curves


def test_equal_seeds_pair(sweep):
    """Conv1d and linear begin equal, as the first cost says; embedding sees the same batches."""
    start, seen = {}, {}
    for name in ("conv1d-s0", "linear-s0", "embedding-s0"):
        rows = (sweep / name / "metrics.csv").read_text().splitlines()
        start[name] = rows[1].split(",")[5]
        seen[name] = batches(load_checkpoint(sweep / name / "last.pt")["config"])
    assert start["conv1d-s0"] == start["linear-s0"] != start["embedding-s0"]
    assert torch.equal(seen["linear-s0"], seen["embedding-s0"])
    assert torch.equal(seen["linear-s0"], seen["conv1d-s0"])


def batches(config: dict) -> torch.Tensor:
    """The customers of its first two training steps."""
    generator, seen = build_generator(config), []

    def recorded(*asked: object) -> Instances:
        seen.append(generator(*asked))
        return seen[-1]

    learner = build_learner(config, generator)
    optimizer = make_optimizer(config, learner)
    step = TrainingStep(config, recorded, learner, optimizer, torch.device("cpu"))
    for number in range(2):
        step(number, number * config["batch_size"])
    return torch.stack([instances.customers for instances in seen])


def test_the_mask_with_one_less_is_a_variant(tmp_path):
    """It is trained on capacity 19, and listed and tested as what it stands for."""
    cwd = tmp_path
    done = train(cwd, "encoder=linear", "+suspect=strict_mask,reshaped", "seed=0")
    assert done.returncode == 0, done.stderr
    runs, _ = collect([cwd / "outputs" / "tried"], ["kool10"], 10)
    by_variant = {run.variant: run for run in runs}
    assert set(by_variant) == {"strict_mask", "reshaped"}
    assert {run.encoder for run in runs} == {"linear"}
    assert {run.problem for run in runs} == {"vrp10"}
    assert {run.capacity for run in runs} == {20}
    assert {run.validation for run in runs} == {"kool10-val"}
    assert len({run.settings for run in runs}) == 1
    folder = cwd / "outputs" / "tried" / "linear-s0-strict_mask"
    assert load_checkpoint(folder / "last.pt")["config"]["problem"]["capacity"] == 19


@pytest.mark.parametrize(
    ("make", "tests", "words"),
    [
        (lambda folder: folder, (), "holds neither a sweep"),
        (lambda folder: folder / "absent", (), "is no folder"),
        (lambda folder: folder, ("kool11",), "'kool11' is unknown; allowed: kool10"),
    ],
)
def test_what_cannot_be_collected_is_named(tmp_path, make, tests, words):
    """An error in one line instead of an empty result."""
    with pytest.raises(ValueError, match=words):
        collect([make(tmp_path)], tests)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", r"sweep.json is damaged: it holds \[\]; it must be keys with values"),
        ('{"runs": {}}', "sweep.json is damaged: it lists no runs"),
        ("{", "sweep.json is damaged"),
        ('{"runs": {"a": {"seed": 0}}}', "its config, .* is damaged .* KeyError"),
    ],
)
def test_a_damaged_sweep_is_named(tmp_path, content, words):
    """Whatever its list holds, in one line."""
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(ValueError, match=words):
        collect([tmp_path])


def test_a_test_set_of_another_size_is_refused(sweep):
    """No run is silently left untested."""
    with pytest.raises(ValueError, match="no test set of 10 customers among kool20"):
        collect([sweep], ["kool20"], 10)


def test_two_runs_of_one_name_are_refused(sweep, tmp_path):
    """They could not be told apart in the files."""
    copy = tmp_path / "tried"
    shutil.copytree(sweep, copy)
    with pytest.raises(ValueError, match="both called tried/conv1d-s0"):
        collect([sweep, copy], ["kool10"], 10)
