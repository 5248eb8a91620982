"""What an evaluation prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrp.evaluation.following import Following
from vrp.evaluation.printed import report

NEXT = Following("python scripts/evaluate.py checkpoint=x", 60)
KNOWN = {"solver": "PyVRP 0.14", "time_limit": 0.25, "mean_cost": 6.1, "check": None}


@pytest.fixture
def printed():
    """The report, some values of its summary changed."""

    def with_values(after=NEXT, **values):
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
            "ended": "complete",
            "work": 1.0,
            "asked_instances": 10_000,
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
        return report(summary | values, Path("results"), ["summary.json"], after)

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
    assert printed().splitlines()[-1] == "next:         python scripts/evaluate.py checkpoint=x"


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


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"ended": "SIGINT"},
            "stopped:      by Ctrl-C, with 12.3 % of the work done: 500 ",
        ),
        ({"ended": "SIGTERM"}, "stopped:      by SIGTERM, with"),
        ({"ended": "time limit"}, "stopped:      at the time limit, with 12.3 % of the work done"),
        ({"ended": "no more"}, "stopped:      by an error: no more, with 12.3 %"),
        ({"ended": "SIGINT", "asked_instances": 800}, "500 instances of 800 that were asked for"),
    ],
)
def test_what_was_cut_short_is_said_to_be(printed, values, said):
    """Why, and how far it came; else there is no such line."""
    assert "stopped:" not in printed()
    assert said in printed(work=0.1234, instances=500, **({"asked_instances": 500} | values))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "a second"), (80, "80 seconds"), (600, "10 minutes"), (30_000, "8 hours")],
)
def test_the_time_of_the_next_command_is_printed(printed, seconds, said):
    """In rough words."""
    text = printed(after=Following("python scripts/evaluate.py", seconds))
    assert f"next takes:   about {said}, a rough guess" in text
    assert "next takes" not in printed(after=Following("python scripts/evaluate.py", None))


@pytest.mark.parametrize(
    ("seconds", "said"), [(1.0, "500"), (50.0, "10"), (125.0, "4"), (2000.0, "0.25")]
)
def test_slow_searches_have_a_rate_too(printed, seconds, said):
    """Of 500 instances; below ten per second two digits count."""
    text = printed(instances=500, asked_instances=500, seconds=seconds)
    assert f"{seconds:.2f} s on cpu, {said} instances/s" in text
