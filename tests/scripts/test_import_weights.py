"""Published weights become a checkpoint that can be measured."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "policy"))

from published_networks import kool_state, notebook_state, pomo_state
from test_attention import HEADS, make_policy

from scripts.import_weights import main
from vrp.evaluation.fixed import outside_training
from vrp.evaluation.trained import load_trained
from vrp.problem.datasets import standard_set
from vrp.training.checkpoint import save_checkpoint


@pytest.mark.parametrize(
    ("variant", "published", "place"),
    [
        ("kool", kool_state, "model"),
        ("pomo", pomo_state, "model_state_dict"),
        ("pomo, notebooks", notebook_state, None),
    ],
)
def test_a_checkpoint_is_written(tmp_path, capsys, variant, published, place):
    """It holds the weights, and the printed command names it."""
    policy = make_policy(variant)
    state = {k: v.detach().clone() for k, v in published(policy).items()}
    torch.save({place: state} if place else state, tmp_path / "them.pt")
    arguments = [str(tmp_path / "them.pt"), "theirs", "-C", "20", "--heads", str(HEADS)]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    trained = load_trained("theirs", tmp_path / "theirs" / "model.pt")
    assert (trained.problem["num_customers"], trained.problem["capacity"]) == (20, 30)
    assert trained.policy.num_heads == HEADS
    assert trained.policy.starts_anywhere == (variant != "kool")  # a fact of their training
    for name, value in policy.state_dict().items():
        assert torch.equal(value, trained.policy.state_dict()[name])
    assert f"checkpoint={tmp_path / 'theirs'} data=kool20" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sizes", "data"),
    [
        (["-C", "30", "--capacity", "40"], "FILE"),
        (["-C", "20", "--capacity", "40"], "FILE"),
        (["-C", "50", "--capacity", "40"], "kool50"),
    ],
)
def test_the_command_names_a_set_that_exists(tmp_path, capsys, sizes, data):
    """Only where there is a standard set of that size and that vehicle."""
    torch.save({k: v.detach().clone() for k, v in pomo_state(make_policy()).items()},
               tmp_path / "them.pt")  # fmt: skip
    arguments = [str(tmp_path / "them.pt"), "theirs", *sizes, "--heads", str(HEADS)]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    assert f" data={data} " in capsys.readouterr().out


def test_split_deliveries_are_foreign_to_it(tmp_path):
    """Said where it is measured on them, as of a policy that was trained here."""
    torch.save({k: v.detach().clone() for k, v in pomo_state(make_policy()).items()},
               tmp_path / "them.pt")  # fmt: skip
    arguments = [str(tmp_path / "them.pt"), "theirs", "-C", "20", "--heads", str(HEADS)]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    problem = load_trained("theirs", tmp_path / "theirs" / "model.pt").problem
    whole = standard_set("kool20")[:30]
    assert outside_training(problem, whole) == []
    found = outside_training(problem, replace(whole, split_delivery=True))
    assert found == ["split_delivery is true, in training false"]


def test_no_checkpoint_is_overwritten(tmp_path, capsys):
    """The one that stands there stays as it is."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "model.pt").write_text("mine")
    assert main(["none.pt", "theirs", "-C", "20", "--output", str(tmp_path)]) == 2
    assert "model.pt exists" in capsys.readouterr().err
    assert (tmp_path / "theirs" / "model.pt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.pt", "x", "-C", "20"], "no file at none.pt"),
        (["them.pt", "x", "-C", "30"], "give --capacity"),
        (["them.pt", "x", "-C", "20"], "they begin with a, the layouts known are kool ("),
        (["ours.pt", "x", "-C", "20"], "is a checkpoint of this project already"),
    ],
)
def test_what_cannot_be_imported(tmp_path, monkeypatch, capsys, arguments, message):
    """One line on stderr, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"a": torch.zeros(1)}}, "them.pt")
    save_checkpoint(Path("ours.pt"), {"config": {}})
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()
