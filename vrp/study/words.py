"""Section 10: the words of the report."""

from __future__ import annotations

from vrp.problem.datasets import CAPACITY
from vrp.study.analysis import Analysis
from vrp.study.document import Items, Section

_WORDS = (
    "`koolC`: the 10,000 test instances of C customers that Kool et al. (2019) published, "
    "`koolC-val` as many for validation. `clusteredC`: 10,000 instances of ours, whose customers "
    "lie in clusters.",
    "Gap: how much longer tours are than near-optimal ones, which PyVRP found for the number of "
    "instances that is named.",
    "Greedy: a tour that goes to the likeliest node at each step. Multistart: a greedy tour from "
    "each customer, of which the shortest counts.",
    "Embedding's tables: `factorised` has one for each axis, `joint` one for all cells of the "
    "square; `bins` is the number of cells along an axis. `matched`: the table starts on the scale "
    "of Linear's outputs, otherwise on PyTorch's.",
    "Equivalent: the difference is inside the margin, shown by two one-sided tests. That a "
    "difference is not shown is less: it may be there.",
    "Holm's correction: makes the p values of many tests larger, so that the chance of even one "
    "false finding among them stays below the level.",
    "Budget: the training instances of a run. The seed decides its first weights, its instances "
    "and its sampled tours.",
)


def words(analysis: Analysis) -> Section:
    """What the report takes as known."""
    sizes = ", ".join(f"{size} customers and {load} units" for size, load in CAPACITY.items())
    problems = (
        f"VRP10, VRP20 and so on: the problems of Nazari et al. (2018), {sizes} of load. In BANDED "
        "ones few training nodes lie along two edges of the square."
    )
    return Section("Words", (Items((problems, *_WORDS)),))
