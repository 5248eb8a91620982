"""What an evaluation prints."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vrp.evaluation.printed import next_command, report

DECODINGS = sorted((Path(__file__).resolve().parents[2] / "configs" / "decode").glob("*.yaml"))
GREEDY = {"_target_": "vrp.search.Greedy"}
KNOWN = {"solver": "PyVRP 0.14", "time_limit": 0.25, "mean_cost": 6.1, "check": None}


@pytest.fixture
def printed(evaluate_config):
    """The report, some values of its summary changed."""

    def with_values(config=None, **values):
        summary = {
            "checkpoint": "runs/mine",
            "checkpoint_file": "best.pt",
            "trained_instances": 1_000_000,
            "data": "kool20",
            "standard_set": "kool20",
            "set_instances": 10_000,
            "num_customers": 20,
            "capacity": 30,
            "outside_training": [],
            "split_delivery": False,
            "decode": "greedy",
            "instances": 10_000,
            "mean_cost": 6.4,
            "std_cost": 0.9,
            "standard_error": 0.009,
            "mean_gap_percent": 4.918,
            "gap_instances": 1000,
            "reference": KNOWN,
            "seconds": 20.0,
            "device": "cpu",
        }
        assert values.keys() <= summary.keys()
        config = config or evaluate_config(data="kool20")
        return report(summary | values, config, Path("results"), ["summary.json"])

    return with_values


def test_the_report_says_what_was_measured(printed):
    """Checkpoint, set, decoding, number, mean, standard error, speed, files."""
    text = printed()
    for part in (
        "runs/mine, best.pt of it, after 1,000,000 training instances",
        "kool20, 20 customers, capacity 30, all 10,000 instances",
        "greedy, whole deliveries",
        "6.4000 ± 0.0090 standard error over 10,000 instances",
        "20.00 s on cpu, 500 instances/s",
        "results: summary.json",
    ):
        assert part in text


def test_the_last_line_is_the_next_command(printed):
    """And it can be copied."""
    assert printed().splitlines()[-1].startswith("next:         python scripts/evaluate.py check")


def test_the_gap_names_its_reference(printed):
    """Solver, its time, and over how many instances."""
    gap = "4.92 % over the first 1,000 instances, to the 6.1000 of PyVRP 0.14 with 0.25 s each"
    assert gap in printed()


def test_the_gap_says_how_good_the_reference_is(printed):
    """What more time would have gained."""
    check = {"time_limit": 2.5, "mean_improvement_percent": 0.01, "instances": 40}
    text = printed(reference=KNOWN | {"check": check})
    assert "(with 2.5 s: 0.010 % shorter, tried on 40)" in text


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"split_delivery": True}, "none: the reference does not split"),
        ({"data": "x.npz", "standard_set": None}, "none: there are no reference costs of x.npz"),
    ],
)
def test_a_missing_gap_has_a_reason(printed, values, reason):
    """Instead of a number."""
    assert reason in printed(reference=None, mean_gap_percent=None, **values)


def test_numbers_on_the_same_instances_come_first(printed):
    """AM on Kool's set above the line, Nazari's own instances below."""
    text = printed()
    same, other = text.index("on these instances, all 10,000"), text.index("on other instances")
    assert same < text.index("AM greedy ") < other < text.index("RL greedy ")
    assert "6.40  ours   +0.0 %  AM greedy" in text


@pytest.mark.parametrize("name", ["kool20-val", "nazari20", None])
def test_all_numbers_are_marked_on_another_set(printed, name):
    """Nobody published on it."""
    text = printed(standard_set=name, reference=None, mean_gap_percent=None)
    assert "on these instances" not in text
    assert "on other instances" in text


def test_a_part_of_the_set_is_said_to_be_one(printed):
    """The published numbers are on all."""
    text = printed(instances=100)
    assert "the first 100 of 10,000 instances" in text
    assert "all 10,000 of them, ours on the first 100" in text


def test_split_rows_are_compared_with_split_rows(printed):
    """Nazari's 6.51, not his 6.59."""
    text = printed(split_delivery=True, reference=None, mean_gap_percent=None)
    assert "    6.51  " in text
    assert "    6.59  " not in text


@pytest.mark.parametrize("values", [{"num_customers": 30}, {"capacity": 40}, {"capacity": None}])
def test_an_unusual_problem_has_no_published_numbers(printed, values):
    """Another size or capacity."""
    assert "published:    none known for" in printed(**values)


def test_instances_unlike_training_are_marked(printed):
    """In a line of its own, which is else not there."""
    assert "caution" not in printed()
    text = printed(outside_training=["capacity is 30, in training 20"])
    assert "outside the training distribution: capacity is 30, in training 20" in text


@pytest.mark.parametrize("file", DECODINGS, ids=lambda file: file.stem)
def test_the_whole_set_is_suggested_after_a_part(evaluate_config, file):
    """With the same decoding, under the name that it is typed with."""
    section = OmegaConf.to_container(OmegaConf.load(file))
    text = next_command(evaluate_config(decode=section), is_part=True)
    assert f" decode={file.stem}" in text
    for key in section.keys() - {"_target_"}:
        assert (f" decode.{key}={section[key]}" in text) == (section[key] is not None)
    assert "limit" not in text


@pytest.mark.parametrize("file", DECODINGS, ids=lambda file: file.stem)
def test_a_better_decoding_is_suggested_after_a_whole_set(evaluate_config, file):
    """One that exists and is another, or more of the last."""
    section = OmegaConf.to_container(OmegaConf.load(file))
    text = next_command(evaluate_config(decode=section), is_part=False)
    suggested = text.partition(" decode=")[2].split()
    assert suggested[0] in {other.stem for other in DECODINGS}
    assert suggested != [file.stem]


def test_beam_search_comes_after_greedy(evaluate_config):
    """On the same set."""
    assert next_command(evaluate_config(), is_part=False).endswith("data=kool10 decode=beam")


def test_keys_that_the_result_needs_are_repeated(evaluate_config):
    """And a name with a blank is quoted for the shell and for Hydra."""
    config = evaluate_config(
        checkpoint="my run", data="a.pt", capacity=20, split_delivery=True, decode=GREEDY
    )
    assert next_command(config, is_part=False) == (
        "python scripts/evaluate.py \"checkpoint='my run'\" data=a.pt capacity=20 "
        "split_delivery=true decode=beam"
    )
