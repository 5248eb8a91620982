"""All checks in their order, a choice of them, and their table."""

from __future__ import annotations

from vrp.study.facts import (
    axes,
    detaching,
    embedding,
    equality,
    initialisation,
    locality,
    lstm,
    many_steps,
    memory,
    normalisation,
    one_step,
    products,
    shapes,
    speed,
    weights,
)
from vrp.study.facts.record import Check, Fact

SUBJECTS: dict[str, dict[str, Check]] = {
    "shapes": shapes.FACTS,
    "initialisation": initialisation.FACTS,
    "equality": equality.FACTS,
    "locality": locality.FACTS,
    "products": products.FACTS,
    "axes": axes.FACTS,
    "memory": memory.FACTS,
    "weights": weights.FACTS,
    "embedding": embedding.FACTS,
    "lstm": lstm.FACTS,
    "detaching": detaching.FACTS,
    "one step": one_step.FACTS,
    "many steps": many_steps.FACTS,
    "normalisation": normalisation.FACTS,
    "speed": speed.FACTS,
}

# Claims of our own, to make sense of those that were found in tutorials.
CONTROLS = frozenset(
    (
        "Glorot", "LSTM gate order", "Adam in float64", "Adam against SGD", "Adam and signs",
        "Adam near zero", "many steps, rounding alone", "many steps, policy",
        "normalisation in training", "speed, backward",
    )
)  # fmt: skip


def chosen(prefix: str) -> dict[str, Check]:
    """The checks whose name, or whose subject, begins with `prefix`; case does not matter.

    Raises:
        ValueError: if there is none; names the subjects.
    """
    start = prefix.casefold()
    found = {
        name: check
        for subject, checks in SUBJECTS.items()
        for name, check in checks.items()
        if subject.casefold().startswith(start) or name.casefold().startswith(start)
    }
    if not found:
        raise ValueError(f"no row begins with {prefix!r}; subjects: {', '.join(SUBJECTS)}")
    return found


_LEGEND = (
    "Made by `python scripts/layer_facts.py --output FILE.md`. `whose`: claims found in tutorials, "
    "or ours, checked beside them. `depends`: true in some of the cases and false in others. Times "
    "are of the machine named above; the full budget's seeds, steps and seconds are in "
    "`vrp/study/facts/record.py`."
)


def markdown(facts: list[Fact], about: str) -> str:
    """The facts as a Markdown page, `about` being the paragraph below its title."""
    rows = [("row", "whose", "claim", "verdict", "measured", "why"), ("---",) * 6]
    rows += [
        (
            fact.name,
            "ours" if fact.name in CONTROLS else "tutorials'",
            fact.claim,
            fact.verdict,
            fact.figure,
            fact.why,
        )
        for fact in facts
    ]
    table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(["# Layer facts", "", about, "", _LEGEND, "", *table, ""])
