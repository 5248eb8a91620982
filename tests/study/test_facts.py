"""The layer facts: each claim of the list is there, and its verdict follows the measurement."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts.layer_facts import main  # noqa: E402
from scripts.study_configs import CASES, encoder_configs  # noqa: E402
from vrp.policy.encoders import LinearEncoder  # noqa: E402
from vrp.study.facts import (  # noqa: E402
    SUBJECTS,
    Budget,
    axes,
    chosen,
    detaching,
    embedding,
    equality,
    initialisation,
    locality,
    lstm,
    many_steps,
    markdown,
    memory,
    normalisation,
    one_step,
    products,
    shapes,
    speed,
    weights,
)
from vrp.study.facts.divergence import Divergence, powers  # noqa: E402
from vrp.study.facts.record import DEPENDS, FALSE, FULL, TRUE, Fact, error_of, verdict  # noqa: E402
from vrp.study.facts.subjects import CONTROLS  # noqa: E402
from vrp.study.steps import StepTime  # noqa: E402

README = ROOT / "README.md"
STORED = ROOT / "checkpoints" / "encoder-study" / "layer-facts.md"
TINY = Budget(
    seeds=20, steps=20, policy_steps=2, twins=1, policy_twins=1, seconds=0.001, timed_steps=1,
    step_configs=encoder_configs(CASES["vrp10"]),
)  # fmt: skip

# What the study's list of claims asks for, and the rows that answer.
LISTED = {
    "parameter counts and shapes": ["parameters", "weight shapes"],
    "default initialisation": ["default start", "Glorot"],
    "outputs and gradients": ["equal outputs", "equal gradients"],
    "one-step Adam": ["Adam 1e-6", "Adam 1e-7", "Adam in float64", "Adam near zero"],
    "input @ weight.T + bias": ["matmul and Linear", "matmul and element-wise", "mm and matmul"],
    "axis order": ["axis order", "transpose", "permute", "view", "reshape"],
    "non-contiguous": ["view of non-contiguous", "reshape"],
    "one-hot": ["one-hot equality"],
    "Embedding's options": [
        "Embedding out of range",
        "padding_idx",
        "max_norm",
        "norm_type",
        "scale_grad_by_freq",
        "from_pretrained",
        "Embedding by hand",
    ],
    "LSTM": ["LSTM weights", "LSTM states", "LSTM gates"],
    "detach": ["detach of the baseline", "detach", "detach_"],
    "cross-correlation": ["cross-correlation 1", "cross-correlation 3"],
    "after many steps": ["many steps, weights", "many steps, cost", "many steps, rounding alone"],
    "Linear's hand-set weight": ["Parameter", "weight (3, 5)"],
    "seed 7": ["features and weights"],
    "convolutions": ["Conv1d shape", "Conv2d shapes", "Conv2d 1x1", "output size"],
    "memory": ["data_ptr", "storage id", "resize_"],
    "numpy.transpose and -1": ["numpy.transpose", "reshape -1"],
    "normalisation": ["normalisation"],
    "speed": [
        "speed, tutorial's case",
        "speed, forward",
        "speed, backward",
        "speed, training step",
    ],
}

# Rows whose outcome no clock and no library version should change.
EXPECTED = {
    "parameters": TRUE,
    "Conv1d shape": TRUE,
    "output size": DEPENDS,
    "default start": FALSE,
    "equal outputs": TRUE,
    "equal gradients": TRUE,
    "cross-correlation 1": FALSE,
    "cross-correlation 3": TRUE,
    "features and weights": FALSE,
    "axis order": FALSE,
    "permute": FALSE,
    "view": FALSE,
    "one-hot equality": TRUE,
    "padding_idx": DEPENDS,
    "max_norm": FALSE,
    "from_pretrained": DEPENDS,
    "weight (3, 5)": FALSE,
    "LSTM weights": FALSE,
    "LSTM gates": TRUE,
    "detach of the baseline": TRUE,
    "Adam 1e-6": TRUE,
    "Adam in float64": FALSE,
    "Adam and signs": FALSE,
    "weight shapes": TRUE,
    "Conv2d shapes": TRUE,
    "Conv2d 1x1": TRUE,
    "Glorot": FALSE,
    "matmul and Linear": TRUE,
    "matmul and element-wise": FALSE,
    "mm and matmul": DEPENDS,
    "transpose": TRUE,
    "view of non-contiguous": DEPENDS,
    "reshape": TRUE,
    "reshape -1": DEPENDS,
    "numpy.transpose": TRUE,
    "data_ptr": TRUE,
    "storage id": FALSE,
    "Parameter": FALSE,
    "Embedding out of range": TRUE,
    "norm_type": DEPENDS,
    "scale_grad_by_freq": TRUE,
    "Embedding by hand": DEPENDS,
    "LSTM states": FALSE,
    "LSTM gate order": FALSE,
    "detach": FALSE,
    "detach_": DEPENDS,
    "normalisation": DEPENDS,
    "normalisation in training": DEPENDS,
}


@pytest.fixture(scope="module")
def facts() -> dict[str, Fact]:
    """All rows, on the smallest budget."""
    return {name: check(TINY) for name, check in chosen("").items()}


def test_every_listed_claim_has_a_row(facts):
    """And each row carries the name it is found by, a verdict, and all texts."""
    assert sum(len(checks) for checks in SUBJECTS.values()) == len(facts)
    assert {name for names in LISTED.values() for name in names} <= set(facts)
    for name, fact in facts.items():
        assert fact.name == name
        assert fact.verdict in (TRUE, FALSE, DEPENDS)
        assert min(len(fact.claim), len(fact.figure), len(fact.why)) > 0


def test_the_stored_table_is_of_these_claims(facts):
    """Each row by its name and claim, and whose it is; no other rows."""
    rows = [line for line in STORED.read_text().splitlines() if line.startswith("| ")]
    page = markdown(list(facts.values()), "")
    made = [line for line in page.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[:3] for row in rows] == [row.split(" | ")[:3] for row in made]
    assert set(facts) >= CONTROLS


def test_the_stored_table_is_of_this_budget():
    """Its steps, seeds and twins are those of a whole run now, which took under ten minutes."""
    text = STORED.read_text()
    assert f"pointer policy, after {_until(FULL.policy_steps)}" in text
    assert f"5 customers, weights after {_until(FULL.policy_steps)} steps" in text
    assert f"regression, after {_until(FULL.steps)} steps" in text
    for twins in (FULL.twins, FULL.policy_twins):
        assert f"the furthest of Linear's {twins + 1} twins" in text
    assert f"% of {FULL.seeds:,} seeds agree" in text
    (seconds,) = re.findall(r"full budget, (\d+) seconds on", text)
    assert int(seconds) < 600


def _until(steps: int) -> str:
    return ", ".join(f"{step:,}" for step in powers(steps))


def test_the_stored_verdicts_are_the_certain_ones():
    """And as many of each as the README says."""
    rows = [line.split(" | ") for line in STORED.read_text().splitlines() if line.startswith("| ")]
    verdicts = {row[0].removeprefix("| "): row[3] for row in rows[2:]}  # below the header
    assert EXPECTED.items() <= verdicts.items()
    said = Counter(verdicts.values())
    assert (
        f"{said[TRUE]} are true, {said[FALSE]} false, {said[DEPENDS]} depend" in README.read_text()
    )


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
def test_what_is_certain_comes_out_so(facts, name, expected):
    """On any machine."""
    assert facts[name].verdict == expected, facts[name].figure


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("parameters", "288 and 288"),
        ("weight shapes", "(32, 8, 1) and (32, 8)"),
        ("Conv1d shape", "(20, 33, 24)"),
        ("Conv2d shapes", "(20, 33, 24, 49); (20, 33, 28, 100); (20, 33, 26, 100)"),
        ("LSTM weights", "(64, 100)"),
        ("from_pretrained", "as it comes: False; freeze=False: True"),
        ("scale_grad_by_freq", "three times: 1"),
        ("Adam and signs", "0 of 160 gradients"),
        ("view", "0 % of customers"),
    ],
)
def test_figures(facts, name, figure):
    """The numbers that the claims are about are printed."""
    assert figure in facts[name].figure


def test_the_neuron_of_seed_7(facts):
    """Worked out with plain numbers, from the global generator as the tutorial seeds it."""
    torch.manual_seed(7)
    features = torch.randn((1, 5))[0].tolist()
    weights_ = torch.randn((1, 5))[0].tolist()
    bias = torch.randn((1, 1)).item()

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    right = sigmoid(sum(f * w for f, w in zip(features, weights_, strict=True)) + bias)
    outer = sum(features) * sum(weights_)
    wrong = sigmoid(outer + 25 * bias)
    assert (round(right, 4), round(wrong, 4)) == (0.1595, 0.9897)
    assert facts["features and weights"].figure.startswith("0.9897; right are")
    assert "bias, 0.1595, and" in facts["features and weights"].figure
    assert f"{outer:.3f} + 25 x {bias:.3f}" in facts["features and weights"].why


def test_a_kernel_of_three_reaches_the_neighbours():
    """Output i depends on customers i - 1, i and i + 1, and on no other."""
    row = torch.arange(7)
    near = (row[:, None] - row).abs() <= 1
    assert torch.equal(locality.influence(3) > 0, near)
    assert torch.equal(locality.influence(1) > 0, torch.eye(7, dtype=torch.bool))


@pytest.mark.parametrize(
    ("cases", "expected"),
    [((True, True), TRUE), ((False, False), FALSE), ((True, False), DEPENDS), ((True,), TRUE)],
)
def test_verdict(cases, expected):
    """All, none or some of the cases."""
    assert verdict(*cases) == expected


def test_error_of():
    """The name of what is raised, and nothing if nothing is."""
    assert error_of(lambda: torch.zeros(2) @ torch.zeros(3)) == "RuntimeError"
    assert error_of(lambda: None) == ""


@pytest.mark.parametrize(
    ("check", "changed", "expected"),
    [
        (shapes.parameters, {"kernel": 3}, FALSE),
        (shapes.weights, {"kernel": 3}, FALSE),
        (shapes.conv1d_strided, {"length": 51}, FALSE),
        (shapes.conv2d, {"height": 60}, FALSE),
        (initialisation.default_start, {"shift": 1}, TRUE),
        (initialisation.glorot, {"schemes": ("glorot", "glorot")}, TRUE),
        (equality.outputs, {"perturbation": 1e-3}, FALSE),
        (equality.gradients, {"perturbation": 1.0}, FALSE),
        (equality.conv2d, {"perturbation": 1e-3}, FALSE),
        (products.linear, {"shift": 1e-6}, FALSE),
        (axes.axis_order, {"is_transposed": True}, TRUE),
        (axes.permute, {"then_contiguous": True}, TRUE),
        (axes.view, {"customers": 1}, TRUE),
        (memory.data_ptr, {"copied": True}, FALSE),
        (memory.resize, {"fill": True}, TRUE),
        (weights.parameter, {"wrap": True}, TRUE),
        (weights.wrong_shape, {"shape": (5, 3)}, TRUE),
        (embedding.one_hot, {"perturbation": 0.1}, FALSE),
        (embedding.out_of_range, {"indices": (4, 3)}, DEPENDS),
        (embedding.max_norm, {"limit": 100.0}, TRUE),
        (embedding.norm_type, {"kinds": (2.0,)}, TRUE),
        (embedding.scale_grad_by_freq, {"scaled": False}, DEPENDS),
        (lstm.weights, {"hidden": 4}, TRUE),
        (lstm.states, {"layers": 3}, TRUE),
        (lstm.equations, {"order": (0, 2, 1, 3)}, FALSE),
        (lstm.gate_order, {"order": (0, 1, 2, 3)}, TRUE),
        (detaching.baseline, {"detached": False}, FALSE),
        (detaching.detach, {"clone": True}, TRUE),
        (one_step.near_zero, {"optimiser": "SGD"}, FALSE),
        (normalisation.shifted, {"offset": 0.0}, TRUE),
    ],
    ids=lambda value: (
        f"{value.__module__.rpartition('.')[2]}.{value.__name__}" if callable(value) else None
    ),
)
def test_a_counterexample_turns_the_verdict(check, changed, expected):
    """The verdict is what was measured, not what is known."""
    assert check(TINY).verdict != expected
    assert check(TINY, **changed).verdict == expected


def _step(parameters: float, flipped: int = 0) -> one_step.Step:
    return one_step.Step(parameters, size=1.0, outputs=0.0, flipped=flipped, smallest=0.1)


@pytest.mark.parametrize(
    ("apart", "six", "seven"),
    [((0.0, 2e-8), TRUE, FALSE), ((0.0, 2e-7), TRUE, DEPENDS), ((2e-6, 3e-6), FALSE, TRUE)],
)
def test_adam_counts_seeds(monkeypatch, apart, six, seven):
    """Agreement at 1e-6 and a difference at 1e-7 hold in all, some or none of the seeds."""
    found = tuple(_step(parameters) for parameters in apart)
    monkeypatch.setattr(one_step, "steps", lambda *_: found)
    assert one_step.to_six_places(TINY).verdict == six
    assert one_step.to_seven_places(TINY).verdict == seven


def test_adam_and_signs_counts_flips(monkeypatch):
    """One flipped gradient makes the claim true."""
    monkeypatch.setattr(one_step, "steps", lambda *_: (_step(0.0), _step(0.5, flipped=1)))
    assert one_step.sign_flips(TINY).verdict == TRUE


@pytest.mark.parametrize(("conv1d", "expected"), [(1.0, FALSE), (10.0, TRUE)])
def test_divergence_is_judged_beside_the_twins(monkeypatch, conv1d, expected):
    """Conv1d must be clearly further from Linear than Linear's twins are."""
    run = Divergence(
        {10: conv1d, 20: conv1d}, {10: conv1d, 20: conv1d}, {10: 1.0, 20: 1.0}, {10: 1.0, 20: 1.0}
    )
    monkeypatch.setattr(many_steps, "regression", lambda *_: run)
    monkeypatch.setattr(many_steps, "policy", lambda *_: run)
    budget = Budget(1, 20, 20, 1, 1, 0.0, 1)
    assert many_steps.against_twins(budget).verdict == expected
    assert many_steps.policies(budget).verdict == expected
    assert many_steps.weights_part(budget).verdict == TRUE


def test_one_moment_decides_whether_costs_were_ever_apart(monkeypatch):
    """True needs all moments after the first step, false none; what is between depends."""
    weights = {1: 0.0, 10: 0.0, 20: 0.0}
    steps, still = (1, 5, 10, 20), dict.fromkeys((1, 5, 10, 20), 0.001)
    for cost, expected in (
        (still, FALSE),
        (still | {1: 0.02}, FALSE),
        (still | {5: 0.02}, DEPENDS),
        (dict.fromkeys(steps, 0.02), TRUE),
    ):
        run = Divergence(weights, cost, weights, still)
        monkeypatch.setattr(many_steps, "regression", lambda *_, run=run: run)
        monkeypatch.setattr(many_steps, "policy", lambda *_, run=run: run)
        fact = many_steps.costs_part(Budget(1, 20, 20, 1, 1, 0.0, 1))
        assert fact.verdict == expected
        count = sum(value > 0.01 for value in cost.values())
        assert f"more than 1 % at {count} of 4 moments" in fact.figure
        assert "furthest of its twins: at 0," in fact.figure


def test_a_twin_is_one_rounding_error_away():
    """One weight, by one spacing."""
    first, second = LinearEncoder(4), LinearEncoder(4)
    first.initialise(0, "encoder.")
    second.initialise(0, "encoder.")
    many_steps.nudge(second, 1)
    apart = second.layer.weight - first.layer.weight
    assert (apart != 0).sum() == 1
    assert 0 < apart[1, 0] < 1e-7


def _taken(*seconds: float):
    names = ("Linear", "Conv1d", "Conv1d, transposed")
    return lambda *_: dict(zip(names, seconds, strict=True))


@pytest.mark.parametrize(
    ("seconds", "several", "faster"),
    [
        ((1, 9, 9), TRUE, TRUE),
        ((1, 2, 9), DEPENDS, TRUE),
        ((1, 2, 2), DEPENDS, TRUE),
        ((1, 1, 1), FALSE, FALSE),
    ],
)
def test_speed_is_judged_by_ratios(seconds, several, faster):
    """Of medians of the same run."""
    assert speed.tutorial_case(TINY, _taken(*seconds)).verdict == several
    assert speed.forward_grid(TINY, _taken(*seconds)).verdict == faster
    assert speed.backward_grid(TINY, _taken(*seconds)).verdict == faster


@pytest.mark.parametrize(("alone", "expected"), [(0.001, FALSE), (0.5, TRUE)])
def test_the_encoders_share_of_a_step(alone, expected):
    """A tenth of the step is the line."""
    steps = [
        StepTime("vrp10", name, turn, 64, 8, 1.0, alone, 1, "cpu", "2")
        for name in ("conv1d", "linear")
        for turn in range(3)
    ]
    fact = speed.training_step(TINY, lambda *_: steps)
    assert fact.verdict == expected
    assert f"{100 * alone:.1f} %" in fact.figure


def test_medians_leave_out_the_first_turn():
    """Each work is done equally often, and one slow turn does not count."""
    calls = []
    taken = speed.medians({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 0.0)
    assert calls == ["a", "b"] * 4
    assert set(taken) == {"a", "b"}


def test_markdown_keeps_its_columns():
    """A bar in a text does not open a column."""
    page = markdown([Fact("n", "c", TRUE, "|x|", "w")], "about")
    assert page.splitlines()[-1] == "| n | tutorials' | c | true | \\|x\\| | w |"


def test_the_command_prints_and_writes(tmp_path, capsys):
    """A subject's rows, on the terminal and as Markdown."""
    path = tmp_path / "new" / "facts.md"
    assert main(["--only", "shapes", "--fast", "--output", str(path), "--hardware", "abacus"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith("parameters")
    assert captured.out.splitlines()[-1] == f"table: {path}"
    lines = path.read_text().splitlines()
    assert lines[2].endswith(" seconds on abacus.")
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == 2 + len(SUBJECTS["shapes"])
    assert "288 and 288" in rows[2]


def test_a_row_is_found_by_its_name_in_any_case():
    """And a subject gives all its rows."""
    assert list(chosen("PADDING")) == ["padding_idx"]
    assert list(chosen("lstm")) == list(SUBJECTS["lstm"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "nothing"], "no row begins with 'nothing'; subjects: shapes"),
        (["--output", "facts.txt"], "must end in .md"),
        (["--output", "file/facts.md"], "file is no folder"),
        (["--quick"], "unrecognized arguments: --quick"),
        (["--output"], "expected one argument"),
    ],
)
def test_bad_arguments(tmp_path, monkeypatch, capsys, arguments, said):
    """One line, exit code 2, and nothing is done."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    captured = capsys.readouterr()
    assert stopped.value.code == 2
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert said in captured.err
