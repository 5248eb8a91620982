"""Which layout a state dict has."""

from __future__ import annotations

from torch import Tensor

from vrp.policy.foreign.kool import from_kool
from vrp.policy.foreign.pomo import from_notebooks, from_pomo
from vrp.policy.foreign.source import Converted, Source

# The weights that only the CVRP networks of a layout have together.
_MARKS = {
    "kool": ("init_embed_depot.weight",),
    "pomo": ("encoder.embedding_depot.weight", "decoder.Wq_last.weight"),
    "pomo-notebooks": ("encoder.embedding_depot.weight", "node_prob_calculator.Wq.weight"),
}


def convert(state: dict[str, Tensor], num_heads: int = 8) -> Converted:
    """A published state dict in our names.

    Args:
        state: of a CVRP network of either project.
        num_heads: of a network whose weights do not say it (POMO; their value is 8).

    Raises:
        ValueError: if the layout is not known, lists those that are; or if a weight is missing,
            has another shape than it should, or is not known, names it.
    """
    found = [layout for layout, marks in _MARKS.items() if all(name in state for name in marks)]
    if not found:
        known = "; ".join(f"{layout} ({', '.join(marks)})" for layout, marks in _MARKS.items())
        raise ValueError(
            "these are no weights of a CVRP network in a layout known here; they begin with "
            f"{next(iter(state))}, the layouts known are {known}"
        )
    source = Source(state)
    if found[0] == "kool":
        converted = from_kool(source)
    elif found[0] == "pomo":
        converted = from_pomo(source, num_heads)
    else:
        converted = from_notebooks(source, num_heads)
    left = [name for name in state if name not in source.taken]
    if left:
        raise ValueError(f"{left[0]} is not known in the {converted.layout} layout of a CVRP")
    return converted
