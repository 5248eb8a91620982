"""A composed config as plain values, with the functions that configs compute by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from scripts.checks import UsageError

_PROBLEMS = Path(__file__).resolve().parent.parent / "configs" / "problem"


def plain_config(config: DictConfig) -> dict[str, Any]:
    """The config resolved, as dicts, lists and scalars.

    Raises:
        UsageError: for a reference to nothing.
    """
    try:
        return OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UsageError(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def _strict_capacity(num_customers: int) -> int:
    """What a vehicle of Nazari's may carry under a mask that wants demand < load."""
    file = _PROBLEMS / f"vrp{num_customers}.yaml"
    if not file.is_file():
        sizes = sorted(int(path.stem[3:]) for path in _PROBLEMS.glob("vrp[0-9]*.yaml"))
        raise ValueError(
            f"problem.num_customers is {num_customers}; the strict mask is for "
            f"{', '.join(map(str, sizes))}"
        )
    return OmegaConf.load(file).capacity - 1


OmegaConf.register_new_resolver("strict_capacity", _strict_capacity, replace=True)
