"""Our training steps and RL4CO's in turn: `python scripts/benchmark_rl4co.py experiment=pomo20`.

Takes the keys of benchmark.py, as far as RL4CO has the same (peers.py), for the CPU:

    python scripts/benchmark_rl4co.py experiment=pomo20   # a tour from each of 20 customers
    python scripts/benchmark_rl4co.py experiment=pomo50
    python scripts/benchmark_rl4co.py experiment=kool20   # a single start, greedy-rollout baseline

Each code runs in a process of its own, with all cores for whoever's turn it is, so their ratios are
known better than any rate. RL4CO runs twice: as its users start it, and with the settings of malloc
that this project's programs start with (heap.py).
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/benchmark_rl4co.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.heap import settle_heap, usual_heap  # noqa: E402

if __name__ == "__main__":
    settle_heap()  # before the imports that take time

from scripts.launcher import Job, launch  # noqa: E402
from scripts.schema import BenchmarkConfig  # noqa: E402
from scripts.turns import Player  # noqa: E402

_WIDTH = 24  # of a name
_DECODINGS = 9
_FIRST_DECODINGS = 3  # not counted: their memory is new to the process


def prepare(job: Job) -> Callable[[], None]:
    """Check that both can do what the config says."""
    from scripts.peers import check_comparable

    if job.config["device"] == "cuda":
        raise ValueError("device is cuda; this comparison is for the CPU")
    check_comparable(job.config)
    return partial(measure, job.config)


def measure(config: dict) -> None:
    """Let both take turns, and print."""
    import torch

    from scripts import peers
    from vrp.training.build import build_generator
    from vrp.training.provenance import versions

    own, other = peers.names()
    names = [own, other, f"{other}, our malloc"]
    batch, decoded = config["batch_size"], config["decoded"]
    problem, layers = config["problem"]["num_customers"], config["policy"]["num_layers"]
    threads = config["threads"] or torch.get_num_threads()
    print(
        f"C = {problem}, batch {batch}, K = {config['num_rollouts']}, {layers} layers; "
        f"{threads} threads, torch {versions()['torch']}"
    )
    generator = torch.Generator().manual_seed(config["seed"])
    instances = build_generator(config)(decoded, generator)
    with ExitStack() as stack:
        players = [stack.enter_context(Player(peers.Ours, config))]
        with usual_heap():
            players.append(stack.enter_context(Player(peers.Rl4co, config)))
        players.append(stack.enter_context(Player(peers.Rl4co, config)))
        in_turn(players, "step", times=config["warmup"])
        seconds = in_turn(players, "step", times=config["steps"])
        print(f"\ntraining, {config['steps']} steps of each in turn", flush=True)
        report(names, batch, seconds)
        for name, player in zip(names, players, strict=True):
            peak, size = player("peak_memory")[0], player("parameters")[0]
            print(f"{name:<{_WIDTH}} peak memory {peak:.2f} GB, {size:,} parameters", flush=True)
        in_turn(players, "decode", instances, times=_FIRST_DECODINGS)
        seconds = in_turn(players, "decode", instances, times=_DECODINGS)
        print(f"\ngreedy decoding, {decoded:,} instances at once, {_DECODINGS} times each in turn")
        report(names, decoded, seconds)


def in_turn(
    players: list[Player], method: str, *arguments: object, times: int
) -> list[list[float]]:
    """Seconds of each player's turns; who begins changes."""
    seconds: list[list[float]] = [[] for _ in players]
    for turn in range(times):
        order = range(len(players)) if turn % 2 else reversed(range(len(players)))
        for number in order:
            seconds[number].append(players[number](method, *arguments)[1])
    return seconds


def report(names: list[str], instances: int, seconds: list[list[float]]) -> None:
    """Print all rates, and how many times as fast the first is as each of the others.

    That is the median over the turns, and in brackets what the middle half of them say.

    Args:
        names: of the players.
        instances: in a turn.
        seconds: of the turns of each.
    """
    for name, times in zip(names, seconds, strict=True):
        rate = f"{instances / statistics.median(times):,.0f} instances/s"
        ratios = [b / a for a, b in zip(seconds[0], times, strict=True)]
        low, middle, high = statistics.quantiles(ratios, method="inclusive")
        times_as_fast = f", {names[0]} {middle:.2f} times that ({low:.2f} to {high:.2f})"
        print(f"{name:<{_WIDTH}} {rate}{times_as_fast if name != names[0] else ''}")


if __name__ == "__main__":
    launch(prepare, BenchmarkConfig, "benchmark")
