"""Plays a policy until every tour is closed, and the two searches that do just that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vrp.policy.lstm import Tape
from vrp.policy.pointer import Encoding, PointerPolicy
from vrp.problem.environment import finished, legal_mask, max_steps, reset, step
from vrp.problem.instances import Instances
from vrp.search.solution import Solution, join, shortest

# Asking whether all tours are closed waits for the device, so it is done every few steps.
_CHECK_EVERY = 4
_SAMPLES_AT_ONCE = 16

Select = Callable[[Tensor, int], Tensor]


def greedy_choice(logits: Tensor, _: int) -> Tensor:
    """The likeliest node of (N, K, V) logits: (N, K) int64."""
    return logits.argmax(-1)


def sampled_choice(uniforms: Tensor, temperature: float = 1.0) -> Select:
    """A choice that samples by one uniform number per trajectory and step.

    Args:
        uniforms: (T, N, K) float32 in [0, 1), at least `max_steps` of them.
        temperature: divides the logits.
    """
    # Kept a little under 1 so that rounding never reaches past the last legal node.
    uniforms = uniforms * (1 - 2**-22)

    def choose(logits: Tensor, t: int) -> Tensor:
        # The best logit becomes 0 first, so that no temperature can make it infinite.
        scaled = (logits - logits.amax(-1, keepdim=True)) / temperature
        cumulated = scaled.softmax(-1).cumsum(-1)
        threshold = uniforms[t] * cumulated[..., -1]
        return (cumulated <= threshold[..., None]).sum(-1)

    return choose


@torch.no_grad()
def rollout(
    policy: PointerPolicy,
    instances: Instances,
    encoding: Encoding,
    num_solutions: int,
    choose: Select,
    dropout_mask: Tensor | None = None,
    tape: Tape | None = None,
) -> Tensor:
    """K = `num_solutions` tours of each instance, chosen step by step.

    Args:
        policy: gives the logits.
        instances: N problems.
        encoding: of the same instances, detached.
        num_solutions: K.
        choose: maps logits (N, K, V) and the step's number to nodes (N, K).
        dropout_mask: (N, K, M) or None.
        tape: the LSTM's states are recorded on it, for `PointerPolicy.log_probs`.

    Returns:
        (N, K, T) int64 actions, padded with 0; T is the longest tour's number of steps.

    Raises:
        RuntimeError: if a tour is still open after the number of steps that no legal tour
            exceeds.
    """
    state = reset(instances, num_solutions)
    decoder = policy.start(encoding, num_solutions, dropout_mask)
    most = max_steps(instances)
    actions = []
    for t in range(most):
        legal = legal_mask(instances, state)
        logits, decoder = policy.step(encoding, decoder, state, legal, tape)
        action = choose(logits, t)
        state = step(instances, state, action)
        actions.append(action)
        if t > instances.num_customers and t % _CHECK_EVERY == 0 and finished(state).all():
            break
    else:
        if not finished(state).all():
            raise RuntimeError(f"a tour is not closed after {most} steps, more than any can need")
    tours = torch.stack(actions, -1)
    # A closed tour waits at the depot: all but one of the last zeros are padding.
    visits = (tours != 0).any(0).any(0).nonzero()
    return tours[..., : int(visits.max()) + 2 if len(visits) else 1]


@dataclass(frozen=True)
class Greedy:
    """The likeliest node at every step."""

    def __str__(self) -> str:
        return "greedy"

    @torch.no_grad()
    def __call__(
        self, policy: PointerPolicy, instances: Instances, generator: torch.Generator
    ) -> Solution:
        """Solve N instances; `generator` is not used."""
        encoding = policy.encode(instances).detach()
        return shortest(instances, rollout(policy, instances, encoding, 1, greedy_choice))


@dataclass(frozen=True)
class Sampling:
    """The shortest of several sampled tours.

    More samples from an equal generator repeat the fewer and add to them, so the cost never
    rises with `samples`.

    Args:
        samples: tours per instance, at least 1.
        temperature: divides the logits, above 0; below 1 keeps closer to greedy.

    Raises:
        ValueError: for a value out of range.
    """

    samples: int
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples is {self.samples}; it must be at least 1")
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}; it must be above 0")

    def __str__(self) -> str:
        return f"sampling(samples={self.samples}, temperature={self.temperature:g})"

    @torch.no_grad()
    def __call__(
        self, policy: PointerPolicy, instances: Instances, generator: torch.Generator
    ) -> Solution:
        """Solve N instances with uniform numbers from `generator`, a CPU generator."""
        encoding = policy.encode(instances).detach()
        n, most = len(instances), max_steps(instances)
        best: Solution | None = None
        for first in range(0, self.samples, _SAMPLES_AT_ONCE):
            count = min(_SAMPLES_AT_ONCE, self.samples - first)
            uniforms = torch.rand(count, most, n, generator=generator).permute(1, 2, 0)
            choose = sampled_choice(uniforms.to(instances.device), self.temperature)
            found = shortest(instances, rollout(policy, instances, encoding, count, choose))
            best = found if best is None else _shorter(best, found)
        return best


def _shorter(first: Solution, second: Solution) -> Solution:
    """The shorter of two solutions of each instance, the first where they are equal."""
    both = join([first, second])
    n = len(first.cost)
    row = torch.arange(n) + n * (second.cost < first.cost)
    return Solution(both.actions[row], both.cost[row])
