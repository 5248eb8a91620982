"""How fast a training step is here, by its parts: `python scripts/benchmark.py problem=vrp10`.

It is the trainer's own step. A baseline with a warm-up is measured after it; comparisons at the end
of an epoch and validations are not part of a step. The attention policy's figures come from

    python scripts/benchmark.py experiment=pomo20   # a tour from each of 20 customers, batch 64
    python scripts/benchmark.py experiment=pomo50   # the same at 50, with its peak memory
    python scripts/benchmark.py experiment=kool20   # a single start, greedy-rollout baseline
    python scripts/benchmark.py experiment=kool50   # its greedy decoding at 50
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from vrp.policy.base import Policy
    from vrp.problem import InstanceGenerator, Instances
    from vrp.search import Solution
    from vrp.training.learner import Learner

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/benchmark.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.heap import settle_heap  # noqa: E402

if __name__ == "__main__":
    settle_heap()  # before the imports that take time

from scripts.launcher import Job, launch  # noqa: E402
from scripts.memory import peak_memory  # noqa: E402
from scripts.schema import BenchmarkConfig  # noqa: E402

_COUNTED = 8  # instances of the step whose arithmetic is counted
_DECODINGS = 9
_FIRST_DECODINGS = 3  # not counted: their memory is new to the process
# Others' code, instances per second, by what `step_setting` and `decoding_setting` say.
OTHERS: dict[tuple, dict[str, int]] = {
    ("step", 20, 20, True, 64, 128, "AttentionPolicy", 6, "SharedBaseline"): {
        "POMO's own code": 286,
        "RL4CO": 243,
    },
    ("step", 50, 50, True, 64, 128, "AttentionPolicy", 6, "SharedBaseline"): {
        "RL4CO": 49,
        "POMO's own code": 47,
    },
    ("step", 20, 1, False, 512, 128, "AttentionPolicy", 3, "RolloutBaseline"): {
        "RL4CO": 557,
        "Kool et al.'s code": 366,
    },
    ("step", 20, 1, False, 512, 128, "PointerPolicy", None, "CriticBaseline"): {
        "a PyTorch port of the paper": 266,
    },
    ("step", 10, 1, False, 512, 128, "PointerPolicy", None, "CriticBaseline"): {
        "a PyTorch port of the paper": 548,
    },
    ("decoding", 20, 1024, 128, "AttentionPolicy", 3): {"Kool et al.'s code": 2207},
    ("decoding", 50, 1024, 128, "AttentionPolicy", 3): {"Kool et al.'s code": 725},
}
PARTS = ("generate", "encode", "rollout", "baseline", "replay", "backward", "optimizer")


def prepare(job: Job) -> Callable[[], None]:
    """Build the learner that the config names."""
    import torch

    from vrp.training.build import build_generator
    from vrp.training.compilation import missing_for_compile
    from vrp.training.device import set_up_device

    config = job.config
    device = set_up_device(config["device"], config["threads"])
    generator = build_generator(config)
    clock = Clock(device.type == "cuda")
    learner, step = make_step(config, generator, device, clock)
    if config["compile"] == "auto" and learner.policy.has_kernels(device):
        if missing := missing_for_compile(learner.policy, device):
            print(f"not compiled: {missing}")
        else:
            learner.compile_kernels()

    def count_work() -> float:
        # Not compiled: the counter does not see what fused loops do.
        _, plain = make_step(config | {"batch_size": _COUNTED}, generator, device, clock)
        return operations(plain) / _COUNTED

    to_decode = generator(config["decoded"], torch.Generator().manual_seed(config["seed"])).to(
        device
    )
    return lambda: measure(
        config,
        step,
        lambda: decode(learner.policy.eval(), to_decode, clock),
        count_work,
        clock,
        device,
        learner.policy.is_compiled,
    )


def make_step(
    config: dict, generator: InstanceGenerator, device: torch.device, clock: Clock
) -> tuple[Learner, Callable[[], None]]:
    """A learner past its baseline's warm-up, and its next training step."""
    from vrp.training.build import build_learner
    from vrp.training.step import TrainingStep, make_optimizer

    learner = build_learner(config, generator)
    learner.to(device).train()
    learner.policy.initialise(config["seed"])
    learner.baseline.initialise(config["seed"], learner.policy)
    learner.baseline.end_warmup()
    training_step = TrainingStep(
        config, generator, learner, make_optimizer(config, learner), device
    )
    done = count()

    def step() -> None:
        number = next(done)
        clock.start()
        training_step(number, number * config["batch_size"], clock.lap)

    return learner, step


def decode(policy: Policy, instances: Instances, clock: Clock) -> Solution:
    """What `Greedy` does, part by part."""
    import torch

    from vrp.search.rollout import greedy_choice, rollout
    from vrp.search.solution import shortest

    with torch.no_grad():
        clock.start()
        encoding = policy.encode(instances)
        clock.lap("encode")
        tours = rollout(policy, instances, encoding, 1, greedy_choice)
        clock.lap("rollout")
        found = shortest(instances, tours)
        clock.lap("judge")
    return found


def step_setting(config: dict) -> tuple:
    """What a step's speed hangs on: C, K, multi-start, batch, M, policy, its layers, baseline."""
    return (
        "step",
        config["problem"]["num_customers"],
        config["num_rollouts"],
        config["multistart"],
        config["batch_size"],
        config["embedding_dim"],
        _class(config["policy"]),
        config["policy"].get("num_layers"),
        _class(config["baseline"]),
    )


def decoding_setting(config: dict) -> tuple:
    """What the speed of greedy decoding hangs on: C, instances, M, policy, its layers."""
    return (
        "decoding",
        config["problem"]["num_customers"],
        config["decoded"],
        config["embedding_dim"],
        _class(config["policy"]),
        config["policy"].get("num_layers"),
    )


def beside_others(setting: tuple, rate: float, device: torch.device) -> str | None:
    """A line with others' instances per second, and how `rate` compares; None if not known."""
    known = OTHERS.get(setting)
    if known is None or device.type != "cpu":
        return None
    listed = ", ".join(f"{name} {speed:,}" for name, speed in known.items())
    return (
        f"others: {listed} instances/s, on two cores of an AMD EPYC (Zen 5), float32; "
        f"the rate here is {rate / max(known.values()):.1f} times the best of them"
    )


def _class(section: dict) -> str:
    """The name of the class that a section of the config names."""
    return section["_target_"].rpartition(".")[2]


def operations(step: Callable[[], None]) -> int:
    """Floating-point operations of its matrix products."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def measure(
    config: dict,
    step: Callable[[], None],
    decode: Callable[[], object],
    count_work: Callable[[], float],
    clock: Clock,
    device: torch.device,
    is_compiled: Callable[[], bool],
) -> None:
    """Warm up, time, and print; what else takes memory comes after the peak is read."""
    import torch

    from vrp.training.provenance import versions

    for _ in range(config["warmup"]):
        step()
    clock.seconds.clear()
    steps = [clock.timed(step) for _ in range(config["steps"])]
    median = sorted(steps)[len(steps) // 2]
    batch = config["batch_size"]
    problem = config["problem"]
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{device}"
    print(
        f"C = {problem['num_customers']}, batch {batch}, K = {config['num_rollouts']}, "
        f"{_class(config['policy'])}, {_class(config['baseline'])}, "
        f"{'compiled' if is_compiled() else 'eager'}"
    )
    print(f"on {name}, {versions()['threads']} threads, torch {versions()['torch']}")
    total = sum(clock.seconds.values())
    for part in PARTS:
        seconds = clock.seconds.get(part, 0.0)
        print(f"  {part:<10} {1000 * seconds / len(steps):8.1f} ms  {100 * seconds / total:5.1f} %")
    print(f"  {'step':<10} {1000 * median:8.1f} ms  median of {len(steps)}")
    peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else peak_memory()
    rate, work = matrix_rate(device), count_work()
    used = work * batch / median
    print(f"instances per second: {batch / median:.0f} (best step {batch / min(steps):.0f})")
    if line := beside_others(step_setting(config), batch / median, device):
        print(line)
    print(f"solutions per second: {batch * config['num_rollouts'] / median:.0f}")
    print(
        f"matrix work: {work / 1e6:.1f} MFLOP per instance, "
        f"{used / 1e9:.1f} GFLOP/s, {100 * used / rate:.0f} % of this machine's own "
        f"{rate / 1e9:.0f} GFLOP/s (float32, 2048 x 2048)"
    )
    print(f"peak memory: {peak:.2f} GB, Python and PyTorch included, validation not")
    for _ in range(_FIRST_DECODINGS):
        decode()
    clock.seconds.clear()
    times = sorted(clock.timed(decode) for _ in range(_DECODINGS))
    total = sum(clock.seconds.values())
    parts = (f"{part} {100 * spent / total:.0f} %" for part, spent in clock.seconds.items())
    rate = config["decoded"] / times[_DECODINGS // 2]
    print(
        f"greedy decoding: {rate:.0f} instances/s, {config['decoded']} at once; {', '.join(parts)}"
    )
    if line := beside_others(decoding_setting(config), rate, device):
        print(line)


def matrix_rate(device: torch.device) -> float:
    """Floating-point operations per second of a large float32 matrix product."""
    import torch

    a = torch.randn(2048, 2048, device=device)
    clock = Clock(device.type == "cuda")
    times = [clock.timed(lambda: a @ a) for _ in range(6)]
    return 2 * 2048**3 / min(times[2:])


@dataclass
class Clock:
    """Adds up the time of named parts.

    Attributes:
        waits: whether to wait for the device at each reading.
    """

    waits: bool

    def __post_init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = 0.0

    def now(self) -> float:
        """Seconds, once the device is idle."""
        if self.waits:
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()

    def start(self) -> None:
        """The first part begins."""
        self._since = self.now()

    def lap(self, part: str) -> None:
        """A part ends and the next one begins."""
        now = self.now()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now

    def timed(self, work: Callable[[], object]) -> float:
        """Seconds that `work` takes."""
        begun = self.now()
        work()
        return self.now() - begun


if __name__ == "__main__":
    launch(prepare, BenchmarkConfig, "benchmark")
