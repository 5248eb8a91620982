"""A checkpoint measured on fixed instances: all that is done with it but the printing."""

from __future__ import annotations

import platform
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import torch
from tqdm import tqdm

from vrp.evaluation.fixed import FixedInstances, fixed_instances, outside_training
from vrp.evaluation.result_folder import (
    PICTURE,
    SOLUTIONS,
    SUMMARY,
    Saver,
    default_folder,
    open_folder,
    write_result,
)
from vrp.evaluation.stopping import COMPLETE, TIME_LIMIT, is_out_of_memory
from vrp.evaluation.trained import Trained, find_checkpoint, load_trained
from vrp.problem.datasets import gap_percent
from vrp.problem.random_numbers import named_generator
from vrp.search import Solution
from vrp.search.base import Search
from vrp.search.batches import instances_at_once
from vrp.search.solution import Progress, join
from vrp.training.build import build_search
from vrp.training.compilation import use_kept_kernels
from vrp.training.device import set_up_device
from vrp.training.provenance import versions
from vrp.training.signals import StopSignals
from vrp.training.tour_figure import can_draw, draw_tours

_MOST_NODES = np.iinfo(np.int16).max  # solutions.npz holds nodes as int16
_DRAWN = 8  # instances in tours.png
_STOPPING = "stopping after this piece; again to abort without a result"
# Solved at once unless told otherwise: so many, and fewer where the tables of all pairs of their
# nodes would take more memory than at 100 customers.
_AT_ONCE = 250
_PAIRS = _AT_ONCE * 101**2


@dataclass(frozen=True)
class Outcome:
    """What solving has led to.

    Attributes:
        solution: of the first instances, or of all.
        seconds: that it took.
        work: share of the search's work that was done on all instances, 0 to 1.
        ended: `complete`, `time limit`, the name of a signal, or an error in a line.
        exit_code: 0; 130 or 143 after a signal; 1 after an error.
    """

    solution: Solution
    seconds: float
    work: float
    ended: str
    exit_code: int


@dataclass(frozen=True)
class Evaluation:
    """All that an evaluation needs, checked.

    Attributes:
        trained: the policy.
        fixed: what it has to solve.
        search: how; nothing in it is left to the policy.
        device: where.
        config: as composed, with a number of instances as the batch size; what the rest was made
            from.
        output: folder for the results; exists and can be written.
    """

    trained: Trained
    fixed: FixedInstances
    search: Search
    device: torch.device
    config: dict
    output: Path

    @cached_property
    def outside(self) -> list[str]:
        """How the instances differ from those of training, in words."""
        return outside_training(self.trained.problem, self.fixed.instances)

    def run(self) -> Outcome:
        """Solve all instances, or those of the batches that were begun before an interruption.

        Every batch has random numbers of its own, from the seed and the batch's first instance,
        drawn on the CPU: the same on every device. Of a time limit every batch has what is left,
        in proportion to its share of the instances that are left. An error ends the work, too,
        and loses the batch in which it happens.

        Raises:
            ValueError: if the memory does not suffice for the first batch.
            Exception: any other error in the first batch.
        """
        policy = self.trained.policy.to(self.device)
        instances, size = self.fixed.instances, self.config["batch_size"]
        parts: list[Progress] = []
        error = None
        started = time.perf_counter()
        with StopSignals(_STOPPING) as signals, self._bar() as bar:
            for start in range(0, len(instances), size):
                batch = instances[start : start + size].to(self.device)
                share = self._share(started, len(batch) / (len(instances) - start))
                watch = _Watch(bar, parts, len(batch), share, lambda: signals.received is not None)
                generator = named_generator(self.config["seed"], f"evaluate/{start}")
                try:
                    parts.append(self.search.run(policy, batch, generator, share, watch))
                except Exception as problem:
                    error = self._said(problem)
                    if not parts:
                        raise error from problem
                    break
                if signals.received is not None:
                    break
        solution = join([part.solution for part in parts])
        work = sum(part.share * len(part.solution.cost) for part in parts) / len(instances)
        if error is not None:
            ended = " ".join(str(error).split())
        elif signals.received is not None and (work < 1 or len(solution.cost) < len(instances)):
            ended = signal.Signals(signals.received).name
        else:
            ended = COMPLETE if all(part.share == 1 for part in parts) else TIME_LIMIT
        code = 1 if error is not None else signals.exit_code
        return Outcome(solution, time.perf_counter() - started, work, ended, code)

    def _share(self, started: float, share: float) -> float | None:
        """Seconds for a batch that has this share of the instances that are left."""
        limit = self.search.time_limit
        return None if limit is None else share * max(0.0, started + limit - time.perf_counter())

    def _said(self, problem: Exception) -> Exception:
        if not is_out_of_memory(problem):
            return problem
        return ValueError(
            f"the memory of {self.device} is too small for batch_size={self.config['batch_size']}; "
            f"a lower one {self._smaller_batches()}"
        )

    def _smaller_batches(self) -> str:
        """What another batch size does to the result, in words."""
        if self.search.draws:
            return "draws other random numbers"
        if self.trained.policy.products(self.device) == torch.float32:
            return "finds the same tours, rounding aside"
        return "finds other tours of a few instances, as products are rounded to bfloat16"

    def _bar(self) -> tqdm:
        return tqdm(
            desc=str(self.search),
            total=len(self.fixed.instances),
            unit=" instances",
            leave=False,
            miniters=0,  # pieces of work take unequal times
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total_fmt} "
            "[{elapsed}<{remaining}, {rate_fmt}{postfix}]",
            disable=None,  # no bar where the output is no terminal
        )

    def summary(self, outcome: Outcome) -> dict:
        """What is written to summary.json: plain types only.

        The standard deviation is over the instances, with N in the denominator as in Nazari et
        al. (2018); the gap is None where no reference holds.
        """
        cost = outcome.solution.cost.numpy()
        instances = self.fixed.instances
        capacities = instances.capacity.unique().tolist()
        return {
            "checkpoint": self.config["checkpoint"],
            "checkpoint_file": self.trained.file.name,
            "checkpoint_sha256": self.trained.sha256,
            "trained_instances": self.trained.instances,
            "data": self.config["data"],
            "standard_set": self.fixed.standard,
            "set_instances": self.fixed.total,
            "num_customers": instances.num_customers,
            "capacity": capacities[0] if len(capacities) == 1 else None,
            "outside_training": self.outside,
            "split_delivery": instances.split_delivery,
            "decode": str(self.search),
            "decode_options": {"_target_": self.config["decode"]["_target_"]} | asdict(self.search),
            "decode_overrides": self.search.overrides(),
            "ended": outcome.ended,
            "work": outcome.work,
            "asked_instances": len(instances),
            "instances": len(cost),
            "mean_cost": float(cost.mean()),
            "std_cost": float(cost.std()),
            "standard_error": float(cost.std() / len(cost) ** 0.5),
            **self._gap(cost),
            "seed": self.config["seed"],
            "batch_size": self.config["batch_size"],
            "seconds": outcome.seconds,
            "device": str(self.device),
            "device_name": _device_name(self.device),
            "compiled": self.trained.policy.is_compiled(),
            "versions": versions(),
        }

    def _gap(self, cost: np.ndarray) -> dict:
        known = self.fixed.reference()
        if known is None:
            return {"mean_gap_percent": None, "gap_instances": 0, "reference": None}
        gap, count = gap_percent(cost, known.cost)
        described = {
            "solver": f"{known.solver} {known.version}",
            "time_limit": known.time_limit,
            "mean_cost": float(known.cost[:count].mean()),
            "check": None if known.check is None else asdict(known.check),
        }
        return {"mean_gap_percent": gap, "gap_instances": count, "reference": described}

    def write(self, solution: Solution, summary: dict) -> tuple[Path, list[str]]:
        """Write `solutions.npz`, a picture where one can be drawn, and `summary.json`.

        Returns:
            The folder, see `write_result`, and the names of the files.

        Raises:
            OSError: if one cannot be written.
        """
        actions = solution.actions.numpy().astype(np.int16)
        savers: dict[str, Saver] = {
            SOLUTIONS: lambda file: np.savez_compressed(
                file, cost=solution.cost.numpy(), actions=actions
            ),
        }
        if can_draw():
            savers[PICTURE] = lambda file: self._draw(solution, file)
        return write_result(self.output, summary, savers), [*savers, SUMMARY]

    def _draw(self, solution: Solution, file: IO[bytes]) -> None:
        few = slice(0, min(_DRAWN, len(solution.cost)))
        known = self.fixed.reference()
        shown = solution[few]
        costs = known.cost[few].tolist() if known and len(known.cost) >= few.stop else None
        draw_tours(self.fixed.instances[few], shown, costs).savefig(file, format="png", dpi=120)


def make_evaluation(config: dict) -> Evaluation:
    """Everything that the config names, checked before any instance is solved.

    Args:
        config: plain and complete, as `configs/evaluate.yaml` composes it.

    Raises:
        FileNotFoundError: if there is no such checkpoint or data; names what there is.
        ValueError: if something cannot be used; names the thing, and the file.
    """
    device = set_up_device(config["device"], config["threads"])
    search = build_search(config["decode"])
    trained = load_trained(*find_checkpoint(config["checkpoint"]))
    search = search.made_for(trained.policy)
    if config["compile"] == "auto":
        use_kept_kernels(trained.policy, device)
    split = config["split_delivery"]
    if split is None:
        split = bool(trained.problem.get("split_delivery", False))
    fixed = fixed_instances(config["data"], config["limit"], config["capacity"], split)
    if fixed.instances.num_nodes > _MOST_NODES:
        raise ValueError(
            f"{fixed.name} has {fixed.instances.num_nodes} nodes; {SOLUTIONS} numbers them as "
            f"int16, so at most {_MOST_NODES} are possible"
        )
    if config["batch_size"] is None:
        nodes = fixed.instances.num_nodes
        size = instances_at_once(nodes, _AT_ONCE, _PAIRS, search.copies(nodes))
        config = config | {"batch_size": size}
    folder = Path(config["output"] or default_folder(trained, fixed, search, config))
    open_folder(folder, len(fixed.instances))
    return Evaluation(trained, fixed, search, device, config, folder)


class _Watch:
    """Moves the bar within a batch, and says whether to end."""

    def __init__(
        self,
        bar: tqdm,
        before: list[Progress],
        count: int,
        seconds: float | None,
        stopped: Callable[[], bool],
    ) -> None:
        """Watch `count` instances after those `before`, which have so many `seconds`."""
        self._bar = bar
        self._done = sum(len(part.solution.cost) for part in before)
        self._total = sum(float(part.solution.cost.sum()) for part in before)
        self._count = count
        self._seconds = seconds
        self._stopped = stopped
        self._started = time.perf_counter()

    def __call__(self, progress: Progress) -> bool:
        """Whether to end."""
        share = progress.share
        if self._seconds:
            share = max(share, min(1.0, (time.perf_counter() - self._started) / self._seconds))
        cost = (self._total + float(progress.solution.cost.sum())) / (self._done + self._count)
        self._bar.set_postfix(cost=f"{cost:.4f}", refresh=False)
        self._bar.update(self._done + share * self._count - self._bar.n)
        return self._stopped()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.machine()
