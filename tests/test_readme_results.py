"""Costs and gaps in the README are those on the released models' cards, rounded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DECODED = {
    "greedy": "decode=greedy",
    "beam 5": "decode=beam decode.width=5",
    "beam 10": "decode=beam decode.width=10",
    "multi-start": "decode=multistart",
    "multi-start x 8 symmetries": "decode=augment decode.multistart=true",
    "SGBS x 8 symmetries": "decode=sgbs",
}


def rows(heading: str) -> list[list[str]]:
    """The cells of our own results in the first table under a heading."""
    table = README.partition(f"\n### {heading}\n")[2].partition("\n|")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n")]
    return [row for row in cells if re.match("pointer|attention|VRP", row[0])]


def on_card(model: str, data: str, count: str, name: str) -> tuple[str, str, str]:
    """Cost and gap as the card has them, and over how many instances the gap is."""
    card = (ROOT / "checkpoints" / model / "README.md").read_text(encoding="utf-8")
    start = f"| {data} | first {count} | `{DECODED[name]}` | "
    (line,) = (line for line in card.splitlines() if line.startswith(start))
    cost, _, gap = line.removeprefix(start).strip(" |").split(" | ")
    percent, over = re.fullmatch(r"(\S+ %) \(on ([\d,]+)\)", gap).groups()
    return cost, percent, over


def check(cost: str, gap: str, card: tuple[str, str, str], over: str) -> None:
    """What the README says is what the card says, to three places."""
    assert cost == f"{float(card[0]):.3f}"
    assert (gap, over) == card[1:]


@pytest.mark.parametrize("row", rows("Pointer and attention"), ids=lambda row: row[0])
def test_pointer_and_attention(row):
    """All of `kool20`, gaps over its first 1,000."""
    policy, _, name = row[0].partition(", ")
    model = {"pointer": "vrp20-conv1d", "attention": "cvrp20-attention"}[policy]
    check(row[1], row[2], on_card(model, "kool20", "10,000", name), "1,000")


@pytest.mark.parametrize("row", rows("50 and 100 customers"), ids=lambda row: row[0])
@pytest.mark.parametrize(("size", "at", "over"), [("50", 1, "200"), ("100", 3, "100")])
def test_50_and_100_customers(row, size, at, over):
    """Over as many instances as the cell says, else over all."""
    name = row[0].removeprefix("attention, ")
    cost, _, few = row[at].partition(" ")
    card = on_card(f"cvrp{size}-attention", f"kool{size}", few.strip("()") or "10,000", name)
    check(cost, row[at + 1], card, over)


@pytest.mark.parametrize(
    "row", rows("The pointer and the paper"), ids=lambda row: " ".join(row[:2])
)
def test_the_pointer_and_the_paper(row):
    """The first 1,000 instances of each set."""
    problem, _, name = row[0].partition(" ")
    card = on_card(f"{problem.lower()}-conv1d", row[1].strip("`"), "1,000", name)
    check(row[2], row[3], card, "1,000")


def test_no_row_is_overlooked():
    """Six, four and ten."""
    headings = ("Pointer and attention", "50 and 100 customers", "The pointer and the paper")
    assert [len(rows(heading)) for heading in headings] == [6, 4, 10]
