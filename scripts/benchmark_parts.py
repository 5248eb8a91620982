"""What was tried for the attention policy's speed: `python scripts/benchmark_parts.py -C 20`.

Times the parts of a training step as they are against other ways to compute the same, side by
side on this machine, in milliseconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/benchmark_parts.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.arguments import whole  # noqa: E402
from scripts.cores import Reading, choose_waiting  # noqa: E402
from scripts.heap import settle_heap  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

    from vrp.policy.attention import AttentionEncoding, AttentionPolicy
    from vrp.policy.base import Tape
    from vrp.problem import Instances

WIDTH, HEADS = 128, 8
Ways = dict[str, Callable[[], object]]  # to compute one thing; the first is the one that is used


def main(arguments: list[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-C", "--customers", type=int, default=20, choices=(10, 20, 50, 100))
    parser.add_argument("--batch-size", type=whole(1), default=64)
    parser.add_argument("--repeats", type=whole(1), default=30)
    parser.add_argument("--threads", type=whole(1), help="of the CPU")
    options = parser.parse_args(arguments)
    choose_waiting(Reading.now())
    import torch

    from vrp.training.device import set_up_device

    set_up_device("cpu", options.threads)
    print(
        f"C = {options.customers}, batch {options.batch_size}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}; median of {options.repeats}, milliseconds"
    )
    for name, ways in parts(options.customers, options.batch_size).items():
        timed = {way: median(run, options.repeats) for way, run in ways.items()}
        first = next(iter(timed.values()))
        print(name)
        for way, milliseconds in timed.items():
            ratio = "" if milliseconds == first else f"  x {milliseconds / first:.2f}"
            print(f"  {way:<44}{milliseconds:9.3f}{ratio}")
    return 0


def median(run: Callable[[], object], repeats: int) -> float:
    """Milliseconds, after a few runs that do not count."""
    for _ in range(4):
        run()
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return 1000 * sorted(seconds)[repeats // 2]


def parts(customers: int, batch_size: int) -> dict[str, Ways]:
    """The ways to compute each part."""
    return {**_products(customers, batch_size), **_trunk(customers, batch_size),
            **_decoder(customers, batch_size)}  # fmt: skip


def _products(customers: int, batch_size: int) -> dict[str, Ways]:
    import torch
    from torch.nn.functional import linear, scaled_dot_product_attention

    from vrp.policy.native.trunk import attend
    from vrp.policy.trunk import TrunkLayer, TrunkShape

    rows, nodes = batch_size * (customers + 1), customers + 1
    x, weight = torch.randn(rows, WIDTH), torch.randn(4 * WIDTH, WIDTH)
    half, half_weight = x.bfloat16(), weight.bfloat16()
    first = half.view(batch_size, nodes, WIDTH).mT.contiguous()
    projected = torch.randn(batch_size, nodes, 3 * WIDTH).bfloat16().requires_grad_()
    grad = torch.randn(batch_size, nodes, WIDTH).bfloat16()
    layer = TrunkLayer(TrunkShape(1, WIDTH, HEADS, WIDTH, "rms", True, "bfloat16"))

    def both_ways(attention: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(attention(projected), projected, grad)

    def in_one_call(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        def attention(projected: Tensor) -> Tensor:
            heads = projected.to(dtype).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
            seen = scaled_dot_product_attention(*heads.unbind(0))
            return seen.to(projected.dtype).transpose(1, 2).flatten(2)

        return attention

    return {
        "trunk: product with a 128 x 512 weight": {
            "bfloat16, inputs rounded first": lambda: linear(x.bfloat16(), half_weight),
            "bfloat16": lambda: linear(half, half_weight),
            "bfloat16, channels first": lambda: half_weight @ first,
            "float32": lambda: linear(x, weight),
        },
        "trunk: attention of all nodes, forward and backward": {
            "C++": both_ways(lambda projected: attend(projected, HEADS)),
            "PyTorch, written out up to 64 nodes": both_ways(layer._attend),
            "PyTorch's fused call": both_ways(in_one_call(torch.float32)),
            "PyTorch's fused call, bfloat16": both_ways(in_one_call(torch.bfloat16)),
        },
    }


def _trunk(customers: int, batch_size: int) -> dict[str, Ways]:
    import torch
    from torch import nn

    from vrp.policy.normalisation import InstanceNorm
    from vrp.policy.trunk import Trunk, TrunkShape

    x = torch.randn(batch_size, customers + 1, WIDTH, requires_grad=True)
    grad = torch.randn(x.shape)
    first = x.detach().mT.contiguous().requires_grad_()
    first_grad = grad.mT.contiguous()
    norm, theirs = InstanceNorm(WIDTH), nn.InstanceNorm1d(WIDTH, affine=True)

    def both_ways(network: Callable) -> Callable[[], object]:
        return lambda: network(x).backward(grad)

    def trunk(precision: str, in_cpp: bool = False) -> Trunk:
        made = Trunk(TrunkShape(6, WIDTH, HEADS, 4 * WIDTH, "instance", True, precision))
        for layer in made:
            layer.is_native = in_cpp
        return made

    return {
        "trunk: instance normalisation, forward and backward": {
            "ours": both_ways(norm),
            "PyTorch's": both_ways(lambda nodes: theirs(nodes.transpose(1, 2)).transpose(1, 2)),
            "PyTorch's, channels first": lambda: theirs(first).backward(first_grad),
        },
        "trunk: 6 layers, forward and backward": {
            "bfloat16 products, attention in C++": both_ways(trunk("bfloat16", True)),
            "float32, attention in C++": both_ways(trunk("float32", True)),
            "bfloat16 products": both_ways(trunk("bfloat16")),
            "float32": both_ways(trunk("float32")),
            "bfloat16 products, torch.compile": both_ways(torch.compile(trunk("bfloat16"))),
        },
    }


@dataclass(frozen=True)
class _Game:
    """A batch with its encoding, and a tour from each customer with all that was recorded.

    Attributes:
        instances: N problems of a paper's size.
        policy: of one precision, as it is initialised.
        encoding: with gradient.
        tours: (N, C, T) int64, sampled.
        tape: of the same tours; None where it would be too large.
        again: plays the same tours again.
    """

    instances: Instances
    policy: AttentionPolicy
    encoding: AttentionEncoding
    tours: Tensor
    tape: Tape | None
    again: Callable[[], Tensor]

    @classmethod
    def play(cls, customers: int, batch_size: int, precision: str, in_cpp: bool) -> _Game:
        """The same instances and random numbers in every way."""
        import torch

        from vrp.policy import AttentionPolicy
        from vrp.policy.choice import Choice
        from vrp.policy.encoders import LinearEncoder
        from vrp.problem import UniformGenerator
        from vrp.problem.datasets import CAPACITY
        from vrp.problem.environment import max_steps
        from vrp.search.rollout import rollout
        from vrp.search.starts import each_customer

        random = torch.Generator().manual_seed(0)
        instances = UniformGenerator(customers, CAPACITY[customers])(batch_size, random)
        policy = AttentionPolicy(LinearEncoder(WIDTH), precision=precision)
        policy.initialise(0)
        if in_cpp:
            policy.compile_kernels()
        encoding, most = policy.encode(instances), max_steps(instances)
        fixed = encoding.detach()
        tape = policy.new_tape(fixed, customers, most)
        choose = Choice(torch.rand(most, batch_size, customers, generator=random))
        first = each_customer(instances)
        again = partial(rollout, policy, instances, fixed, customers, choose, first, None, tape)
        return cls(instances, policy, encoding, again(), tape, again)

    def replay(self, tape: Tape | None) -> None:
        """Forward and backward, down to the decoder's tables."""
        import torch

        found = self.policy.log_probs(self.encoding, self.instances, self.tours, 1, tape=tape)
        tables = self.encoding.tables
        torch.autograd.grad(found.log_prob.sum(), [tables.scores, tables.outputs])


def _decoder(customers: int, batch_size: int) -> dict[str, Ways]:
    games = {
        f"{name}, {precision}": _Game.play(customers, batch_size, precision, name == "C++")
        for name in ("C++", "PyTorch")
        for precision in ("bfloat16", "float32")
    }
    replays = {}
    for name, game in games.items():
        if game.tape is not None:
            replays[f"{name}, from the tape"] = partial(game.replay, game.tape)
        replays[f"{name}, without"] = partial(game.replay, None)
    return {
        "decoder: tables": _tables(games["PyTorch, float32"]),
        "decoder: all steps": {name: game.again for name, game in games.items()},
        "decoder: replay, forward and backward": replays,
        **_step(games["PyTorch, float32"]),
    }


def _tables(game: _Game) -> Ways:
    """Exponentials of scores for each node and each load."""
    import torch

    from vrp.policy.glimpse import make_factors
    from vrp.policy.native import glimpse as native

    tables = game.encoding.detach().tables
    scores, per_load = (x.unflatten(-1, (HEADS, -1)) for x in (tables.scores, tables.per_load))
    most = int(game.instances.capacity.max())
    made_of = scores, per_load, tables.outputs, tables.scale, most, torch.bfloat16
    return {
        "C++": partial(native.make_factors, *made_of),
        "PyTorch": partial(make_factors, *made_of),
    }


def _step(game: _Game) -> dict[str, Ways]:
    """The parts of the second step."""
    import torch

    from vrp.policy.choice import Choice
    from vrp.policy.glimpse import glimpse_weights
    from vrp.problem.environment import legal_mask, reset, step

    instances, tables = game.instances, game.encoding.detach().tables
    state = step(instances, reset(instances, instances.num_customers), game.tours[..., 0])
    legal = legal_mask(instances, state)
    is_legal, rows = legal.float(), tables.scores.flatten(0, 1)
    at = (state.position + torch.arange(0, len(rows), instances.num_nodes)[:, None]).flatten()
    load = (state.load * tables.scale[:, None])[..., None]

    def softmax() -> Tensor:
        scores = rows.index_select(0, at).view(*load.shape[:2], -1)
        by_head = (scores + load * tables.per_load[:, None]).unflatten(-1, (HEADS, -1))
        return by_head.masked_fill(~legal[:, :, None], -torch.inf).softmax(-1).flatten(-2)

    weights = softmax()
    raw = torch.bmm(weights, tables.outputs)
    logits = raw.masked_fill(~legal, -torch.inf)
    uniforms = torch.rand(1, *state.load.shape, generator=torch.Generator().manual_seed(0))
    choose = Choice(uniforms)

    def counted() -> Tensor:
        cumulated = logits.softmax(-1).cumsum(-1)
        return (cumulated <= (uniforms[0] * cumulated[..., -1])[..., None]).sum(-1)

    return {
        "decoder in PyTorch: weights of a step": {
            "products of two factors": lambda: glimpse_weights(
                tables, state.position, state.load, is_legal
            ),
            "masked softmax": softmax,
            "masked softmax, torch.compile": torch.compile(softmax),
        },
        "decoder in PyTorch: product of a step": _step_products(game, weights),
        "decoder in PyTorch: 10 tanh of a step": {
            "20 sigmoid - 10": lambda: raw.mul(2).sigmoid_().mul_(20).sub_(10),
            "tanh": lambda: raw.tanh().mul_(10),
        },
        "decoder in PyTorch: mask of a step": {
            "subtract 1 / legal - 1": lambda: raw - is_legal.reciprocal().sub_(1),
            "masked_fill": lambda: raw.masked_fill(~legal, -torch.inf),
        },
        "decoder in PyTorch: sample of a step": {
            "bisection": lambda: choose(logits, 0),
            "counting": counted,
        },
    }


def _step_products(game: _Game, weights: Tensor) -> Ways:
    """From attention weights (N, C, H V) to the pointer's scores (N, C, V)."""
    import torch

    encoding = game.encoding.detach()
    n, customers, _ = weights.shape
    outputs = encoding.tables.outputs
    half, half_outputs = weights.bfloat16(), outputs.bfloat16()
    by_head = weights.unflatten(-1, (HEADS, -1)).transpose(1, 2).flatten(0, 1)
    values = encoding.values.flatten(0, 1)
    keys = encoding.pointer_keys.transpose(1, 2).contiguous()

    def in_two() -> Tensor:
        seen = torch.bmm(by_head, values).view(n, HEADS, customers, -1)
        return torch.bmm(seen.transpose(1, 2).reshape(n, customers, WIDTH), keys)

    return {
        "one table, bfloat16": lambda: torch.bmm(half, half_outputs),
        "one table, float32": lambda: torch.bmm(weights, outputs),
        "values, then projected keys, float32": in_two,
    }


if __name__ == "__main__":
    settle_heap()
    sys.exit(main())
