"""runs.csv and curves.csv: what is written comes back, and what is wrong is named."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import curve, lost, run

from vrp.study.records import (
    CurvePoint,
    Run,
    read_curves,
    read_runs,
    write_curves,
    write_runs,
)

RUN = run("linear", 0, 4.8213456789012345)
COLUMNS = [field.name for field in fields(Run)]


@pytest.fixture
def runs_file(tmp_path):
    """Two lines: linear with seed 0 and with seed 1."""
    write_runs(tmp_path / "runs.csv", [RUN, run("linear", 1, 4.83)])
    return tmp_path / "runs.csv"


@pytest.fixture
def curves_file(tmp_path):
    """The curve of linear with seed 0."""
    write_curves(tmp_path / "curves.csv", curve(RUN, points=3), [RUN])
    return tmp_path / "curves.csv"


def put(path, line: int, column: str, value: str, kind: type = Run) -> None:
    """Write a value into a line of a file without commas in its fields, the first line being 1."""
    lines = path.read_text().split("\n")
    cells = lines[line - 1].split(",")
    cells[[field.name for field in fields(kind)].index(column)] = value
    lines[line - 1] = ",".join(cells)
    path.write_text("\n".join(lines))


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
positive = st.floats(1e-300, 1e300)
counts = st.integers(1, 10**12)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(texts, texts, positive, positive, st.floats(-1e9, 1e9), counts, st.booleans())
def test_runs_come_back_exactly(tmp_path, error, variant, cost, seconds, gap, count, split):
    """Any text, any number: the same record, and the same bytes when written again."""
    made = [
        replace(RUN, variant=variant, cost=cost, seconds=seconds, gap=gap, parameters=count),
        replace(lost(run("conv1d", 1, 5), "failed", error), split_delivery=split),
        lost(run("embedding", 2, 5), "missing"),
    ]
    path = tmp_path / "runs.csv"
    write_runs(path, made)
    assert read_runs(path) == made
    before = path.read_bytes()
    write_runs(path, read_runs(path))
    assert path.read_bytes() == before


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(st.lists(st.tuples(positive, st.none() | positive), max_size=5))
def test_curves_come_back_exactly(tmp_path, values):
    """The same points, also none; the run went on after them."""
    stopped = lost(RUN, "stopped")
    made = [
        CurvePoint(RUN.sweep, RUN.run, i, seconds, seconds / 2, cost, cost, cost)
        for i, (seconds, cost) in enumerate(values)
    ]
    path = tmp_path / "curves.csv"
    write_curves(path, made, [stopped])
    assert read_curves(path, [stopped]) == made


def test_a_run_may_be_tested_twice(tmp_path):
    """On two sets: two lines of the same run."""
    made = [RUN, replace(RUN, test_set="clustered10", cost=3.9)]
    write_runs(tmp_path / "runs.csv", made)
    assert read_runs(tmp_path / "runs.csv") == made


@pytest.mark.parametrize(
    ("column", "value", "allowed"),
    [
        ("status", "done", "finished, stopped, failed, missing"),
        ("encoder", "conv", "conv1d, linear, embedding"),
        ("split_delivery", "no", "true, false"),
        ("seed", "1.5", "a whole number"),
        ("seed", "1_0", "a whole number"),
        ("seed", "-1", "at least 0"),
        ("cost", "long", "a number or nothing"),
        ("cost", "nan", "finite"),
        ("cost", "0", "above 0"),
        ("budget", "", "a whole number"),
        ("learning_rate", "inf", "finite"),
        ("problem", "", "a name is needed"),
        ("parameters", "", "a finished run fills it"),
        ("test_set", "", "a tested run fills"),
        ("reference_instances", "", "go together"),
    ],
)
def test_a_bad_value_is_named(runs_file, column, value, allowed):
    """File, line, column, value, and what is allowed."""
    put(runs_file, 3, column, value)
    with pytest.raises(ValueError) as caught:
        read_runs(runs_file)
    message = str(caught.value)
    assert message.startswith(f"{runs_file}, line 3: {column} ")
    assert allowed in message
    if value not in ("", "0"):
        assert value in message


@pytest.mark.parametrize(
    ("status", "column"), [("failed", "cost"), ("missing", "instances"), ("missing", "val_cost")]
)
def test_what_was_not_run_was_not_measured(status, column):
    """A result of a failed run is an error."""
    value = getattr(RUN, column)
    with pytest.raises(ValueError, match=f"{column} is {value}.*status is {status}"):
        replace(lost(RUN, status), **{column: value})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        (",".join(COLUMNS) + "\n", "no run below the columns"),
        ("sweep,run\na,b\n", "missing: status.*must be sweep,run,status"),
        (",".join([*COLUMNS, "mood"]) + "\n", "unknown: 'mood'"),
        (",".join(reversed(COLUMNS)) + "\n", "their order differs"),
        (",".join(COLUMNS) + "\na,b\n", "line 2: 2 columns; there must be 37"),
    ],
    ids=["empty", "no runs", "few columns", "more columns", "other order", "short line"],
)
def test_a_file_of_another_shape_is_refused(tmp_path, content, said):
    """With the file's name and what it should be."""
    path = tmp_path / "runs.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_runs(path)
    assert str(path) in str(caught.value)


def test_a_file_cut_anywhere_is_refused(runs_file):
    """Wherever a copy stopped, unless a whole line is gone, which nothing can tell."""
    whole = runs_file.read_bytes()
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        if whole[:length].endswith(b"\n") and whole[:length].count(b"\n") > 1:
            continue
        runs_file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"runs\.csv"):
            read_runs(runs_file)


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b'"a\n'], ids=["no text", "open quote"])
def test_what_is_no_csv_is_refused(tmp_path, content):
    """With the file's name."""
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"runs\.csv.*csv"):
        read_runs(path)


def test_the_same_test_twice_is_refused(runs_file):
    """Two lines of one run, test set and decoding."""
    lines = runs_file.read_text().splitlines(keepends=True)
    runs_file.write_text("".join([*lines, lines[1]]))
    with pytest.raises(ValueError, match=r"line 4: run is 'vrp10-linear-s0'.*second time"):
        read_runs(runs_file)


def test_lines_of_a_run_must_agree(tmp_path):
    """One run has one budget."""
    other = replace(RUN, test_set="clustered10", budget=7)
    with pytest.raises(ValueError, match=r"budget of run .* is 7, but 400000 in another line"):
        write_runs(tmp_path / "runs.csv", [RUN, other])
    assert not (tmp_path / "runs.csv").exists()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("run", "another", "no such run"),
        ("instances", "400000", "the point before it"),
        ("val_gap", "x", "a number or nothing"),
        ("seconds", "-1", "at least 0"),
    ],
)
def test_a_bad_point_is_named(curves_file, column, value, said):
    """A point of no run, twice the same instances, or no number."""
    line = 4 if column == "instances" else 3
    put(curves_file, line - (column == "instances"), column, value, CurvePoint)
    with pytest.raises(ValueError, match=said) as caught:
        read_curves(curves_file, [RUN])
    assert f"{curves_file}, line {line}: {column} is" in str(caught.value)


def test_nothing_is_written_without_runs(tmp_path):
    """An empty study is an error."""
    with pytest.raises(ValueError, match="no run to write"):
        write_runs(tmp_path / "runs.csv", [])
