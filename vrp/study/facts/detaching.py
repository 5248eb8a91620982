"""Where detach stops a gradient."""

from __future__ import annotations

import torch
from torch import nn

from vrp.study.facts.record import Budget, Check, Fact, error_of, verdict
from vrp.training.reinforce import advantage, reinforce_loss


def baseline(_: Budget, detached: bool = True) -> Fact:
    """The policy's loss with our `advantage`, and with a difference that is not detached."""
    generator = torch.Generator().manual_seed(0)
    inputs, cost = (torch.rand(8, width, generator=generator) for width in (3, 1))
    actor, critic = nn.Linear(3, 1), nn.Linear(3, 1)
    log_prob, value = nn.functional.logsigmoid(actor(inputs)), critic(inputs)

    def reaching(advantages: torch.Tensor) -> float:
        loss = reinforce_loss(advantages, log_prob)
        found = torch.autograd.grad(loss, critic.parameters(), retain_graph=True, allow_unused=True)
        return sum(0.0 if part is None else part.abs().sum().item() for part in found)

    with_detach = reaching(advantage(cost, value) if detached else cost - value)
    without = reaching(cost - value)
    return Fact(
        name="detach of the baseline",
        claim="With the advantage detached, the policy's loss does not train the critic.",
        verdict=verdict(with_detach == 0),
        figure=f"gradient of the critic's parameters: {with_detach:g} with detach, "
        f"{without:.3f} without",
        why="The loss is advantage x log-probability, which is never positive. Undetached, it "
        "would press the critic's values down without end, wherever the costs are.",
    )


def detach(_: Budget, clone: bool = False) -> Fact:
    """The memory behind detach, or, with `clone`, behind a clone of what it gives."""
    source = torch.zeros(3, requires_grad=True) * 2
    found = source.detach().clone() if clone else source.detach()
    found += 1
    changed = bool((source == 1).all())
    return Fact(
        name="detach",
        claim="detach gives a copy that can be changed freely.",
        verdict=verdict(not changed),
        figure=f"a write to it {'shows in' if changed else 'leaves'} the source; needs a gradient: "
        f"{found.requires_grad}",
        why="It is a view of the same memory without the history; clone() makes it a copy.",
    )


def detach_in_place(_: Budget) -> Fact:
    """detach_ on a result, on a view, and what it leaves of the graph."""
    leaf = torch.ones(3, requires_grad=True)
    result = leaf * 2
    cut = not result.detach_().requires_grad
    error = error_of(lambda: (leaf * 2)[:2].detach_())
    later = (result * leaf).sum()
    later.backward()
    gradient = leaf.grad.tolist()
    return Fact(
        name="detach_",
        claim="detach_ does the same as detach, in place.",
        verdict=verdict(cut and gradient == [2.0] * 3, not error),
        figure=f"a result is cut off: {cut}, so result * leaf has gradient {gradient} and not "
        f"{[4.0] * 3}; a view of one: {error or 'works'}",
        why="A view's history is that of its base, so it cannot be cut by itself.",
    )


FACTS: dict[str, Check] = {
    "detach of the baseline": baseline,
    "detach": detach,
    "detach_": detach_in_place,
}
