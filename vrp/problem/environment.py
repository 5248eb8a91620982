"""What a vehicle may do next, as pure functions on a small state.

Loads and demands are integers, so no comparison needs a rounding margin. The state holds K
solutions of each instance side by side; the instances themselves are never copied K times.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vrp.problem.instances import Instances


@dataclass(frozen=True)
class State:
    """Where K vehicles of each of N instances stand.

    Attributes:
        position: (N, K) int64, the node last visited; 0 at the start.
        load: (N, K) int64, goods on the vehicle; full after the depot.
        remaining: (N, K, V) int64, demand not yet served; 0 for the depot.
    """

    position: Tensor
    load: Tensor
    remaining: Tensor

    def select(self, index: Tensor) -> State:
        """The solutions at `index`, (N, J) int64 along the second axis."""
        nodes = self.remaining.shape[-1]
        return State(
            position=self.position.gather(1, index),
            load=self.load.gather(1, index),
            remaining=self.remaining.gather(1, index[..., None].expand(-1, -1, nodes)),
        )


@dataclass(frozen=True)
class Seen:
    """What the policy saw before each of T steps of given tours.

    Attributes:
        position: (N, K, T) int64, the node last visited.
        load: (N, K, T) int64.
        remaining: (N, K, T, V) int64, only where deliveries may be split, else None: there the
            demand of a node that may be chosen never changes.
        legal: (N, K, T, V) bool, true where a node may be chosen.
        open: (N, K, T) bool, false once the tour is closed.
    """

    position: Tensor
    load: Tensor
    remaining: Tensor | None
    legal: Tensor
    open: Tensor


def reset(instances: Instances, num_solutions: int) -> State:
    """All vehicles full at the depot, K = `num_solutions` per instance."""
    n, k = len(instances), num_solutions
    return State(
        position=torch.zeros(n, k, dtype=torch.int64, device=instances.device),
        load=instances.capacity[:, None].expand(n, k),
        remaining=instances.node_demand()[:, None].expand(n, k, instances.num_nodes),
    )


def legal_mask(instances: Instances, state: State) -> Tensor:
    """(N, K, V) bool, true where a node may be visited next; never false everywhere.

    A customer is legal while it needs goods and the load covers them (equality included), or,
    with split deliveries, while there is any load. The depot is legal from a customer, and from
    the depot itself only when all is served: there a closed tour waits at no cost.

    Source: Nazari et al. (2018), section 4.2 (masking), with the depot rule of their code.
    """
    return _legal(instances, state.position, state.load, state.remaining)


def step(instances: Instances, state: State, action: Tensor) -> State:
    """The state after visiting `action`, (N, K) int64. Legality is the caller's business."""
    index = action[..., None]
    needed = state.remaining.gather(-1, index)
    served = torch.minimum(needed, state.load[..., None])
    load = torch.where(action == 0, instances.capacity[:, None], state.load - served[..., 0])
    return State(
        position=action,
        load=load,
        remaining=state.remaining.scatter(-1, index, needed - served),
    )


def finished(state: State) -> Tensor:
    """(N, K) bool: everything served and the vehicle back at the depot."""
    return (state.position == 0) & (state.remaining.sum(-1) == 0)


def max_steps(instances: Instances) -> int:
    """A number of steps no legal tour exceeds, over the whole batch.

    Every trip serves at least one customer, so without split deliveries a tour has at most C
    visits and C returns. With them a visit that does not finish its customer empties the
    vehicle, so there are at most floor(total demand / capacity) such visits, each with a return.
    """
    visits = instances.num_customers
    if instances.split_delivery:
        visits += int((instances.demand.sum(-1) // instances.capacity).max())
    return 2 * visits + 1


def seen_before_each_step(instances: Instances, actions: Tensor) -> Seen:
    """What was seen before each step of legal tours, for all steps at once.

    Args:
        instances: N problems.
        actions: (N, K, T) int64, legal tours padded with 0.

    Returns:
        All of it, equal to what `reset` and `step` give one step at a time.
    """
    previous = torch.nn.functional.pad(actions[..., :-1], (1, 0))  # (N, K, T)
    if instances.split_delivery:
        return _seen_step_by_step(instances, actions, previous)
    demand = instances.node_demand()  # (N, V)
    n, k, t = actions.shape
    amount = demand.gather(1, previous.reshape(n, k * t)).view(n, k, t)
    total = amount.cumsum(-1)
    # A running total never falls, so its value at the last depot visit is a running maximum.
    at_depot = torch.where(previous == 0, total, 0).cummax(-1).values
    load = instances.capacity[:, None, None] - (total - at_depot)
    steps = torch.arange(t, device=actions.device)
    visited_at = torch.full((n, k, demand.shape[1]), t, device=actions.device)
    visited_at.scatter_(-1, actions, steps.expand(n, k, t))
    pending = (visited_at[:, :, None] >= steps[:, None]) & (demand > 0)[:, None, None]
    pending[..., 0] = False  # (N, K, T, V)
    legal = pending & (demand[:, None, None] <= load[..., None])
    all_served = ~pending.any(-1)
    is_open = ~((previous == 0) & all_served)
    legal[..., 0] = (previous != 0) | all_served
    return Seen(position=previous, load=load, remaining=None, legal=legal, open=is_open)


def _seen_step_by_step(instances: Instances, actions: Tensor, previous: Tensor) -> Seen:
    state = reset(instances, actions.shape[1])
    loads, remainders, legals, opens = [], [], [], []
    for action in actions.unbind(-1):
        loads.append(state.load)
        remainders.append(state.remaining)
        legals.append(legal_mask(instances, state))
        opens.append(~finished(state))
        state = step(instances, state, action)
    return Seen(
        position=previous,
        load=torch.stack(loads, 2),
        remaining=torch.stack(remainders, 2),
        legal=torch.stack(legals, 2),
        open=torch.stack(opens, 2),
    )


def _legal(instances: Instances, position: Tensor, load: Tensor, remaining: Tensor) -> Tensor:
    pending = remaining > 0
    if instances.split_delivery:
        legal = pending & (load > 0)[..., None]
    else:
        legal = pending & (remaining <= load[..., None])
    legal[..., 0] = (position != 0) | (remaining.sum(-1) == 0)
    return legal
