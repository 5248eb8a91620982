"""The training loop: what it repeats, what it writes, and when it stops."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from runs import ROOT, events, learned, metrics, same, small_config

from vrp.policy.precision import product_dtype
from vrp.problem import UniformGenerator
from vrp.problem.tours import check_tours
from vrp.search import Beam, Greedy, Sampling
from vrp.training import learner as learner_module
from vrp.training.baselines import RolloutBaseline
from vrp.training.checkpoint import load_checkpoint
from vrp.training.rounding import rounding_error
from vrp.training.settings import refuse_idle
from vrp.training.trainer import Trainer

sys.path.insert(0, str(ROOT))

from train import work

COLUMNS = [
    "step",
    "instances",
    "seconds",
    "train_seconds",
    "train_cost",
    "val_cost",
    "val_gap",
]
Make = Callable[..., Trainer]


def last(trainer: Trainer) -> dict:
    """The checkpoint that a run left."""
    return load_checkpoint(trainer.folder / "last.pt")


def before_each_step(trainer: Trainer, do: Callable[[int, tuple], None]) -> None:
    """Call `do` with the step's number, from 0, and what the learner is given."""
    done = iter(range(10_000))
    trainer.learner.register_forward_pre_hook(lambda _, given: do(next(done), given))


def test_one_seed_one_run(make_trainer: Make):
    """Equal configs give equal weights and rows, bit for bit."""
    one, two = make_trainer(folder="one"), make_trainer(folder="two")
    one.run()
    two.run()
    assert same(learned(last(one)), learned(last(two)))
    assert metrics(one.folder) == metrics(two.folder)


def test_seeds_differ(make_trainer: Make):
    """Another seed starts from other weights and sees other instances."""
    runs = [make_trainer(f"seed={seed}", folder=str(seed)) for seed in (0, 1)]
    seen = [[], []]
    for record, trainer in zip(seen, runs, strict=True):
        start = trainer.learner.policy.state_dict()
        record.append({name: value.clone() for name, value in start.items()})
        before_each_step(trainer, lambda _, given, r=record: r.append(given[0].customers))
        trainer.run()
    assert not same(seen[0][0], seen[1][0])
    assert not any(torch.equal(a, b) for a, b in zip(seen[0][1:], seen[1][1:], strict=True))
    assert metrics(runs[0].folder) != metrics(runs[1].folder)


@pytest.mark.parametrize("other", ["encoder=embedding", "policy.glimpses=0", "baseline=critic"])
def test_one_seed_same_instances(other, make_trainer: Make):
    """Whatever learns, one seed shows the same instances in the same order, all different."""
    seen = []
    for folder, overrides in [("one", ()), ("two", (other,))]:
        trainer = make_trainer(*overrides, folder=folder)
        batches = []
        before_each_step(trainer, lambda _, given, kept=batches: kept.append(given[0]))
        trainer.run()
        seen.append([(b.depot, b.customers, b.demand) for b in batches])
    assert same(seen[0], seen[1])
    assert len({batch[1].sum().item() for batch in seen[0]}) == 12


def test_every_step_draws_anew(make_trainer: Make):
    """No two steps choose their actions by the same numbers."""
    trainer = make_trainer()
    drawn = []
    before_each_step(trainer, lambda _, given: drawn.append(given[1].uniforms[0, 0, 0].item()))
    trainer.run()
    assert len(set(drawn)) == 12


@pytest.mark.parametrize("training", [True, False])
def test_validation_keeps_the_policy(training, make_trainer: Make):
    """Measuring changes no weight, not even where training cuts norms, and keeps the mode."""
    trainer = make_trainer("encoder=embedding", "encoder.bins=4", "encoder.max_norm=0.1")
    policy = trainer.learner.policy.train(training)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    trainer.validation(policy, torch.device("cpu"))
    assert same(dict(policy.state_dict()), before)
    assert policy.training is training


def test_validation_draws_from_no_stream(make_trainer: Make):
    """How often and on how much a run is validated does not change what it learns."""
    often = make_trainer("validation.every=8", "validation.limit=3", folder="often")
    rarely = make_trainer("validation.every=1000", folder="rarely")
    state = torch.get_rng_state()
    often.run()
    rarely.run()
    assert same(learned(last(often)), learned(last(rarely)))
    assert torch.equal(torch.get_rng_state(), state)


def test_validation_is_the_same_for_every_seed(make_trainer: Make):
    """Runs are measured on equal instances, none of which any run is trained on."""
    one, two = make_trainer(folder="one"), make_trainer("seed=1", folder="two")
    assert torch.equal(one.validation.instances.customers, two.validation.instances.customers)
    measured = {x.item() for x in one.validation.instances.customers[..., 0].flatten()}
    trained = []
    before_each_step(one, lambda _, given: trained.append(given[0].customers[..., 0].flatten()))
    one.run()
    assert not measured & set(torch.cat(trained).tolist())


def test_a_small_vehicle_is_validated_on_its_own_instances(make_trainer: Make):
    """One that could not carry what the paper's customers want, but does what its own do."""
    goods = ("problem.num_customers=15", "problem.capacity=5", "problem.max_demand=5")
    found = make_trainer(*goods).validation
    assert (found.name, found.reference_cost) == ("generated", None)
    assert found.instances.demand.max() <= 5


def test_a_standard_set_is_validated_with_the_problems_vehicle(make_trainer: Make):
    """The set's customers; its near-optimal costs only for the vehicle that they are of."""
    found = {}
    for capacity in (19, 20):
        found[capacity] = make_trainer(
            "problem.num_customers=10", f"problem.capacity={capacity}",
            "problem.max_demand=9", "validation.set=kool10-val", folder=str(capacity),
        ).validation  # fmt: skip
    assert torch.equal(found[19].instances.customers, found[20].instances.customers)
    assert found[19].instances.capacity.unique().tolist() == [19]
    assert found[19].reference_cost is None
    assert found[20].reference_cost is not None


def test_writing_changes_nothing(make_trainer: Make):
    """How often a checkpoint is written does not change what a run learns."""
    often, rarely = (
        make_trainer(f"checkpoint_every={every}", folder=str(every)) for every in (8, 1000)
    )
    often.run()
    rarely.run()
    assert same(learned(last(often)), learned(last(rarely)))


def test_rows(make_trainer: Make):
    """A row at the start, at every validation and at the end, with the promised columns."""
    trainer = make_trainer("max_instances=80")
    assert trainer.run() == 0
    with open(trainer.folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    assert [(row["step"], row["instances"]) for row in rows] == [
        ("0", "0"),
        ("4", "32"),
        ("8", "64"),
        ("10", "80"),
    ]
    assert rows[0]["train_cost"] == ""
    assert all(row["val_cost"] and row["val_gap"] == "" for row in rows)  # no reference known
    for column in ("seconds", "train_seconds"):
        values = [float(row[column]) for row in rows]
        assert values == sorted(values)
    assert all(float(row["train_seconds"]) <= float(row["seconds"]) for row in rows)


def test_train_cost_is_the_mean_since_the_last_row(make_trainer: Make):
    """The mean cost of the tours sampled since."""
    trainer = make_trainer()
    costs = []
    trainer.learner.register_forward_hook(lambda *call: costs.append(call[2].cost.mean().item()))
    trainer.run()
    for row, first in zip(metrics(trainer.folder)[1:], range(0, 12, 4), strict=True):
        assert float(row["train_cost"]) == pytest.approx(sum(costs[first : first + 4]) / 4, 1e-5)


def test_gap_where_the_best_is_known(make_trainer: Make):
    """On a standard set the gap to the near-optimal costs stands beside the cost."""
    sizes = "problem.num_customers=10", "problem.capacity=20", "validation.limit=20"
    trainer = make_trainer(*sizes, "max_instances=8")
    trainer.run()
    known = trainer.validation.reference_cost[:20].mean()
    for row in metrics(trainer.folder):
        expected = 100 * (float(row["val_cost"]) / known - 1)
        assert float(row["val_gap"]) == pytest.approx(expected, rel=1e-3)
    assert trainer.validation.name == "kool10-val"


def test_best_is_the_best(make_trainer: Make):
    """The file best.pt is of the row with the lowest validation cost."""
    trainer = make_trainer("learning_rate=0.03")
    trainer.run()
    rows = metrics(trainer.folder)
    best = min(rows, key=lambda row: float(row["val_cost"]))
    found = load_checkpoint(trainer.folder / "best.pt")["progress"]
    assert str(found["step"]) == best["step"]
    assert found["best_cost"] == pytest.approx(float(best["val_cost"]), rel=1e-5)


def test_summary(make_trainer: Make):
    """A finished run says in one small file what it did."""
    trainer = make_trainer()
    trainer.run()
    summary = json.loads((trainer.folder / "summary.json").read_text())
    assert summary["instances"] == 96
    assert summary["steps"] == 12
    assert summary["device"] == "cpu"
    assert summary["validation_decode"] == "greedy"
    parameters = trainer.learner.policy.parameters()
    assert summary["parameters"] == sum(p.numel() for p in parameters)


ATTENTION = "policy=attention", "num_rollouts=5", "max_instances=8"


@pytest.mark.parametrize(
    ("overrides", "products"),
    [
        (("max_instances=8",), "float32"),
        ((*ATTENTION, "policy.precision=float32"), "float32"),
        ((*ATTENTION, "policy.precision=bfloat16"), "bfloat16"),
        (
            (*ATTENTION, "policy.precision=auto"),
            str(product_dtype("auto", torch.device("cpu")))[6:],
        ),
    ],
)
def test_rounded_products_are_recorded(overrides, products, make_trainer: Make, capsys):
    """As they are on this device, with their effect where there is one."""
    trainer = make_trainer(*overrides)
    trainer.run()
    summary = json.loads((trainer.folder / "summary.json").read_text())
    assert summary["products"] == last(trainer)["products"] == products
    rounded = products == "bfloat16"
    assert ((0, "val/rounding") in events(trainer.folder)) is rounded
    assert (summary["rounding"] is not None) is rounded
    assert ("products are bfloat16" in capsys.readouterr().out) is rounded


@pytest.mark.parametrize("changes", [True, False])
def test_products_that_change_on_the_way_are_said(changes, make_trainer: Make, capsys):
    """A run of `auto` may be resumed where the processor multiplies otherwise."""
    begun = make_trainer(*ATTENTION, "policy.precision=auto")
    begun.run()
    here = last(begun)["products"]
    there = {"float32": "bfloat16", "bfloat16": "float32"}[here] if changes else here
    checkpoint = last(begun) | {"products": there}
    capsys.readouterr()
    config = begun.config | {"max_instances": 16}
    Trainer(config, begun.folder, torch.device("cpu"), time.perf_counter(), checkpoint).run()
    said = f"products were {there} and are {here} here" in capsys.readouterr().out
    assert said is changes


def test_rounding_beyond_the_limit(make_trainer: Make, monkeypatch, capsys):
    """Said once, in whichever validation comes first; the summary holds what the last one found."""
    found = iter([0.2, 1.2, 0.9, 1.5])
    monkeypatch.setattr("vrp.training.validation.rounding_error", lambda *_: next(found))
    trainer = make_trainer()
    assert trainer.run() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "more than 1" in line]
    assert [line.partition(":")[0] for line in lines] == ["step 4"]
    assert json.loads((trainer.folder / "summary.json").read_text())["rounding"] == 1.5
    assert last(trainer)["rounding"] == 1.5


def test_rounding_error_is_of_whole_tours(make_trainer: Make):
    """The mean over instances, as two policies of equal weights give it; it leaves no trace."""
    policy = make_trainer(*ATTENTION, "policy.precision=bfloat16").learner.policy.train()
    exact = make_trainer(*ATTENTION, "policy.precision=float32", folder="exact").learner.policy
    instances = UniformGenerator(5, 15)(16, torch.Generator().manual_seed(0))
    tours = Greedy()(exact.eval(), instances, torch.Generator()).actions
    found = [
        p.log_probs(p.encode(instances), instances, tours[:, None]).log_prob.sum(-1)
        for p in (policy, exact)
    ]
    error = rounding_error(policy, instances, tours)
    assert error == pytest.approx((found[0] - found[1]).abs().mean().item(), rel=1e-5)
    assert 0 < error < 0.15
    assert rounding_error(exact, instances, tours) is None
    assert policy.training
    assert policy.products(torch.device("cpu")) == torch.bfloat16


@pytest.mark.parametrize(("policy", "is_kept"), [("pointer", False), ("attention", True)])
def test_time_of_compilation_is_left_out(policy, is_kept, make_trainer: Make, monkeypatch):
    """What is not kept is compiled from the fixed step on, in a step that does not count."""
    monkeypatch.setattr("vrp.training.trainer.missing_for_compile", lambda *_: None)
    trainer = make_trainer(f"policy={policy}", "num_rollouts=5", "compile=auto")
    trainer._maybe_compile()
    assert not trainer._compiles
    assert trainer.learner.policy.is_compiled() is is_kept
    trainer.progress.step = 20
    trainer._maybe_compile()
    assert trainer._compiles is not is_kept
    assert trainer.learner.policy.is_compiled()


@pytest.mark.parametrize("policy", ["pointer", "attention"])
def test_what_compiling_lacks_is_said(policy, make_trainer: Make, monkeypatch, capsys):
    """And training goes on without."""
    monkeypatch.setattr("vrp.training.trainer.missing_for_compile", lambda *_: "no compiler")
    trainer = make_trainer(
        f"policy={policy}", "num_rollouts=5", "compile=auto", "max_instances=168"
    )
    trainer.run()
    assert "not compiled: no compiler" in capsys.readouterr().out
    assert not trainer.learner.policy.is_compiled()


def test_compile_off_compiles_nothing(make_trainer: Make):
    """Not even where all that it takes is there."""
    trainer = make_trainer("compile=off")
    trainer.progress.step = 20
    trainer._maybe_compile()
    assert not trainer.learner.policy.is_compiled()


def test_events(make_trainer: Make):
    """Validation at every row, training every ten steps, and the settings at the start."""
    trainer = make_trainer()
    trainer.run()
    found = events(trainer.folder)
    assert [step for step, tag in found if tag == "val/cost"] == [0, 4, 8, 12]
    assert {tag for step, tag in found if step == 10} >= {
        "train/advantage",
        "train/cost",
        "train/entropy",
        "train/gradient_norm",
        "train/learning_rate",
        "speed/instances_per_second",
    }
    assert any("hparams" in tag for step, tag in found if step == 0)


def test_nothing_is_written_before_the_run(make_trainer: Make):
    """Building a trainer leaves the folder empty."""
    assert not list(make_trainer().folder.iterdir())


@pytest.mark.parametrize(
    ("decay", "expected"), [("linear", 1 - 88 / 96), ("none", 1.0), ("steps", 0.25)]
)
def test_learning_rate(decay, expected, make_trainer: Make):
    """The last of twelve steps is taken at the rate of the 88 instances seen before it."""
    trainer = make_trainer(
        f"learning_rate_decay={decay}",
        "learning_rate=0.01",
        "learning_rate_steps=[0.3,0.9,1.0]",
        "learning_rate_factor=0.5",
    )
    trainer.run()
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * expected)


@pytest.mark.parametrize("key", ["learning_rate_steps", "learning_rate_factor"])
def test_a_course_that_is_not_taken_is_refused(key):
    """Steps that were given and a decay that has none contradict each other."""
    config = small_config("learning_rate_decay=linear")
    with pytest.raises(ValueError, match=f"^{key} is .* give learning_rate_decay=steps, too"):
        refuse_idle(config, ("seed", key))
    refuse_idle(config, ("seed",))
    refuse_idle(small_config("learning_rate_decay=steps"), ("seed", key))


@pytest.mark.parametrize("kind", ["global", "per_variable"])
def test_clipped_gradients(kind, make_trainer: Make):
    """No step is taken with more than the allowed norm, of all parameters or of each."""
    trainer = make_trainer(f"grad_clip_kind={kind}", "grad_clip=0.001")
    norms = []

    def record(optimizer, *_: object) -> None:
        each = [p.grad.norm() for p in optimizer.param_groups[0]["params"] if p.grad is not None]
        norms.append((torch.stack(each).norm().item(), max(each).item()))

    trainer.optimizer.register_step_pre_hook(record)
    trainer.run()
    allowed = pytest.approx(0.001, rel=1e-2)
    for total, largest in norms:
        assert (total if kind == "global" else largest) == allowed
        assert kind == "global" or total > 0.0011


BASELINES = {
    "critic": (),
    "exponential": (),
    "shared": (),
    "rollout": ("baseline.epoch_instances=16", "baseline.eval_instances=100"),
}


@pytest.mark.parametrize("kind", ["global", "per_variable"])
@pytest.mark.parametrize("baseline", BASELINES)
def test_norms_are_of_what_learns(baseline, kind, make_trainer: Make, monkeypatch):
    """No norm is taken of nothing: it would be a CPU tensor among those of the device."""
    trainer = make_trainer(
        f"baseline={baseline}", *BASELINES[baseline], f"grad_clip_kind={kind}", "max_instances=8"
    )
    taken = []
    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(
        torch.nn.utils,
        "clip_grad_norm_",
        lambda part, most: taken.append(len(part)) or clip(part, most),
    )
    trainer.run()
    assert taken
    assert 0 not in taken


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("policy", ["pointer", "attention"])
@pytest.mark.parametrize("baseline", BASELINES)
def test_steps_on_a_gpu(baseline, policy, tmp_path: Path):
    """Three steps with each baseline, an epoch of the rollout baseline among them."""
    config = small_config(
        f"policy={policy}", f"baseline={baseline}", *BASELINES[baseline], "max_instances=24",
        *(("num_rollouts=5",) if policy == "attention" else ()),
    )  # fmt: skip
    trainer = Trainer(config, tmp_path, torch.device("cuda"), time.perf_counter())
    assert trainer.run() == 0
    assert last(trainer)["progress"]["step"] == 3


def test_unclipped_gradients(make_trainer: Make):
    """Without a limit the gradient is taken as it is."""
    runs = [make_trainer(f"grad_clip={x}", folder=x) for x in ("null", "1e6")]
    for trainer in runs:
        trainer.run()
    assert same(learned(last(runs[0])), learned(last(runs[1])))


def test_learns(make_trainer: Make):
    """Sixty steps on a tiny problem bring the cost down by a tenth."""
    trainer = make_trainer(
        "batch_size=64",
        "num_rollouts=4",
        "embedding_dim=16",
        "learning_rate=0.01",
        "max_instances=3840",
        "decay_instances=3840",
        "validation.every=3840",
        "validation.limit=200",
        "checkpoint_every=3840",
    )
    trainer.run()
    first, final = (float(row["val_cost"]) for row in metrics(trainer.folder))
    assert final < 0.9 * first


@pytest.mark.parametrize("baseline", ["critic", "exponential", "shared"])
def test_any_size(baseline, make_trainer: Make):
    """37 customers and capacity 35, which no paper has, train and give legal tours."""
    trainer = make_trainer(
        "problem.num_customers=37",
        "problem.capacity=35",
        f"baseline={baseline}",
        "max_instances=16",
        "validation.every=16",
    )
    assert trainer.run() == 0
    policy, instances = trainer.learner.policy.eval(), trainer.validation.instances
    for search in (Greedy(), Sampling(3), Beam(3)):
        solution = search(policy, instances, torch.Generator().manual_seed(0))
        check_tours(instances, solution.actions[:, None])


def test_time_is_up(make_trainer: Make):
    """After `max_time` seconds a run stops by itself, complete but for the instances."""
    trainer = make_trainer("max_time=0.5", "max_instances=1e7", "decay_instances=1e7")
    begun = time.perf_counter()
    assert trainer.run() == 0
    assert time.perf_counter() - begun < 5
    progress = last(trainer)["progress"]
    assert 0 < progress["instances"] < 1e7
    assert metrics(trainer.folder)[-1]["step"] == str(progress["step"])
    assert metrics(trainer.folder)[-1]["val_cost"]
    assert (trainer.folder / "summary.json").exists()


def test_time_was_up_before(tmp_path: Path):
    """Time that the start of the program took counts, and even then all is written."""
    config, long_ago = small_config("max_time=10"), time.perf_counter() - 60
    trainer = Trainer(config, tmp_path, torch.device("cpu"), long_ago)
    assert trainer.run() == 0
    assert last(trainer)["progress"]["step"] == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal(number, code, make_trainer: Make, capsys: pytest.CaptureFixture):
    """A signal lets the step end; then the run writes all, says how to go on, gives its code."""
    trainer = make_trainer()
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def send(step: int, _: tuple) -> None:
        if step == 5:
            os.kill(os.getpid(), number)

    before_each_step(trainer, send)
    assert work(trainer, in_sweep=False) == code
    assert f"resume={os.path.relpath(trainer.folder)}" in capsys.readouterr().out
    assert last(trainer)["progress"]["step"] == 6
    row = metrics(trainer.folder)[-1]
    assert row["step"] == "6"
    assert row["train_cost"]
    assert row["val_cost"] == ""
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_first_signal_is_answered(make_trainer: Make, capfd: pytest.CaptureFixture):
    """At once, in one line that names what the user waits for; the second adds nothing."""
    trainer, heard = make_trainer(), []

    def twice(step: int, _: tuple) -> None:
        if step == 5:
            for _ in range(2):
                try:
                    os.kill(os.getpid(), signal.SIGINT)
                finally:
                    heard.append(capfd.readouterr().err)

    before_each_step(trainer, twice)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert heard[0].startswith("\nstopping after this step or part of a validation; again to abort")
    assert heard[0].count("\n") == 2
    assert heard[1] == ""


def test_signal_when_nobody_listens(make_trainer: Make, monkeypatch: pytest.MonkeyPatch):
    """Where stderr is closed, a signal still lets the run end as it should."""

    def closed(*_: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    def send(step: int, _: tuple) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("vrp.training.signals.os", SimpleNamespace(write=closed))
    trainer = make_trainer()
    before_each_step(trainer, send)
    assert trainer.run() == 143
    assert last(trainer)["progress"]["step"] == 6


def test_second_signal_acts(make_trainer: Make):
    """Who presses Ctrl-C twice is not kept waiting; the last checkpoint stays."""
    trainer = make_trainer()

    def twice(step: int, _: tuple) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    before_each_step(trainer, twice)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert last(trainer)["progress"]["step"] == 4


def test_gradient_that_is_no_number(make_trainer: Make):
    """The run stops before the update, and last.pt is from before."""
    trainer = make_trainer()
    straight = make_trainer("max_instances=32", folder="straight")
    straight.run()
    parameter = trainer.learner.policy.query.weight
    calls = iter(range(100))
    parameter.register_hook(lambda grad: grad * torch.nan if next(calls) == 6 else grad)
    with pytest.raises(FloatingPointError, match=r"step 7.*last\.pt"):
        trainer.run()
    assert last(trainer)["progress"]["step"] == 4
    assert same(learned(last(trainer)), learned(last(straight)))
    assert all(p.isfinite().all() for p in trainer.learner.parameters())


def test_full_disk(make_trainer: Make, monkeypatch: pytest.MonkeyPatch):
    """A checkpoint that cannot be written ends the run; the one before is still there."""
    trainer = make_trainer()

    def fill(step: int, _: tuple) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        if step == 6:
            monkeypatch.setattr("vrp.training.checkpoint.os.fsync", full)

    before_each_step(trainer, fill)
    with pytest.raises(OSError, match="No space left"):
        trainer.run()
    assert last(trainer)["progress"]["step"] == 4
    assert not list(trainer.folder.glob("*.tmp"))


def test_embedding_dims_must_agree(make_trainer: Make):
    """An encoder of another width than the policy is refused, with both numbers."""
    with pytest.raises(ValueError, match=r"encoder's embedding_dim is 4.*8"):
        make_trainer("encoder.embedding_dim=4")


def test_multistart_takes_a_tour_for_each_customer_at_most(make_trainer: Make):
    """More of them are refused before the run."""
    with pytest.raises(ValueError, match=r"num_rollouts is 6; with multistart=true .* at most 5"):
        make_trainer("multistart=true", "num_rollouts=6", folder="wrong")
    assert make_trainer("multistart=true", "num_rollouts=5").run() == 0


@pytest.mark.parametrize("policy", ["pointer", "attention"])
@pytest.mark.parametrize("starts", [3, 5])
def test_multistart_begins_everywhere(policy, starts, make_trainer: Make, monkeypatch):
    """Tour k begins at customer k + 1, and that step teaches nothing."""
    trainer = make_trainer(f"policy={policy}", "multistart=true", f"num_rollouts={starts}")
    learner, played = trainer.learner, []
    play = learner_module.rollout
    monkeypatch.setattr(
        learner_module, "rollout", lambda *given: played.append(play(*given)) or played[-1]
    )
    instances = trainer.generator(4, torch.Generator().manual_seed(0))
    learned = learner(instances, learner.draw(instances, torch.Generator().manual_seed(0)))
    (actions,) = played
    assert actions[..., 0].tolist() == [list(range(1, starts + 1))] * 4
    replay = learner.policy.log_probs(learner.policy.encode(instances), instances, actions)
    assert replay.log_prob[..., 0].all()
    expected = (learned.advantages * replay.log_prob[..., 1:].sum(-1)).mean()
    parameters = list(learner.policy.parameters())
    ours, theirs = (
        torch.autograd.grad(loss, parameters, materialize_grads=True)
        for loss in (learned.loss, expected)
    )
    for found, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


def test_validation_from_every_customer(make_trainer: Make):
    """Multi-start's cost is never above greedy's; both are of the same policy."""
    costs = []
    for decode in ("greedy", "multistart"):
        trainer = make_trainer(f"validation.decode={decode}", "learning_rate=1e-9", folder=decode)
        trainer.run()
        costs.append([float(row["val_cost"]) for row in metrics(trainer.folder)])
    assert all(several <= one for one, several in zip(*costs, strict=True))
    assert sum(costs[1]) < sum(costs[0])


def test_entropy_is_rewarded(make_trainer: Make):
    """A large weight keeps the policy nearer to chance than none does."""
    found = []
    for weight in (0.0, 5.0):
        longer = "learning_rate=0.01", "learning_rate_decay=none", "max_instances=480"
        trainer = make_trainer(f"entropy_weight={weight}", *longer, folder=f"w{weight}")
        trainer.run()
        instances = trainer.generator(64, torch.Generator().manual_seed(0))
        draws = trainer.learner.draw(instances, torch.Generator().manual_seed(0))
        found.append(trainer.learner(instances, draws).entropy.item())
    assert found[1] > found[0] + 0.1


def test_weight_decay_is_adams(make_trainer: Make):
    """It draws the weights towards zero."""
    sizes = []
    for decay in (0.0, 100.0):
        trainer = make_trainer(f"weight_decay={decay}", "learning_rate=0.01", folder=f"d{decay}")
        trainer.run()
        sizes.append(sum(p.norm().item() for p in trainer.learner.policy.parameters()))
    assert sizes[1] < sizes[0] - 1


@pytest.mark.parametrize(
    ("policy", "split", "warns"),
    [("attention", True, True), ("attention", False, False), ("pointer", True, False)],
)
def test_what_split_deliveries_hide(policy, split, warns, make_trainer: Make, capsys):
    """A policy that sees demands at the start only says so before it trains."""
    options = f"problem.split_delivery={str(split).lower()}", f"policy={policy}"
    make_trainer(*options, "num_rollouts=5", "max_instances=8").run()
    assert ("sees each demand at the start only" in capsys.readouterr().out) is warns


@pytest.mark.parametrize(("epoch", "steps"), [(96, 0), (88, 1)])
def test_a_run_that_ends_in_the_warm_up_says_so(
    epoch, steps, make_trainer: Make, monkeypatch, capsys
):
    """Before it trains, with both numbers and the key: the greedy rollout is never asked."""
    asked, play = [], RolloutBaseline._greedy
    monkeypatch.setattr(
        RolloutBaseline, "_greedy", lambda *given: asked.append(given) or play(*given)
    )
    options = f"baseline.epoch_instances={epoch}", "baseline.eval_instances=100"
    make_trainer("baseline=rollout", *options).run()
    first = capsys.readouterr().out.splitlines()[0]
    assert len(asked) == steps
    assert (
        "max_instances is 96 and the warm-up of baseline=rollout takes 96" in first
        and "a smaller baseline.epoch_instances" in first
    ) is (steps == 0)


def test_validation_in_smaller_batches(make_trainer: Make, monkeypatch):
    """As many instances at once as their pairs of nodes allow; the tours stay the same."""
    trainer = make_trainer("validation.limit=7")
    policy, device = trainer.learner.policy, torch.device("cpu")
    whole = trainer.validation(policy, device)
    sizes, solve = [], Greedy.__call__
    monkeypatch.setattr(
        Greedy, "__call__", lambda *given: sizes.append(len(given[2])) or solve(*given)
    )
    monkeypatch.setattr("vrp.search.deterministic._PAIRS", 3 * 6**2)
    parts = trainer.validation(policy, device)
    assert sizes == [3, 3, 1]
    assert torch.equal(parts.actions, whole.actions)


def test_one_rollout_and_shared(make_trainer: Make):
    """The shared baseline with one solution is refused before anything is written."""
    with pytest.raises(ValueError, match="num_rollouts is 1"):
        make_trainer("num_rollouts=1")


@pytest.mark.parametrize("overrides", [("validation.set=kool11",), ("validation.limit=20000",)])
def test_validation_that_is_not_there(overrides, make_trainer: Make):
    """An unknown set, or more instances than it has, is refused before the run."""
    sizes = "problem.num_customers=10", "problem.capacity=20"
    with pytest.raises(ValueError, match="kool"):
        make_trainer(*sizes, *overrides)


def test_checkpoint_holds_what_is_promised(make_trainer: Make):
    """Config, progress, weights, optimizer and versions."""
    trainer = make_trainer()
    trainer.run()
    content = last(trainer)
    assert content["config"] == trainer.config
    assert same(content["policy"], dict(trainer.learner.policy.state_dict()))
    assert content["progress"]["instances"] == 96
    assert content["versions"]["torch"] == torch.__version__
    assert {"baseline", "optimizer"} <= content.keys()


def test_weight_that_is_no_number(make_trainer: Make):
    """A weight that is NaN ends the run with the same words as a gradient that is."""
    trainer = make_trainer()

    def spoil(step: int, _: tuple) -> None:
        if step == 6:
            trainer.learner.policy.query.weight.data[0, 0] = torch.nan

    before_each_step(trainer, spoil)
    with pytest.raises(FloatingPointError, match=r"last\.pt"):
        trainer.run()
    assert last(trainer)["progress"]["step"] == 4


def test_critic_of_another_width(make_trainer: Make):
    """A critic that does not fit the policy is refused before the run, with both numbers."""
    with pytest.raises(ValueError, match=r"embedding_dim.*16.*8|embedding_dim.*8.*16"):
        make_trainer("baseline=critic", "baseline.embedding_dim=16", "num_rollouts=1")


def test_no_hard_links(make_trainer: Make, monkeypatch: pytest.MonkeyPatch):
    """Where the file system has no hard links previous.pt is kept in another way."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("vrp.training.checkpoint.os.link", refuse)
    trainer = make_trainer()
    assert trainer.run() == 0
    assert last(trainer)["progress"]["step"] == 12
