"""The evaluation itself: what it measures, what it writes, and what stops it beforehand."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from vrp.evaluation import evaluate
from vrp.evaluation.evaluate import make_evaluation
from vrp.problem import ClusteredGenerator, Instances, UniformGenerator
from vrp.problem.datasets import reference, standard_set
from vrp.problem.files import save_npz
from vrp.problem.tours import check_tours, tour_length
from vrp.search import Greedy
from vrp.training.build import build_policy, build_search
from vrp.training.checkpoint import save_checkpoint

DECODINGS = sorted((Path(__file__).resolve().parents[2] / "configs" / "decode").glob("*.yaml"))
FEW = {"samples": 3, "width": 3, "symmetries": 2, "time_limit": 0.1}  # what makes a search slow
SAMPLING = {"_target_": "vrp.search.Sampling", "samples": 2, "temperature": 1.0}
ATTENTION = {"_target_": "vrp.policy.AttentionPolicy", "num_layers": 1, "num_heads": 2,
             "feed_forward_dim": 16}  # fmt: skip


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing takes most of the time; one test asks for it."""
    monkeypatch.setattr(evaluate, "can_draw", lambda: False)


def results(config: dict) -> tuple[dict, np.ndarray, np.ndarray]:
    """Run and read what was written: the summary, the costs, the actions."""
    evaluation = make_evaluation(config)
    outcome = evaluation.run()
    assert outcome.exit_code == 0
    evaluation.write(outcome.solution, evaluation.summary(outcome))
    summary = json.loads((evaluation.output / "summary.json").read_text())
    with np.load(evaluation.output / "solutions.npz", allow_pickle=False) as stored:
        return summary, stored["cost"], stored["actions"]


def judge(instances: Instances, cost: np.ndarray, actions: np.ndarray) -> None:
    """Raise unless the tours are legal and as long as is said."""
    tours = torch.from_numpy(actions.astype(np.int64))[:, None]
    check_tours(instances, tours)
    assert cost == pytest.approx(tour_length(instances, tours)[:, 0].numpy(), abs=1e-12)


@pytest.mark.parametrize("file", DECODINGS, ids=lambda file: file.stem)
def test_the_written_solutions_agree_with_the_judge(evaluate_config, file):
    """With every decoding that there is."""
    section = OmegaConf.to_container(OmegaConf.load(file))
    section |= {key: value for key, value in FEW.items() if key in section}
    summary, cost, actions = results(evaluate_config(decode=section, batch_size=8))
    assert cost.dtype == np.float64
    assert actions.dtype == np.int16
    assert len(cost) == len(actions) == summary["instances"] == 20
    judge(standard_set("kool10", 20), cost, actions)


def test_the_summary_describes_the_costs(evaluate_config):
    """Mean, standard deviation over the instances, and standard error."""
    summary, cost, _ = results(evaluate_config())
    assert summary["mean_cost"] == pytest.approx(cost.mean())
    assert summary["std_cost"] == pytest.approx(np.sqrt(((cost - cost.mean()) ** 2).mean()))
    assert summary["standard_error"] == pytest.approx(summary["std_cost"] / np.sqrt(20))


def test_the_summary_holds_what_was_promised(evaluate_config, tiny_run):
    """The keys that other programs read."""
    summary, _, _ = results(evaluate_config())
    assert summary["checkpoint"] == str(tiny_run)
    assert summary["checkpoint_file"] == "best.pt"
    assert summary["data"] == "kool10"
    assert summary["decode"] == "greedy"
    assert summary["device"] == "cpu"
    assert summary["seconds"] > 0
    assert summary["versions"]["torch"] == str(torch.__version__)


def test_the_gap_is_the_ratio_of_the_means(evaluate_config):
    """Over the instances that have a reference."""
    summary, cost, _ = results(evaluate_config())
    known = reference("kool10").cost[:20]
    assert summary["mean_gap_percent"] == pytest.approx(100 * (cost.mean() / known.mean() - 1))
    assert summary["gap_instances"] == 20


def test_the_gap_counts_only_instances_with_a_reference(evaluate_config, monkeypatch):
    """Here the first 5 of 20."""
    known = reference("kool10")
    monkeypatch.setattr(
        "vrp.evaluation.fixed.reference", lambda _: replace(known, cost=known.cost[:5])
    )
    summary, cost, _ = results(evaluate_config())
    ratio = cost[:5].mean() / known.cost[:5].mean()
    assert summary["mean_gap_percent"] == pytest.approx(100 * (ratio - 1))
    assert summary["gap_instances"] == 5
    assert summary["reference"]["mean_cost"] == pytest.approx(known.cost[:5].mean())


def test_batches_do_not_change_greedy_results(evaluate_config, tmp_path):
    """The last batch may be smaller."""
    _, whole, _ = results(evaluate_config())
    _, parts, _ = results(evaluate_config(batch_size=7, output=str(tmp_path / "parts")))
    assert parts == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize(
    ("decode", "customers", "count"),
    [
        ("Greedy", 100, 250),
        ("Sgbs", 100, 250),
        ("Eas", 34, 250),
        ("Eas", 100, 31),
        ("Greedy", 500, 10),
        ("Eas", 500, 1),
    ],
)
def test_large_instances_are_solved_a_few_at_once(
    evaluate_config, tmp_path, decode, customers, count
):
    """Unless the number is given: 250 up to 100 customers, fewer where copies are kept."""
    save_npz(UniformGenerator(customers, 50)(2, torch.Generator()), tmp_path / "some.npz")
    keys = {"data": str(tmp_path / "some.npz"), "limit": None}
    keys["decode"] = {"_target_": f"vrp.search.{decode}"}
    for given, expected in ((None, count), (7, 7)):
        evaluation = make_evaluation(evaluate_config(**keys, batch_size=given))
        assert evaluation.config["batch_size"] == expected


def test_the_bound_on_memory_parts_the_instances(evaluate_config, monkeypatch, tmp_path):
    """The summary says how many are solved at once, and the tours are the same."""
    _, whole, _ = results(evaluate_config())
    sizes, solutions = [], Greedy.solutions

    def counting(search, policy, instances, generator):
        sizes.append(len(instances))
        return solutions(search, policy, instances, generator)

    monkeypatch.setattr(Greedy, "solutions", counting)
    monkeypatch.setattr(evaluate, "_PAIRS", 6 * 11**2 + 1)
    keys = {"batch_size": None, "output": str(tmp_path / "parts")}
    summary, parts, _ = results(evaluate_config(**keys))
    assert sizes == [6, 6, 6, 2]
    assert summary["batch_size"] == 6
    assert parts == pytest.approx(whole, abs=1e-12)


def test_equal_seeds_sample_equal_tours(evaluate_config):
    """And another seed samples others."""
    _, first, _ = results(evaluate_config(decode=SAMPLING, seed=3))
    _, again, _ = results(evaluate_config(decode=SAMPLING, seed=3))
    _, other, _ = results(evaluate_config(decode=SAMPLING, seed=4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_batches_are_sampled_with_different_numbers(evaluate_config, tmp_path, monkeypatch):
    """Two batches of the same instances get different tours."""
    twice = standard_set("kool10", 20)[torch.arange(20) % 10]
    monkeypatch.setattr("vrp.evaluation.fixed.standard_set", lambda _: twice)
    _, cost, _ = results(evaluate_config(decode=SAMPLING, batch_size=10))
    assert not np.array_equal(cost[:10], cost[10:])


def test_split_deliveries_have_no_gap(evaluate_config):
    """The same weights, splits allowed: legal as such, and the reference does not hold."""
    summary, cost, actions = results(evaluate_config(split_delivery=True, limit=200))
    assert summary["split_delivery"] is True
    assert summary["mean_gap_percent"] is None
    assert summary["reference"] is None
    whole = standard_set("kool10", 200)
    judge(replace(whole, split_delivery=True), cost, actions)
    with pytest.raises(ValueError, match="visited"):
        judge(whole, cost, actions)


def test_the_checkpoint_decides_on_splits_unless_told(evaluate_config, tiny_run, tiny_content):
    """Null keeps, false overrides."""
    tiny_content["config"]["problem"]["split_delivery"] = True
    save_checkpoint(tiny_run / "best.pt", tiny_content)
    assert make_evaluation(evaluate_config()).fixed.instances.split_delivery
    whole = make_evaluation(evaluate_config(split_delivery=False))
    assert not whole.fixed.instances.split_delivery


@pytest.mark.parametrize("file", DECODINGS, ids=lambda file: file.stem)
@pytest.mark.parametrize("policy", [{}, ATTENTION], ids=["pointer", "attention"])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda: standard_set("nazari50", 5), ["num_customers is 50,", "capacity is 40,"]),
        (
            lambda: ClusteredGenerator(15, 25)(30, torch.Generator().manual_seed(0)),
            ["num_customers is 15,", "capacity is 25,", "the mean distance to the nearest node is"],
        ),
        (
            lambda: UniformGenerator(3, 9)(5, torch.Generator().manual_seed(0)),
            ["num_customers is 3,", "capacity is 9,"],
        ),
    ],
    ids=["more customers", "clustered", "fewer customers"],
)
def test_what_is_outside_training_is_solved_all_the_same(
    evaluate_config, tiny_run, tiny_content, tmp_path, data, said, policy, file
):
    """A policy of 10 uniform customers on another size, capacity and distribution, in a file."""
    section = OmegaConf.to_container(OmegaConf.load(file))
    section |= {key: value for key, value in FEW.items() if key in section}
    tiny_content["config"]["policy"] |= policy
    network = build_policy(tiny_content["config"])
    network.initialise(0)
    save_checkpoint(tiny_run / "best.pt", tiny_content | {"policy": network.state_dict()})
    instances = data()
    save_npz(instances, tmp_path / "other.npz")
    summary, cost, actions = results(
        evaluate_config(
            data=str(tmp_path / "other.npz"),
            decode=section,
            limit=None,
        )
    )
    judge(instances, cost, actions)
    assert len(cost) == len(instances)
    found = summary["outside_training"]
    assert len(found) == len(said)
    assert all(text.startswith(start) for text, start in zip(found, said, strict=True))


def test_the_folder_holds_the_results_and_nothing_else(evaluate_config, tmp_path):
    """No temporary file stays, and a second time replaces the first."""
    results(evaluate_config())
    results(evaluate_config())
    found = {path.name for path in (tmp_path / "results").iterdir()}
    assert found == {"summary.json", "solutions.npz"}


def test_tours_are_drawn_where_that_is_possible(evaluate_config, tmp_path, monkeypatch):
    """A picture, although there are fewer instances than it has room for."""
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(evaluate, "can_draw", lambda: True)
    results(evaluate_config(limit=3))
    assert (tmp_path / "results" / "tours.png").read_bytes().startswith(b"\x89PNG")


def test_the_folder_is_named_after_what_was_done(evaluate_config, tmp_path, monkeypatch):
    """Checkpoint, data, decoding; and what else tells results apart."""
    monkeypatch.chdir(tmp_path)
    beam = {"_target_": "vrp.search.Beam", "width": 5}
    names = [
        make_evaluation(evaluate_config(output=None, **keys)).output.as_posix()
        for keys in (
            {"limit": None},
            {"decode": beam},
            {"decode": beam | {"time_limit": 2.0}, "limit": None, "seed": 3},
            {"split_delivery": True, "limit": None},
        )
    ]
    assert names == [
        "outputs/evaluate/tiny-run-kool10-greedy",
        "outputs/evaluate/tiny-run-kool10-beam-width-5-first20",
        "outputs/evaluate/tiny-run-kool10-beam-width-5-time_limit-2-seed3",
        "outputs/evaluate/tiny-run-kool10-greedy-split",
    ]


def test_an_interrupted_writing_leaves_no_half_file(evaluate_config, tmp_path, monkeypatch):
    """Neither a temporary file nor a new one where the old one stood."""
    results(evaluate_config())
    before = (tmp_path / "results" / "solutions.npz").read_bytes()

    def break_off(file, **_):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(evaluate.np, "savez_compressed", break_off)
    with pytest.raises(OSError, match="no space"):
        results(evaluate_config())
    assert (tmp_path / "results" / "solutions.npz").read_bytes() == before
    assert not list((tmp_path / "results").glob(".*"))


@pytest.mark.parametrize("below", ["", "/deeper", "/deeper/still"])
def test_an_output_that_cannot_be_written_is_refused_at_once(evaluate_config, tmp_path, below):
    """A file stands where the folder should be."""
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"output: .*file.* cannot be written"):
        make_evaluation(evaluate_config(output=f"{tmp_path}/file{below}"))


def test_the_summary_of_something_else_is_not_overwritten(evaluate_config, tiny_run):
    """A run folder has a summary.json of its own."""
    (tiny_run / "summary.json").write_text('{"steps": 100}')
    with pytest.raises(ValueError, match=r"holds a summary\.json of something else"):
        make_evaluation(evaluate_config(output=str(tiny_run)))


def test_more_nodes_than_int16_can_number_are_refused(evaluate_config, monkeypatch):
    """Before anything is solved."""
    monkeypatch.setattr(evaluate, "_MOST_NODES", 10)
    with pytest.raises(ValueError, match=r"kool10 has 11 nodes.*at most 10"):
        make_evaluation(evaluate_config())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_refused_where_there_is_none(evaluate_config):
    """The message says what to type."""
    with pytest.raises(ValueError, match="use device=cpu"):
        make_evaluation(evaluate_config(device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("decode", [{"_target_": "vrp.search.Greedy"}, SAMPLING])
def test_both_devices_find_the_same_tours(evaluate_config, tmp_path, decode):
    """Up to ties that rounding decides otherwise."""
    _, cpu, _ = results(evaluate_config(decode=decode, limit=200))
    _, cuda, _ = results(
        evaluate_config(decode=decode, limit=200, device="cuda", output=str(tmp_path / "cuda"))
    )
    assert (np.abs(cpu - cuda) < 1e-9).mean() > 0.95


def test_a_time_limit_is_shared_by_the_batches(evaluate_config):
    """Every batch has its part, and all instances are solved."""
    decode = {"_target_": "vrp.search.Sampling", "samples": 10**8, "time_limit": 1.0}
    evaluation = make_evaluation(evaluate_config(decode=decode, batch_size=7))
    outcome = evaluation.run()
    assert (len(outcome.solution.cost), outcome.exit_code) == (20, 0)
    assert 0.9 < outcome.seconds < 3
    assert outcome.ended == "time limit"
    assert 0 < outcome.work < 0.01


def test_a_limit_that_suffices_is_not_mentioned(evaluate_config):
    """All the work was done."""
    summary, _, _ = results(evaluate_config(decode=SAMPLING | {"time_limit": 100.0}))
    assert (summary["ended"], summary["work"]) == ("complete", 1)


def test_the_summary_holds_the_whole_decoding(evaluate_config):
    """Its class, every argument, those left out too, and what to type."""
    decode = {"_target_": "vrp.search.Augment", "symmetries": 2}
    summary, _, _ = results(evaluate_config(decode=decode))
    assert summary["decode"] == "augment(symmetries=2, multistart=false)"
    assert summary["decode_options"] == decode | {"multistart": False, "time_limit": None}
    assert summary["decode_overrides"] == [
        "decode=augment",
        "decode.symmetries=2",
        "decode.multistart=false",
    ]


def test_an_interrupted_evaluation_keeps_what_it_has(evaluate_config):
    """The batches that were begun, and the exit code says that it is not all."""
    decode = {"_target_": "vrp.search.Sampling", "samples": 10**8}
    evaluation = make_evaluation(evaluate_config(decode=decode, batch_size=7))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    outcome = evaluation.run()
    assert (len(outcome.solution.cost), outcome.exit_code) == (7, 130)
    summary = evaluation.summary(outcome)
    assert (summary["instances"], summary["asked_instances"]) == (7, 20)
    assert summary["ended"] == "SIGINT"
    assert 0 < summary["work"] < 0.01


def interrupted(config: dict) -> tuple[Path, dict]:
    """What an evaluation writes that a signal ends in its first batch: the folder, the summary."""
    evaluation = make_evaluation(config)
    outcome = replace(evaluation.run(), ended="SIGINT", work=0.5)
    summary = evaluation.summary(outcome)
    folder, written = evaluation.write(outcome.solution, summary)
    assert "summary.json" in written
    return folder, json.loads((folder / "summary.json").read_text())


def test_a_complete_result_is_not_replaced_by_a_part(evaluate_config, tmp_path):
    """What was cut short goes into a folder beside it, and is replaced there."""
    complete, _, _ = results(evaluate_config())
    for _ in range(2):
        folder, part = interrupted(evaluate_config())
        assert folder == tmp_path / "results-cut-short"
        assert part["ended"] == "SIGINT"
    assert json.loads((tmp_path / "results" / "summary.json").read_text()) == complete


def test_a_limited_result_is_not_replaced_by_an_interrupted_one(evaluate_config, tmp_path):
    """It is what was asked for; the same limit again replaces it."""
    decode = {"_target_": "vrp.search.Sampling", "samples": 10**8, "time_limit": 0.05}
    config = evaluate_config(decode=decode)
    assert results(config)[0]["ended"] == "time limit"
    assert interrupted(config)[0] == tmp_path / "results-cut-short"
    results(config)
    assert json.loads((tmp_path / "results" / "summary.json").read_text())["ended"] == "time limit"


def test_a_part_is_replaced_by_the_complete_result(evaluate_config, tmp_path):
    """In the folder where it was meant to be."""
    folder, _ = interrupted(evaluate_config())
    assert folder == tmp_path / "results"
    assert results(evaluate_config())[0]["ended"] == "complete"


def test_a_larger_result_is_not_replaced(evaluate_config, tmp_path):
    """It is refused before anything is solved."""
    results(evaluate_config())
    with pytest.raises(ValueError, match=r"results holds a result of 20 instances.* one of 19"):
        make_evaluation(evaluate_config(limit=19))
    results(evaluate_config(limit=21))


def test_a_larger_limited_result_is_not_replaced(evaluate_config):
    """One that its time limit ended is as long as it was asked to be; a part is none."""
    decode = {"_target_": "vrp.search.Sampling", "samples": 10**8, "time_limit": 0.05}
    interrupted(evaluate_config(decode=decode))
    make_evaluation(evaluate_config(decode=decode, limit=19))
    assert results(evaluate_config(decode=decode))[0]["ended"] == "time limit"
    with pytest.raises(ValueError, match=r"results holds a result of 20 instances.* one of 19"):
        make_evaluation(evaluate_config(decode=decode, limit=19))


class Failing:
    """A search that fails in its second batch."""

    def __init__(self, search, error: Exception) -> None:
        self.search, self.error, self.batches = search, error, 0

    def __getattr__(self, name: str):
        return getattr(self.search, name)

    def run(self, *args):
        """As the search, once."""
        self.batches += 1
        if self.batches > 1:
            raise self.error
        return self.search.run(*args)


NO_MEMORY = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NO_MEMORY, "the memory of cpu is too small for batch_size=7"),
        (torch.OutOfMemoryError("CUDA"), "the memory of cpu is too small for batch_size=7"),
        (RuntimeError("a tour is\nnot closed"), "a tour is not closed"),
    ],
)
def test_an_error_keeps_the_batches_before(evaluate_config, error, said):
    """The exit code is that of a failure, and the summary says what it was."""
    evaluation = make_evaluation(evaluate_config(batch_size=7))
    outcome = replace(evaluation, search=Failing(evaluation.search, error)).run()
    assert (len(outcome.solution.cost), outcome.exit_code) == (7, 1)
    assert outcome.ended.startswith(said)
    assert outcome.work == 7 / 20


def test_an_error_in_the_first_batch_is_raised(evaluate_config):
    """There is nothing to keep; too little memory is said in our words."""
    evaluation = make_evaluation(evaluate_config(batch_size=7))
    search = Failing(evaluation.search, NO_MEMORY)
    search.batches = 1
    with pytest.raises(ValueError, match="the memory of cpu is too small for batch_size=7"):
        replace(evaluation, search=search).run()


@pytest.mark.parametrize(
    ("decode", "products", "said"),
    [
        ({"_target_": "vrp.search.Greedy"}, torch.float32, "finds the same tours"),
        ({"_target_": "vrp.search.Greedy"}, torch.bfloat16, "finds other tours of a few instances"),
        (SAMPLING, torch.float32, "draws other random numbers"),
    ],
)
def test_what_a_lower_batch_size_changes_is_said(evaluate_config, decode, products, said):
    """Nothing but rounding, a few tours where products are bfloat16, or the samples."""
    evaluation = make_evaluation(evaluate_config(decode=decode))
    evaluation.trained.policy.products = lambda _: products
    search = Failing(evaluation.search, NO_MEMORY)
    search.batches = 1
    with pytest.raises(ValueError, match=f"a lower one {said}"):
        replace(evaluation, search=search).run()


def test_the_bar_moves_within_a_batch(evaluate_config, monkeypatch):
    """By the share of the work, with the best cost so far."""
    seen = []

    class Bar:
        n = 0.0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def set_postfix(self, cost, refresh):
            self.cost = float(cost)

        def update(self, more):
            self.n += more
            seen.append((self.n, self.cost))

    monkeypatch.setattr(evaluate.Evaluation, "_bar", lambda _: Bar())
    decode = {"_target_": "vrp.search.Sampling", "samples": 64}
    outcome = make_evaluation(evaluate_config(decode=decode, batch_size=10)).run()
    assert [n for n, _ in seen] == [2.5, 5, 7.5, 10, 12.5, 15, 17.5, 20]
    costs = [cost for _, cost in seen]
    assert costs[:4] == sorted(costs[:4], reverse=True)
    assert costs[-1] == pytest.approx(float(outcome.solution.cost.mean()), abs=1e-4)


def test_an_argument_out_of_range_is_named_as_typed(evaluate_config):
    """With its section."""
    with pytest.raises(ValueError, match=r"^decode\.width is 0; it must be at least 1"):
        make_evaluation(evaluate_config(decode={"_target_": "vrp.search.Beam", "width": 0}))


@pytest.mark.parametrize("file", DECODINGS, ids=lambda file: file.stem)
def test_the_files_give_the_classes_defaults(file):
    """So what is left out of a command is what its class would take."""
    section = OmegaConf.to_container(OmegaConf.load(file))
    search = build_search(section)
    given = {f"decode.{key}" for key, value in section.items() if value is not None}
    assert search.name == file.stem
    assert {text.partition("=")[0] for text in search.overrides()} - given <= {"decode"}
    needed = {"beam": ["decode.width=10"], "sampling": ["decode.samples=128"]}
    assert search.overrides()[1:] == needed.get(file.stem, [])
