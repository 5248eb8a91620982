"""A checkpoint measured on fixed instances: all that is done with it but the printing."""

from __future__ import annotations

import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from tqdm import tqdm

from vrp.evaluation.fixed import FixedInstances, fixed_instances, outside_training
from vrp.evaluation.trained import Trained, find_checkpoint, load_trained
from vrp.policy.initialisation import named_generator
from vrp.problem.datasets import STANDARD_SETS, gap_percent
from vrp.search import Solution
from vrp.search.base import Search
from vrp.search.solution import join
from vrp.training.build import build_search
from vrp.training.device import choose_device
from vrp.training.signals import StopSignals
from vrp.training.tour_figure import can_draw, draw_tours
from vrp.training.trainer import versions

_MOST_NODES = np.iinfo(np.int16).max  # solutions.npz holds nodes as int16
_DRAWN = 8  # instances in tours.png


@dataclass(frozen=True)
class Evaluation:
    """All that an evaluation needs, checked.

    Attributes:
        trained: the policy.
        fixed: what it has to solve.
        search: how.
        device: where.
        config: as composed; what the rest was made from.
        output: folder for the results; exists and can be written.
    """

    trained: Trained
    fixed: FixedInstances
    search: Search
    device: torch.device
    config: dict
    output: Path

    def run(self) -> tuple[Solution, float, int]:
        """Solve all instances, or those of the batches that were begun before an interruption.

        Every batch has random numbers of its own, from the seed and the batch's first instance,
        drawn on the CPU: the same on every device. Of a time limit every batch has what is left,
        in proportion to its share of the instances that are left.

        Returns:
            The solutions, the seconds it took, and the exit code: 0, or 130 or 143 after a
            signal, when the solutions are those of the first instances.

        Raises:
            ValueError: if the device's memory does not suffice.
        """
        policy = self.trained.policy.to(self.device)
        instances, size = self.fixed.instances, self.config["batch_size"]
        limit = self.search.time_limit
        total = 0.0
        parts = []
        started = time.perf_counter()
        with (
            StopSignals() as signals,
            tqdm(
                desc=str(self.search),
                total=len(instances),
                unit=" instances",
                leave=False,
                disable=None,  # no bar where the output is no terminal
            ) as bar,
        ):
            for start in range(0, len(instances), size):
                batch = instances[start : start + size].to(self.device)
                generator = named_generator(self.config["seed"], f"evaluate/{start}")
                share = None
                if limit is not None:
                    left = max(0.0, started + limit - time.perf_counter())
                    share = left * len(batch) / (len(instances) - start)
                try:
                    best = self.search(
                        policy, batch, generator, share, lambda: signals.received is not None
                    )
                except torch.OutOfMemoryError as error:
                    raise ValueError(
                        f"the memory of {self.device} is too small for batch_size={size}; "
                        "a lower one gives the same greedy and beam results"
                    ) from error
                parts.append(best)
                total += float(best.cost.sum())
                bar.set_postfix(cost=f"{total / (start + len(batch)):.4f}", refresh=False)
                bar.update(len(batch))
                if signals.received is not None:
                    break
        return join(parts), time.perf_counter() - started, signals.exit_code

    def summary(self, solution: Solution, seconds: float) -> dict:
        """What is written to summary.json: plain types only.

        The standard deviation is over the instances, with N in the denominator as in Nazari et
        al. (2018); the gap is None where no reference holds.
        """
        cost = solution.cost.numpy()
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
            "outside_training": outside_training(self.trained.problem, instances),
            "split_delivery": instances.split_delivery,
            "decode": str(self.search),
            "instances": len(cost),
            "mean_cost": float(cost.mean()),
            "std_cost": float(cost.std()),
            "standard_error": float(cost.std() / len(cost) ** 0.5),
            **self._gap(cost),
            "seed": self.config["seed"],
            "batch_size": self.config["batch_size"],
            "seconds": seconds,
            "device": str(self.device),
            "device_name": _device_name(self.device),
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

    def write(self, solution: Solution, summary: dict) -> list[str]:
        """Write the results, summary.json last; each file appears whole or not at all.

        Returns:
            The names of the files.

        Raises:
            OSError: if one cannot be written.
        """
        (self.output / "tours.png").unlink(missing_ok=True)
        actions = solution.actions.numpy().astype(np.int16)
        savers: dict[str, Callable[[IO[bytes]], object]] = {
            "solutions.npz": lambda file: np.savez_compressed(
                file, cost=solution.cost.numpy(), actions=actions
            ),
        }
        if can_draw():
            savers["tours.png"] = lambda file: self._draw(solution, file)
        text = json.dumps(summary, indent=2) + "\n"
        savers["summary.json"] = lambda file: file.write(text.encode())
        for name, save in savers.items():
            _write(self.output / name, save)
        return list(savers)

    def _draw(self, solution: Solution, file: IO[bytes]) -> None:
        few = slice(0, _DRAWN)
        known = self.fixed.reference()
        shown = Solution(solution.actions[few], solution.cost[few])
        costs = known.cost[few].tolist() if known and len(known.cost) >= _DRAWN else None
        draw_tours(self.fixed.instances[few], shown, costs).savefig(file, format="png", dpi=120)


def make_evaluation(config: dict) -> Evaluation:
    """Everything that the config names, checked before any instance is solved.

    Args:
        config: plain and complete, as `configs/evaluate.yaml` composes it.

    Raises:
        FileNotFoundError: if there is no such checkpoint or data; names what there is.
        ValueError: if something cannot be used; names the thing, and the file.
    """
    device = choose_device(config["device"], config["threads"])
    search = build_search(config["decode"])
    trained = load_trained(*find_checkpoint(config["checkpoint"]))
    split = config["split_delivery"]
    if split is None:
        split = bool(trained.problem.get("split_delivery", False))
    fixed = fixed_instances(config["data"], config["limit"], config["capacity"], split)
    if fixed.instances.num_nodes > _MOST_NODES:
        raise ValueError(
            f"{fixed.name} has {fixed.instances.num_nodes} nodes; solutions.npz numbers them as "
            f"int16, so at most {_MOST_NODES} are possible"
        )
    folder = config["output"] or _default_output(trained, fixed, search)
    return Evaluation(trained, fixed, search, device, config, _open_folder(Path(folder)))


def _default_output(trained: Trained, fixed: FixedInstances, search: Search) -> Path:
    data = fixed.name if fixed.name in STANDARD_SETS else Path(fixed.name).stem
    parts = [trained.name, data, str(search)]
    if fixed.instances.split_delivery:
        parts.append("split")
    if len(fixed.instances) < fixed.total:
        parts.append(f"first{len(fixed.instances)}")
    name = "-".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts)
    return Path("outputs") / "evaluate" / name


def _open_folder(folder: Path) -> Path:
    """The folder, made if need be.

    Raises:
        ValueError: if it cannot be written, or holds the summary of something else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        summary = folder / "summary.json"
        is_foreign = summary.exists() and '"decode"' not in summary.read_text()
    except OSError as error:
        raise ValueError(f"output: {folder} cannot be written: {error.strerror}") from error
    if is_foreign:
        raise ValueError(f"output: {folder} holds a summary.json of something else")
    return folder


def _write(path: Path, save: Callable[[IO[bytes]], object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            save(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.machine()
