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
from vrp.problem.datasets import reference, standard_set
from vrp.problem.tours import check_tours, tour_length
from vrp.training.checkpoint import save_checkpoint

DECODINGS = sorted((Path(__file__).resolve().parents[2] / "configs" / "decode").glob("*.yaml"))
FEW = {"samples": 3, "width": 3, "time_limit": 0.1}  # what makes a search slow
SAMPLING = {"_target_": "vrp.search.Sampling", "samples": 2, "temperature": 1.0}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing takes most of the time; one test asks for it."""
    monkeypatch.setattr(evaluate, "can_draw", lambda: False)


def results(config: dict) -> tuple[dict, np.ndarray, np.ndarray]:
    """Run and read what was written: the summary, the costs, the actions."""
    evaluation = make_evaluation(config)
    solution, seconds, code = evaluation.run()
    assert code == 0
    evaluation.write(solution, evaluation.summary(solution, seconds))
    summary = json.loads((evaluation.output / "summary.json").read_text())
    with np.load(evaluation.output / "solutions.npz", allow_pickle=False) as stored:
        return summary, stored["cost"], stored["actions"]


def judge(name: str, cost: np.ndarray, actions: np.ndarray, split: bool = False) -> None:
    """Raise unless the tours are legal and as long as is said."""
    instances = replace(standard_set(name, len(cost)), split_delivery=split)
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
    judge("kool10", cost, actions)


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
    judge("kool10", cost, actions, split=True)
    with pytest.raises(ValueError, match="visited"):
        judge("kool10", cost, actions, split=False)


def test_the_checkpoint_decides_on_splits_unless_told(evaluate_config, tiny_run, tiny_content):
    """Null keeps, false overrides."""
    tiny_content["config"]["problem"]["split_delivery"] = True
    save_checkpoint(tiny_run / "best.pt", tiny_content)
    assert make_evaluation(evaluate_config()).fixed.instances.split_delivery
    whole = make_evaluation(evaluate_config(split_delivery=False))
    assert not whole.fixed.instances.split_delivery


def test_another_size_is_solved_all_the_same(evaluate_config):
    """A policy of 10 customers on 50 with another capacity."""
    summary, cost, actions = results(evaluate_config(data="nazari50", limit=5))
    judge("nazari50", cost, actions)
    assert summary["outside_training"] == [
        "num_customers is 50, in training 10",
        "capacity is 40, in training 20",
    ]


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
        for keys in ({"limit": None}, {"decode": beam}, {"split_delivery": True, "limit": None})
    ]
    assert names == [
        "outputs/evaluate/tiny-run-kool10-greedy",
        "outputs/evaluate/tiny-run-kool10-beam-width-5-first20",
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
    solution, seconds, code = evaluation.run()
    assert (len(solution.cost), code) == (20, 0)
    assert 0.9 < seconds < 3


def test_an_interrupted_evaluation_keeps_what_it_has(evaluate_config):
    """The batches that were begun, and the exit code says that it is not all."""
    decode = {"_target_": "vrp.search.Sampling", "samples": 10**8}
    evaluation = make_evaluation(evaluate_config(decode=decode, batch_size=7))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    solution, _, code = evaluation.run()
    assert (len(solution.cost), code) == (7, 130)
    summary = evaluation.summary(solution, 0.3)
    assert summary["instances"] == 7
