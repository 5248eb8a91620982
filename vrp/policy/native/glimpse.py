"""The attention decoder in one call for whole tours, and their replay (`glimpse.cpp`).

The same as `vrp.policy.glimpse` step by step and `vrp.policy.glimpse_replay`, whose letters,
shapes and rounding it keeps; products of bfloat16 are not rounded again when they are added up.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from vrp.policy.choice import Choice
from vrp.policy.glimpse import Factors, Tables, table_of_loads
from vrp.policy.native.calls import MOST_NODES, address, call
from vrp.policy.native.library import library
from vrp.policy.native.records import (
    FactorsRecord,
    GradientsRecord,
    PlayRecord,
    tables_record,
    tape_record,
)
from vrp.policy.native.tape import StepTape
from vrp.problem.environment import State, reset
from vrp.problem.instances import Instances

_MOST_GOODS = 2**31 - 1  # they count in 32 bits
_LIKELIEST = Choice()


def fits(instances: Instances, most_load: int | None, dtype: torch.dtype) -> bool:
    """Whether the loops take such instances.

    Args:
        instances: N problems.
        most_load: their largest capacity; None if it is not known.
        dtype: of the products.
    """
    takes = dtype == torch.float32 or library("glimpse").glimpse_takes_bfloat16()
    return bool(
        takes
        and most_load is not None
        and most_load <= _MOST_GOODS
        and instances.device.type == "cpu"
        and instances.num_nodes <= MOST_NODES
        and not instances.split_delivery
    )


@torch.no_grad()
def make_factors(
    scores: Tensor,
    per_load: Tensor,
    outputs: Tensor,
    scale: Tensor,
    most_load: int,
    dtype: torch.dtype,
) -> Factors:
    """As `vrp.policy.glimpse.make_factors`."""
    n, v, heads, _ = scores.shape
    has_loads = table_of_loads(most_load, v)
    loads = most_load + 1 if has_loads else 0
    by_node = scores.new_empty(n, v, heads * v)
    by_load = scores.new_empty(n, loads, heads * v) if has_loads else None
    below_zero = scores.new_empty(n, heads * v)
    if scores.stride(-1) != 1:
        scores = scores.contiguous()
    per_load = per_load.contiguous()
    record = FactorsRecord(
        scores.data_ptr(), *scores.stride()[:3], address(per_load), address(scale),
        n, v, heads, loads, *map(address, (by_node, by_load, below_zero)),
    )  # fmt: skip
    call("glimpse", "glimpse_factors", record)
    return Factors(by_node, by_load, below_zero, outputs.detach().to(dtype))


def play(
    tables: Tables,
    instances: Instances,
    state: State,
    most: int,
    choice: Choice,
    first: Tensor | None = None,
    tape: StepTape | None = None,
) -> Tensor:
    """The rest of K tours of each instance: (N, K, T) int64, padded with 0.

    Args:
        tables: of N instances, detached.
        instances: the same.
        state: of K solutions each.
        most: steps that no tour exceeds.
        choice: its steps count from 0 here.
        first: (N, K) int64, nodes imposed on the first step; below 0 leaves it to `choice`.
        tape: each step is recorded on it.

    Raises:
        FloatingPointError: if a logit is not a number.
        IndexError: if `first` has a node that there is not.
        ValueError: if the numbers of the choice or the tape are of another shape.
    """
    n, k = state.position.shape
    if choice.uniforms is not None:
        rows, *shape = choice.uniforms.shape
        if rows < most or shape != [n, k]:
            raise ValueError(
                f"uniforms are {tuple(choice.uniforms.shape)}; "
                f"they must be ({most} or more, {n}, {k})"
            )
    if tape is not None and tape.position.shape != (n, most, k):
        raise ValueError(
            f"the tape is of {tuple(tape.position.shape)} steps; it must be of {(n, most, k)}"
        )
    if first is not None:
        _check_nodes(first.clamp(min=0), instances)
    actions = torch.zeros(n, k, most, dtype=torch.int64)
    steps = _run(tables, instances, state, most, actions, tape, choice, first)
    return actions[..., : max(1, steps)]


def recorded(tables: Tables, instances: Instances, actions: Tensor) -> StepTape:
    """The tape of legal tours (N, K, T) int64 from the depot, padded with 0.

    Raises:
        IndexError: if one visits a node that there is not.
    """
    _check_nodes(actions, instances)
    _, k, steps = actions.shape
    tape = StepTape.make(tables, k, steps)
    _run(tables, instances, reset(instances, k), steps, None, tape, given=actions.contiguous())
    return tape


def _check_nodes(nodes: Tensor, instances: Instances) -> None:
    if nodes.numel() and not 0 <= nodes.min() <= nodes.max() < instances.num_nodes:
        raise IndexError(
            f"the tours visit nodes {nodes.min()} to {nodes.max()}; "
            f"those of the instances are 0 to {instances.num_nodes - 1}"
        )


def replay_tours(
    tables: Tables, instances: Instances, actions: Tensor, tape: StepTape | None
) -> tuple[Tensor, Tensor, Tensor]:
    """As `vrp.policy.glimpse_replay.replay_tours`."""
    if tape is None:
        tape = recorded(tables.detach(), instances, actions)
    steps = actions.shape[-1]
    return *replay(tables, tape, steps), tape.position[:, :steps] >= 0


def replay(tables: Tables, tape: StepTape, steps: int) -> tuple[Tensor, Tensor]:
    """Log-probability of each action and entropy of its distribution, (N, T, K) each.

    Differentiable in scores, per_load, outputs and bias of the tables.

    Args:
        tables: of N instances.
        tape: recorded with just these.
        steps: T, of those on the tape.
    """
    learned = tables.scores, tables.per_load, tables.outputs, tables.bias
    return _Replay.apply(tables.detach(), tape, steps, *learned)


class _Replay(torch.autograd.Function):
    """What the tape holds, and the gradient of the tables that it was made with."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, tables: Tables, tape: StepTape, steps: int, *learned: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """As `replay`; `learned` only carries the gradient."""
        ctx.set_materialize_grads(False)
        ctx.tables, ctx.steps = tables, steps
        # So that autograd notices when the tape has been used again meanwhile.
        ctx.save_for_backward(*tape.tensors())
        return tape.log_prob[:, :steps].clone(), tape.entropy[:, :steps].clone()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, for_log_prob: Tensor | None, for_entropy: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Three times None, then the gradients of the learned tables."""
        tables, tape = ctx.tables, StepTape(*ctx.saved_tensors)
        n, most, k = tape.position.shape
        if for_log_prob is None:
            for_log_prob = torch.zeros(n, ctx.steps, k)
        for_log_prob = for_log_prob.contiguous()
        for_entropy = None if for_entropy is None else for_entropy.contiguous()
        wanted = any(ctx.needs_input_grad[3:5])
        scores, per_load = (
            torch.empty_like(x) if wanted else None for x in (tables.scores, tables.per_load)
        )
        outputs, bias = torch.empty_like(tables.outputs), torch.empty_like(tables.bias)
        gradients = GradientsRecord(
            *map(address, (for_log_prob, for_entropy)), ctx.steps, most, k, tape_record(tape),
            *map(address, (scores, per_load, outputs, bias)),
        )  # fmt: skip
        call("glimpse", "glimpse_learn", tables_record(tables), gradients)
        return None, None, None, scores, per_load, outputs, bias


def _run(
    tables: Tables,
    instances: Instances,
    state: State,
    most: int,
    actions: Tensor | None,
    tape: StepTape | None,
    choice: Choice = _LIKELIEST,
    first: Tensor | None = None,
    given: Tensor | None = None,
) -> int:
    """Play into `actions`, by a choice or as given; the longest tour's number of steps."""
    n, k = state.position.shape
    if len(tables.bias) != n:
        raise ValueError(f"the tables are of {len(tables.bias)} instances; they must be of {n}")
    remaining = state.remaining
    if remaining.stride(-1) != 1:
        remaining = remaining.contiguous()
    goods = [x.contiguous() for x in (instances.capacity, state.position, state.load)]
    uniforms = None if choice.uniforms is None else choice.uniforms.contiguous()
    first = None if first is None else first.contiguous()
    steps = torch.empty(n, dtype=torch.int32)
    whole = torch.int64
    record = PlayRecord(
        *(address(x, whole) for x in goods), remaining.data_ptr(), *remaining.stride()[:2],
        address(first, whole), address(given, whole), address(uniforms), choice.temperature,
        k, most, tape_record(tape), address(actions, whole), address(steps, torch.int32),
    )  # fmt: skip
    call("glimpse", "glimpse_play", tables_record(tables), record)
    if tape is not None:
        torch.autograd.graph.increment_version(tape.tensors())
    if int(steps.min()) < 0:
        raise FloatingPointError("the policy's logits are not numbers")
    return int(steps.max())
