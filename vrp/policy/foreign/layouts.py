"""Which layout a state dict has."""

from __future__ import annotations

from torch import Tensor

from vrp.policy.foreign.kool import from_kool
from vrp.policy.foreign.pomo import from_pomo
from vrp.policy.foreign.source import Converted, Source


def convert(state: dict[str, Tensor], num_heads: int = 8) -> Converted:
    """A published state dict in our names.

    Args:
        state: of a CVRP network of either project.
        num_heads: of a network whose weights do not say it (POMO; their value is 8).

    Raises:
        ValueError: if a weight is missing, has another shape than it should, or is not known;
            names it.
    """
    source = Source(state)
    if "init_embed_depot.weight" in state:
        converted = from_kool(source)
    elif "encoder.embedding_depot.weight" in state:
        converted = from_pomo(source, num_heads)
    else:
        raise ValueError(
            "these are no weights of a CVRP network of Kool et al. (init_embed_depot.weight) or "
            f"POMO (encoder.embedding_depot.weight); they begin with {next(iter(state))}"
        )
    left = [name for name in state if name not in source.taken]
    if left:
        raise ValueError(f"{left[0]} is not known in the {converted.layout} layout of a CVRP")
    return converted
