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
        policy: with these weights.
    """

    name: str
    sha256: str
    instances: int | None
    policy: Policy

    def load_into(self, policy: Policy) -> None:
        """Give the policy these weights.

        Raises:
            ValueError: if with these weights it is another function; names what differs.
        """
        if wrong := unlike(policy, self.policy):
            raise ValueError(
                f"start_from is {self.name}, which has another encoder or policy than this run: "
                f"{some(wrong)}"
            )
        policy.load_state_dict(self.policy.state_dict())

    def origin(self) -> dict[str, str | int | None]:
        """What a checkpoint says of it."""
        return {"name": self.name, "sha256": self.sha256, "instances": self.instances}


def unlike(policy: Policy, other: Policy) -> list[str]:
    """Why another policy's weights would make another function in this one; empty if not at all.

    Weights of the same names and shapes can: under another number of heads, for example.
    """
    wrong = []
    for part, ours, theirs in (
        ("policy", policy, other),
        ("encoder", policy.encoder, other.encoder),
    ):
        if type(ours) is not type(theirs):
            wrong.append(f"{part} is {type(theirs).__name__} and should be {type(ours).__name__}")
            continue
        held = theirs.settings()
        wrong += [
            f"{part}.{name} is {held[name]} and should be {wanted}"
            for name, wanted in ours.settings().items()
            if held[name] != wanted
        ]
    return wrong + differences(policy, other.state_dict())


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
