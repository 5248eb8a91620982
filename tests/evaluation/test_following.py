"""What is proposed after an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vrp.evaluation.following import following
from vrp.search import Augment, Beam, Eas, Greedy, Multistart, Sampling, Sgbs
from vrp.training.build import build_search

DECODINGS = sorted((Path(__file__).resolve().parents[2] / "configs" / "decode").glob("*.yaml"))
SEARCHES = [build_search(OmegaConf.to_container(OmegaConf.load(file))) for file in DECODINGS]
every_search = pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.name)
DONE = {
    "ended": "complete",
    "work": 1.0,
    "asked_instances": 10_000,
    "set_instances": 10_000,
    "num_customers": 20,
    "seconds": 20.0,
}


@pytest.fixture
def proposed(evaluate_config):
    """The command after `python scripts/evaluate.py checkpoint=c data=kool10`, and its seconds."""

    def after(search, config=None, starts_anywhere=False, typed=(), **values):
        assert values.keys() <= DONE.keys()
        keys = {"checkpoint": "c"} | (config or {})
        found = following(DONE | values, search, evaluate_config(**keys), starts_anywhere, typed)
        start = "python scripts/evaluate.py checkpoint=c data=kool10"
        assert found.command.startswith(start)
        return found.command.removeprefix(start).strip(), found.seconds

    return after


@every_search
def test_the_whole_set_comes_after_a_part(proposed, search):
    """With the same decoding, in time that grows with the instances."""
    text, seconds = proposed(search, asked_instances=1000)
    assert text == " ".join(search.overrides())
    assert seconds == pytest.approx(200)


def test_a_time_limit_grows_with_the_instances(proposed):
    """Else ten thousand would have the seconds of ten."""
    search = Sampling(10**8, time_limit=2.0)
    text, seconds = proposed(search, asked_instances=10, work=1e-6, ended="time limit")
    assert text == "decode=sampling decode.samples=100000000 decode.time_limit=2000"
    assert seconds == 2000
    tiny = proposed(Sampling(64, time_limit=1e-9), asked_instances=10, work=0, ended="time limit")
    assert tiny == ("decode=sampling decode.samples=64 decode.time_limit=1", 1)


def test_a_few_instances_give_no_guess(proposed):
    """Most of what they took they have in common: thousands do not take as many times as long."""
    assert proposed(Augment(), asked_instances=49)[1] is None
    assert proposed(Augment(), asked_instances=100, work=0.4, ended="SIGINT")[1] is None
    assert proposed(Augment(), asked_instances=50)[1] == pytest.approx(20.0 * 200)


@pytest.mark.parametrize(
    ("search", "starts_anywhere", "expected"),
    [
        (Greedy(), False, "decode=beam decode.width=10"),
        (Greedy(), True, "decode=multistart"),
        (Beam(5), True, "decode=augment"),
        (Sampling(128), False, "decode=augment"),
        (Multistart(), True, "decode=augment"),
        (Augment(), True, "decode=sgbs"),
        (Sgbs(), True, "decode=eas"),
        (Eas(), True, "decode=eas decode.iterations=400"),
        (Eas(1000, 0.01), True, "decode=eas decode.iterations=2000 decode.learning_rate=0.01"),
    ],
    ids=str,
)
def test_a_better_decoding_comes_after_a_whole_set(proposed, search, starts_anywhere, expected):
    """One for the policy at hand, and never the same again."""
    assert proposed(search, starts_anywhere=starts_anywhere)[0] == expected


@pytest.mark.parametrize("starts_anywhere", [False, True])
def test_what_is_better_takes_longer(proposed, starts_anywhere):
    """EAS after SGBS, SGBS after the symmetries; twice the iterations take twice the time."""
    for search in (Greedy(), Multistart(), Augment(), Sgbs()):
        assert proposed(search, starts_anywhere=starts_anywhere)[1] > 20
    assert proposed(Eas(), starts_anywhere=starts_anywhere)[1] == pytest.approx(40, rel=0.02)


def test_a_search_that_its_limit_ended_is_proposed_without(proposed):
    """What it then takes follows from the work that was done."""
    text, seconds = proposed(Eas(time_limit=20.0), ended="time limit", work=0.01)
    assert text == "decode=eas"
    assert seconds == pytest.approx(2000)


@pytest.mark.parametrize("ended", ["SIGINT", "SIGTERM", "RuntimeError: no"])
def test_what_was_interrupted_is_proposed_again(proposed, ended):
    """With its limit."""
    text, seconds = proposed(Beam(5), ended=ended, work=0.5)
    assert (text, seconds) == ("decode=beam decode.width=5", pytest.approx(40))
    assert proposed(Beam(5), ended=ended, asked_instances=100)[0].startswith("limit=100 ")


def test_a_smaller_batch_follows_too_little_memory(proposed):
    """A quarter."""
    ended = "the memory of cpu is too small for batch_size=250; ..."
    text, _ = proposed(Eas(), {"batch_size": 250}, ended=ended, work=0.5)
    assert text == "batch_size=62 decode=eas"


def test_keys_that_the_result_needs_are_repeated(proposed, evaluate_config):
    """Those that were typed, and those that have a value only if somebody gave it."""
    config = {
        "data": "kool10",
        "capacity": 20,
        "split_delivery": True,
        "batch_size": 50,
        "device": "cpu",
        "seed": 3,
        "threads": 1,
        "compile": "off",
    }
    typed = ["checkpoint", "batch_size", "device", "seed", "threads", "compile", "output", "limit"]
    text, _ = proposed(Greedy(), config, typed=typed)
    assert text == (
        "seed=3 device=cpu threads=1 compile=off batch_size=50 capacity=20 split_delivery=true "
        "decode=beam decode.width=10"
    )
    assert proposed(Greedy(), config)[0].startswith("capacity=20 split_delivery=true decode=")


def test_a_name_with_a_blank_is_quoted(evaluate_config):
    """For the shell and for Hydra."""
    config = evaluate_config(checkpoint="my run", data="a.pt")
    found = following(DONE, Greedy(), config, False, ())
    assert found.command == (
        "python scripts/evaluate.py \"checkpoint='my run'\" data=a.pt decode=beam decode.width=10"
    )
