"""Conv1d against Linear over many training steps, and Linear against itself.

All networks of an experiment start from the same numbers and see the same batches, so they differ
by rounding and nothing else.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from vrp.policy import PointerPolicy
from vrp.policy.encoders import Conv1dEncoder, Encoder, LinearEncoder
from vrp.policy.initialisation import initialise_layers
from vrp.problem import UniformGenerator
from vrp.search import Greedy
from vrp.study.facts.divergence import Divergence, Runner, diverge
from vrp.study.facts.record import Budget, Check, Fact, verdict
from vrp.training.baselines import SharedBaseline
from vrp.training.learner import Learner

_HIDDEN = 32
_SIGNIFICANT = 0.01  # of the weights' length, or of the cost
_CLEARLY = 2  # times as far as the furthest twin
_CUSTOMERS, _CAPACITY = 5, 15  # of the policy's instances: so small that 10,000 steps take minutes


def encoder_of(name: str) -> Encoder:
    """The encoder of the network of that name, without its start."""
    return (Conv1dEncoder if name == "Conv1d" else LinearEncoder)(_HIDDEN)


def nudge(encoder: Encoder, twin: int) -> None:
    """Move one weight to the next number of float32."""
    weight = encoder.layer.weight.data
    weight[twin, 0] = torch.nextafter(weight[twin, 0], torch.tensor(torch.inf))


@cache
def regression(steps: int, twins: int) -> Divergence:
    """Each customer's distance to the middle: an encoder, a tanh, one output; Adam, lr 0.005."""
    return diverge(_regression, steps, twins, "regression")


def _regression(name: str) -> Runner:
    encoder = encoder_of(name)
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
def policy(steps: int, twins: int) -> Divergence:
    """Our pointer policy of size 32, 5 customers; 32 instances, 2 tours each; Adam, lr 0.002."""
    return diverge(_policy, steps, twins, "policy")


def _policy(name: str) -> Runner:
    encoder = encoder_of(name)
    learner = Learner(PointerPolicy(encoder, _HIDDEN, glimpses=0), SharedBaseline(), 2)
    learner.policy.initialise(0)
    if name.startswith("rounding"):
        nudge(encoder, int(name.split()[1]))
    optimizer = torch.optim.Adam(learner.parameters(), lr=2e-3)
    generator = UniformGenerator(num_customers=_CUSTOMERS, capacity=_CAPACITY)
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


def _counts(values: dict[int, float]) -> str:
    return ", ".join(f"{step:,}" for step in values)


def _both(budget: Budget) -> tuple[Divergence, Divergence]:
    return regression(budget.steps, budget.twins), policy(budget.policy_steps, budget.policy_twins)


def weights_part(budget: Budget) -> Fact:
    """The weights, in both experiments."""
    smooth, sampled = _both(budget)
    return Fact(
        name="many steps, weights",
        claim="After many steps Conv1d's and Linear's weights differ significantly (by 1 %).",
        verdict=verdict(
            *(run.weights[max(run.weights)] > _SIGNIFICANT for run in (smooth, sampled))
        ),
        figure=f"regression, after {_counts(smooth.weights)} steps: {_series(smooth.weights)} of "
        f"their length; pointer policy, after {_counts(sampled.weights)}: "
        f"{_series(sampled.weights)}",
        why="On a smooth task rounding adds up slowly. Where tours are sampled it decides one "
        "choice sooner or later, and from that tour on the two learn from different examples. Then "
        "they are two runs like any other. Where such runs end is in the study: ten seeds of each, "
        "on 10 customers.",
    )


def costs_part(budget: Budget) -> Fact:
    """The cost on unseen instances, in both experiments."""
    both = _both(budget)
    (smooth, first), (sampled, second) = (
        (_at_powers(run, run.cost), _moments(run)) for run in both
    )
    return Fact(
        name="many steps, cost",
        claim="After many steps the cost differs significantly (by 1 %).",
        verdict=verdict(
            *(cost > _SIGNIFICANT for run in both for step, cost in run.cost.items() if step > 1)
        ),
        figure=f"regression, after {_counts(smooth)} steps: {_series(smooth)} of the error, "
        f"{first}; greedy tours of the policy, after {_counts(sampled)}: {_series(sampled)} of "
        f"their cost, {second}",
        why="As with the weights. The costs of two runs go up and down from step to step, each by "
        "itself. In the study, on 10 customers, pairs of one seed are 1 % apart now and then "
        "before their end, and none of ten is at the end.",
    )


def _moments(run: Divergence) -> str:
    """At how many moments the costs are apart, and those of Linear and its twins."""
    shares = [
        sum(cost > _SIGNIFICANT for cost in costs.values()) for costs in (run.cost, run.own_cost)
    ]
    return (
        f"more than 1 % at {shares[0]} of {len(run.cost)} moments, at most "
        f"{max(run.cost.values()):.1e} (Linear and the furthest of its twins: at {shares[1]}, at "
        f"most {max(run.own_cost.values()):.1e})"
    )


def _at_powers(run: Divergence, values: dict[int, float]) -> dict[int, float]:
    return {step: values[step] for step in run.weights}


def _weights_beside_twins(run: Divergence) -> str:
    return f"{_series(run.weights)} beside {_series(run.own_weights)}"


def _costs_beside_twins(run: Divergence) -> str:
    ours, own = _at_powers(run, run.cost), _at_powers(run, run.own_cost)
    return f"{_series(ours)} beside {_series(own)}"


def against_twins(budget: Budget) -> Fact:
    """The regression: Conv1d beside Linear's twins, at each power of ten but the first."""
    run = regression(budget.steps, budget.twins)
    return Fact(
        name="many steps, rounding alone",
        claim="In the regression Conv1d is clearly further from Linear than rounding takes Linear "
        "from itself.",
        verdict=verdict(
            *(run.weights[n] > _CLEARLY * run.own_weights[n] for n in run.weights if n > 1)
        ),
        figure=f"weights, after {_counts(run.weights)} steps: {_weights_beside_twins(run)}; "
        f"cost: {_costs_beside_twins(run)} (Conv1d from Linear, beside the furthest of Linear's "
        f"{budget.twins + 1} twins)",
        why="Any rounding difference grows in this way. Conv1d makes one at each step, as the "
        "reversed batch does.",
    )


def policies(budget: Budget) -> Fact:
    """The pointer policy: Conv1d beside Linear's twins, at the end."""
    run, last = policy(budget.policy_steps, budget.policy_twins), budget.policy_steps
    return Fact(
        name="many steps, policy",
        claim="In a pointer policy Conv1d is clearly further from Linear than rounding takes "
        "Linear from itself.",
        verdict=verdict(
            run.weights[last] > _CLEARLY * run.own_weights[last],
            run.cost[last] > _CLEARLY * run.own_cost[last],
        ),
        figure=f"{_CUSTOMERS} customers, weights after {_counts(run.weights)} steps: "
        f"{_weights_beside_twins(run)}; greedy cost: {_costs_beside_twins(run)} (Conv1d from "
        f"Linear, beside the furthest of Linear's {budget.policy_twins + 1} twins)",
        why="Once a tour differs, two runs are as far apart as any two runs, whatever their "
        "encoders. One run of each cannot tell encoders apart, and beside two twins a cost is "
        "clearly further by chance in one case of nine, were costs normal. The study has ten seeds "
        "of each, on 10 customers.",
    )


FACTS: dict[str, Check] = {
    "many steps, weights": weights_part,
    "many steps, cost": costs_part,
    "many steps, rounding alone": against_twins,
    "many steps, policy": policies,
}
