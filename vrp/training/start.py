"""Weights of another run that a policy begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from vrp.policy.base import Policy


@dataclass(frozen=True)
class Start:
    """A trained policy's weights, and where they come from.

    Attributes:
        name: as the user gave it.
        sha256: of the checkpoint's file.
        instances: that it was trained on, or None where that is not known.
        weights: of the policy, by name.
    """

    name: str
    sha256: str
    instances: int | None
    weights: Mapping[str, Tensor]

    def load_into(self, policy: Policy) -> None:
        """Give the policy these weights.

        Raises:
            ValueError: if it is a policy with others; names one that differs.
        """
        if wrong := differences(policy, self.weights):
            raise ValueError(
                f"start_from is {self.name}, which has another encoder or policy than this run: "
                f"{some(wrong)}"
            )
        policy.load_state_dict(self.weights)

    def origin(self) -> dict[str, str | int | None]:
        """What a checkpoint says of it."""
        return {"name": self.name, "sha256": self.sha256, "instances": self.instances}


def differences(module: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """In what way weights are not those of the module, by name and shape."""
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    held = {name: tuple(getattr(tensor, "shape", ())) for name, tensor in weights.items()}
    wrong = [
        f"{name} is {held.get(name, 'missing')} and should be {shape}"
        for name, shape in wanted.items()
        if held.get(name) != shape
    ]
    return wrong + [f"{name} is not known" for name in held if name not in wanted]


def some(wrong: list[str]) -> str:
    """The first three of a list, and how many there are besides."""
    more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
    return f"{'; '.join(wrong[:3])}{more}"
