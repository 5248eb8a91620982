"""Plays a policy until every tour is closed."""

from __future__ import annotations

import torch
from torch import Tensor

from vrp.policy.base import Encoding, Memory, Policy, Tape
from vrp.policy.choice import Choice
from vrp.problem.environment import State, finished, legal_mask, max_steps, reset, step
from vrp.problem.instances import Instances

# Asking whether all tours are closed waits for the device, so it is done every few steps.
_CHECK_EVERY = 4

greedy_choice = Choice()  # the likeliest node


@torch.no_grad()
def rollout(
    policy: Policy,
    instances: Instances,
    encoding: Encoding,
    num_solutions: int,
    choose: Choice,
    first: Tensor | None = None,
    dropout_mask: Tensor | None = None,
    tape: Tape | None = None,
) -> Tensor:
    """K = `num_solutions` tours of each instance, chosen step by step.

    Args:
        policy: gives the logits.
        instances: N problems.
        encoding: of the same instances, detached.
        num_solutions: K.
        choose: takes the next node from the logits.
        first: (N, K) int64, nodes imposed on the first step; -1 leaves it to `choose`.
        dropout_mask: (N, K, M) or None.
        tape: each step is recorded on it, for `Policy.log_probs`.

    Returns:
        (N, K, T) int64 actions, padded with 0; T is the longest tour's number of steps.

    Raises:
        RuntimeError: if a tour that is played step by step is still open after the number of
            steps that no legal tour exceeds.
        FloatingPointError: if that is because the policy's logits are no numbers.
    """
    state = reset(instances, num_solutions)
    memory = policy.start(encoding, num_solutions, dropout_mask)
    return play_on(policy, instances, encoding, state, memory, choose, first=first, tape=tape)


@torch.no_grad()
def play_on(
    policy: Policy,
    instances: Instances,
    encoding: Encoding,
    state: State,
    memory: Memory,
    choose: Choice,
    done: int = 0,
    first: Tensor | None = None,
    tape: Tape | None = None,
) -> Tensor:
    """What follows a state until every tour is closed.

    Args:
        policy: gives the logits.
        instances: N problems.
        encoding: of the same instances, detached.
        state: of K solutions each.
        memory: of the same solutions.
        choose: as for `rollout`; its steps count from 0 here.
        done: number of steps that led to the state.
        first: as for `rollout`.
        tape: as for `rollout`.

    Returns:
        (N, K, T) int64 actions from here on, padded with 0; T is the longest rest's number of
        steps.

    Raises:
        RuntimeError, FloatingPointError: as `rollout`.
    """
    most = max_steps(instances)
    tours = policy.play(encoding, instances, state, most - done, choose, first, tape)
    if tours is not None:
        return tours
    actions = []
    for t in range(most - done):
        legal = legal_mask(instances, state)
        logits, memory = policy.step(encoding, memory, state, legal, tape)
        action = choose(logits, t)
        if first is not None and t == 0:
            action = torch.where(first < 0, action, first)
        state = step(instances, state, action)
        actions.append(action)
        steps = done + t
        if steps > instances.num_customers and t % _CHECK_EVERY == 0 and finished(state).all():
            break
    else:
        if not finished(state).all():
            raise not_closed("a tour", most, logits)
    tours = torch.stack(actions, -1)
    # A closed tour waits at the depot: all but one of the last zeros are padding.
    visits = (tours != 0).any(0).any(0).nonzero()
    return tours[..., : int(visits.max()) + 2 if len(visits) else 1]


def not_closed(what: str, steps: int, logits: Tensor) -> Exception:
    """The error of tours that are open after all steps, by the logits of the last one."""
    if logits.isnan().any():  # every choice among them is the same node
        return FloatingPointError("the policy's logits are not numbers")
    return RuntimeError(f"{what} is not closed after {steps} steps, more than any can need")
