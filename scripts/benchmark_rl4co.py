"""Our training steps and RL4CO's in turn: `python scripts/benchmark_rl4co.py experiment=pomo20`.

Takes the keys of benchmark.py, as far as RL4CO has the same (peers.py), for the CPU:

    python scripts/benchmark_rl4co.py experiment=pomo20   # a tour from each of 20 customers
    python scripts/benchmark_rl4co.py experiment=pomo50
    python scripts/benchmark_rl4co.py experiment=kool20   # a single start, greedy-rollout baseline

Each code runs in a process of its own, with all cores for whoever's turn it is, so their ratio is
known better than either rate. `warmup` and `steps` count turns, each of a second, or of a step that
takes longer. Both start with this project's settings of malloc (heap.py), which do RL4CO no harm.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path
from statistics import median, quantiles
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/benchmark_rl4co.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.heap import settle_heap  # noqa: E402

if __name__ == "__main__":
    settle_heap()  # before the imports that take time

from scripts.launcher import Job, launch  # noqa: E402
from scripts.schema import BenchmarkConfig  # noqa: E402
from scripts.turns import Player  # noqa: E402

_TURN = 1.0  # seconds, after which memory and caches are a code's own again
_DECODINGS = 9
_FIRST_DECODINGS = 3  # not counted: their memory is new to the process


def prepare(job: Job) -> Callable[[], None]:
    """Check that both can do what the config says."""
    from scripts.peers import check_comparable

    if job.config["device"] == "cuda":
        raise ValueError("device is cuda; this comparison is for the CPU")
    if job.config["steps"] < 2:
        raise ValueError(f"steps is {job.config['steps']}; it must be at least 2")
    check_comparable(job.config)
    return partial(measure, job.config)


def measure(config: dict) -> None:
    """Let both take turns, and print."""
    import torch

    from scripts import peers
    from vrp.training.build import build_generator
    from vrp.training.provenance import versions

    names = peers.names()
    batch, decoded = config["batch_size"], config["decoded"]
    problem, layers = config["problem"]["num_customers"], config["policy"]["num_layers"]
    threads = config["threads"] or torch.get_num_threads()
    print(
        f"C = {problem}, batch {batch}, K = {config['num_rollouts']}, {layers} layers; "
        f"{threads} threads, torch {versions()['torch']}"
    )
    generator = torch.Generator().manual_seed(config["seed"])
    instances = build_generator(config)(decoded, generator)
    with Player(peers.Ours, config) as ours, Player(peers.Rl4co, config) as theirs:
        players = [ours, theirs]
        in_turn(players, "train", _TURN, 0.0, inf, times=config["warmup"])
        turns = in_turn(players, "train", _TURN, 0.0, inf, times=config["steps"])
        print(f"\ntraining, {config['steps']} turns of each", flush=True)
        report(names, [[batch * steps / spent for (steps, spent), _ in own] for own in turns])
        for name, player in zip(names, players, strict=True):
            peak, size = player("peak_memory")[0], player("parameters")[0]
            print(f"{name:<12} peak memory {peak:.2f} GB, {size:,} parameters", flush=True)
        in_turn(players, "decode", instances, times=_FIRST_DECODINGS)
        turns = in_turn(players, "decode", instances, times=_DECODINGS)
        print(f"\ngreedy decoding, {decoded:,} instances at once, {_DECODINGS} times each")
        report(names, [[decoded / spent for _, spent in own] for own in turns])


def in_turn(
    players: list[Player], method: str, *arguments: object, times: int
) -> list[list[tuple[Any, float]]]:
    """What each player's calls give, and their seconds; who begins changes."""
    found: list[list] = [[] for _ in players]
    for turn in range(times):
        order = range(len(players)) if turn % 2 else reversed(range(len(players)))
        for number in order:
            found[number].append(players[number](method, *arguments))
    return found


def report(names: tuple[str, str], rates: list[list[float]]) -> None:
    """Print both rates, and how many times as fast the first is.

    Args:
        names: of the two.
        rates: instances per second in the turns of each.
    """
    for name, own in zip(names, rates, strict=True):
        print(f"{name:<12} {median(own):,.0f} instances/s")
    ratios = [ours / theirs for ours, theirs in zip(*rates, strict=True)]
    low, middle, high = quantiles(ratios, method="inclusive")
    print(
        f"{names[0]} is {middle:.2f} times as fast (median of the turns; the middle half of them: "
        f"{low:.2f} to {high:.2f})",
        flush=True,
    )


if __name__ == "__main__":
    launch(prepare, BenchmarkConfig, "benchmark")
