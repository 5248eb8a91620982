"""Conv1d against Linear over many training steps, and Linear against itself.

All networks of an experiment start from the same numbers and see the same batches. The twins are
Linear with one encoder weight moved to the next number of float32, and Linear that sees the
instances of each batch in reverse. So they differ from Linear by rounding and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from tqdm import tqdm

from vrp.policy import PointerPolicy
from vrp.policy.encoders import Conv1dEncoder, Encoder, LinearEncoder
from vrp.policy.initialisation import initialise_layers
from vrp.problem import UniformGenerator
from vrp.search import Greedy
from vrp.study.facts.record import Budget, Check, Fact, verdict
from vrp.training.baselines import SharedBaseline
from vrp.training.learner import Learner

_HIDDEN = 32
_SIGNIFICANT = 0.01  # of the weights' length, or of the cost
_CLEARLY = 3  # times as far as the furthest twin


@dataclass(frozen=True)
class Divergence:
    """How far a network is from Linear, by the number of steps.

    Attributes:
        weights: length of the difference of all parameters, of the length of Linear's.
        cost: difference of the cost on unseen instances, of Linear's cost.
    """

    weights: dict[int, float]
    cost: dict[int, float]


@dataclass(frozen=True)
class Runner:
    """A network in training.

    Attributes:
        module: what is trained.
        step: one training step on the batch of that number.
        cost: on unseen instances, now.
    """

    module: nn.Module
    step: Callable[[int], None]
    cost: Callable[[], float]


def powers(steps: int) -> list[int]:
    """1, 10, 100, ... up to `steps`, and `steps` itself."""
    found = [10**n for n in range(len(str(steps))) if 10**n < steps]
    return [*found, steps]


def encoders(width: int, twins: int) -> dict[str, Encoder]:
    """Linear, Conv1d, `twins` Linears one rounding error away, and one for the reversed order."""
    made: dict[str, Encoder] = {"Linear": LinearEncoder(width), "Conv1d": Conv1dEncoder(width)}
    for twin in range(twins):
        made[f"rounding {twin}"] = LinearEncoder(width)
    made["reversed"] = LinearEncoder(width)
    return made


def nudge(encoder: Encoder, twin: int) -> None:
    """Move one weight to the next number of float32."""
    weight = encoder.layer.weight.data
    weight[twin, 0] = torch.nextafter(weight[twin, 0], torch.tensor(torch.inf))


def diverge(runners: dict[str, Runner], steps: int, title: str) -> dict[str, Divergence]:
    """Train all of them side by side, the first being the one that all are compared with."""
    base, *others = runners
    found = {name: Divergence({}, {}) for name in others}
    for step in tqdm(range(1, steps + 1), title, leave=False, disable=None):
        for runner in runners.values():
            runner.step(step)
        if step not in powers(steps):
            continue
        weights, cost = _flat(runners[base].module), runners[base].cost()
        for name in others:
            apart = _flat(runners[name].module) - weights
            found[name].weights[step] = (apart.norm() / weights.norm()).item()
            found[name].cost[step] = abs(runners[name].cost() / cost - 1)
    return found


def _flat(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().double().flatten() for parameter in module.parameters()])


@cache
def regression(steps: int, twins: int) -> dict[str, Divergence]:
    """Each customer's distance to the middle: an encoder, a tanh, one output; Adam, lr 0.005."""
    return diverge(
        {name: _regression(name, encoder) for name, encoder in encoders(_HIDDEN, twins).items()},
        steps,
        "regression",
    )


def _regression(name: str, encoder: Encoder) -> Runner:
    network = nn.Sequential(encoder, nn.Tanh(), nn.Linear(_HIDDEN, 1))
    encoder.initialise(0, "encoder.")
    initialise_layers(network[2], "torch", 0, "output.")
    if name.startswith("rounding"):
        nudge(encoder, int(name.split()[1]))
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)

    def loss(points: Tensor) -> Tensor:
        wanted = (points - 0.5).norm(dim=-1, keepdim=True)
        return (network(points) - wanted).square().mean()

    def step(number: int) -> None:
        points = torch.rand(32, 10, 2, generator=torch.Generator().manual_seed(number))
        optimizer.zero_grad()
        loss(points.flip(0) if name == "reversed" else points).backward()
        optimizer.step()

    @torch.no_grad()
    def cost() -> float:
        unseen = torch.rand(500, 10, 2, generator=torch.Generator().manual_seed(0))
        return loss(unseen).sqrt().item()

    return Runner(network, step, cost)


@cache
def policy(steps: int, twins: int) -> dict[str, Divergence]:
    """Our pointer policy of size 32 on 10 customers; 32 instances, 2 tours each; Adam, lr 0.002."""
    return diverge(
        {name: _policy(name, encoder) for name, encoder in encoders(_HIDDEN, twins).items()},
        steps,
        "policy",
    )


def _policy(name: str, encoder: Encoder) -> Runner:
    learner = Learner(PointerPolicy(encoder, _HIDDEN, glimpses=0), SharedBaseline(), 2)
    learner.policy.initialise(0)
    if name.startswith("rounding"):
        nudge(encoder, int(name.split()[1]))
    optimizer = torch.optim.Adam(learner.parameters(), lr=2e-3)
    generator = UniformGenerator(num_customers=10, capacity=20)
    unseen = generator(500, torch.Generator().manual_seed(0))

    def step(number: int) -> None:
        random = torch.Generator().manual_seed(number)
        instances = generator(32, random)
        draws = learner.draw(instances, random)
        if name == "reversed":
            order = torch.arange(31, -1, -1)
            instances = instances[order]
            draws = type(draws)(draws.uniforms[:, order], None)
        optimizer.zero_grad()
        learner(instances, draws).loss.backward()
        optimizer.step()

    def cost() -> float:
        return Greedy()(learner.policy, unseen, torch.Generator()).cost.mean().item()

    return Runner(learner, step, cost)


def _series(values: dict[int, float]) -> str:
    return ", ".join(f"{value:.1e}" for value in values.values())


def _furthest(found: dict[str, Divergence], step: int, quantity: str) -> float:
    """Of the twins."""
    return max(getattr(run, quantity)[step] for name, run in found.items() if name != "Conv1d")


def weights_part(budget: Budget) -> Fact:
    """The regression's weights."""
    found = regression(budget.steps, budget.twins)
    values = found["Conv1d"].weights
    return Fact(
        name="many steps, weights",
        claim="After many steps Conv1d's weights differ significantly (by 1 %) from Linear's.",
        verdict=verdict(values[budget.steps] > _SIGNIFICANT),
        figure=f"after {', '.join(f'{step:,}' for step in values)} steps of a regression: "
        f"{_series(values)} of their length",
        why="Each step rounds differently and starts from what the one before left; how fast "
        "that grows is a matter of the task and the learning rate.",
    )


def costs_part(budget: Budget) -> Fact:
    """The regression's error on unseen customers."""
    found = regression(budget.steps, budget.twins)
    values = found["Conv1d"].cost
    return Fact(
        name="many steps, cost",
        claim="And so (by 1 %) does what they cost.",
        verdict=verdict(values[budget.steps] > _SIGNIFICANT),
        figure=f"after {', '.join(f'{step:,}' for step in values)} steps the error on unseen "
        f"customers differs by {_series(values)} of itself; Linear's twins by up to "
        f"{_furthest(found, budget.steps, 'cost'):.1e} at the end",
        why="The cost of one and the same moment; it goes up and down from step to step, and "
        "networks that are a little apart do so a little apart.",
    )


def against_twins(budget: Budget) -> Fact:
    """Conv1d's divergence against that of Linear's twins, at each power of ten."""
    found = regression(budget.steps, budget.twins)
    values = found["Conv1d"].weights
    twins = {step: _furthest(found, step, "weights") for step in values}
    cases = [values[step] > _CLEARLY * twins[step] for step in values if step > 1]
    return Fact(
        name="many steps, rounding alone",
        claim="Linear against itself, one rounding error apart, stays much closer than Conv1d "
        "does to Linear.",
        verdict=verdict(*cases),
        figure=f"weights, after {', '.join(f'{step:,}' for step in values)} steps: Conv1d "
        f"{_series(values)}; Linear with one weight in the last bit or the batch in reverse, "
        f"up to {_series(twins)}",
        why="Any rounding difference grows in the same way. Conv1d brings one at each step, as "
        "the reversed batch does.",
    )


def policies(budget: Budget) -> Fact:
    """The pointer policy: weights and greedy cost, beside the twins."""
    found = policy(budget.policy_steps, budget.twins)
    last = budget.policy_steps
    conv1d = found["Conv1d"]
    weights, cost = _furthest(found, last, "weights"), _furthest(found, last, "cost")
    return Fact(
        name="many steps, policy",
        claim="In a pointer policy Conv1d ends clearly further from Linear than rounding alone "
        "takes Linear from itself.",
        verdict=verdict(
            conv1d.weights[last] > _CLEARLY * weights, conv1d.cost[last] > _CLEARLY * cost
        ),
        figure=f"VRP10, weights after {', '.join(f'{step:,}' for step in conv1d.weights)} steps: "
        f"{_series(conv1d.weights)}, twins up to {weights:.1e}; greedy cost at the end: "
        f"{100 * conv1d.cost[last]:.2f} % apart, twins up to {100 * cost:.2f} %",
        why="Sampled tours turn a rounding difference into another tour sooner or later; from "
        "there on the two runs are as far apart as two runs can be, with any encoder.",
    )


FACTS: dict[str, Check] = {
    "many steps, weights": weights_part,
    "many steps, cost": costs_part,
    "many steps, rounding alone": against_twins,
    "many steps, policy": policies,
}
