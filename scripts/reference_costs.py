"""Compute near-optimal costs of a standard set with PyVRP, for the gaps that we report.

    python scripts/reference_costs.py kool20-val --limit 1000 --time-limit 0.25 --check 40

Writes SET.json after every instance, so an interrupted run is continued by the same command,
and a larger --limit or --check adds to what is there. With --capacity the file is
SET-capacityQ.json; the encoder study holds the strict mask against one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/reference_costs.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.arguments import above_zero, whole  # noqa: E402
from vrp.problem.datasets import (  # noqa: E402
    REFERENCE_FOLDER,
    STANDARD_SETS,
    reference_file,
    standard_set,
)
from vrp.problem.instances import Instances  # noqa: E402
from vrp.problem.tours import check_tours, tour_length  # noqa: E402
from vrp.whole_file import whole_file  # noqa: E402

try:
    import pyvrp
except ImportError:  # told in one line by main(); --help works without it
    pyvrp = None

SCALE = 1_000_000  # PyVRP counts in integers; a leg is off by half of 1/SCALE at most
# PyVRP's own bound on the penalty of a unit of overload suits coordinates up to 1,000: it is 100
# times their range. At our scale it would be a tenth, and overloaded tours would win.
MAX_PENALTY = 100.0 * SCALE
NEIGHBOURS = 20
DECIMALS = 7  # of a stored cost; below what SCALE resolves
CHECK_FACTOR = 10  # how much longer the check searches
NOISE = 1e-5  # a cost that falls by less is the same tour up to rounding


def pyvrp_problem(instances: Instances, n: int) -> pyvrp.ProblemData:
    """Instance `n` for PyVRP: integer distances, as many vehicles as customers.

    Client i of PyVRP is customer i + 1 here.
    """
    points = instances.coordinates()[n].double().numpy() * SCALE  # (V, 2)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1).round().astype(np.int64)
    return pyvrp.ProblemData(
        locations=[pyvrp.Location(x, y) for x, y in points.tolist()],
        clients=[
            pyvrp.Client(location=c + 1, delivery=[demand])
            for c, demand in enumerate(instances.demand[n].tolist())
        ],
        depots=[pyvrp.Depot(location=0)],
        vehicle_types=[
            pyvrp.VehicleType(
                num_available=instances.num_customers, capacity=[int(instances.capacity[n])]
            )
        ],
        distance_matrices=[distance],
        duration_matrices=[np.zeros_like(distance)],
    )


def solve(instances: Instances, n: int, time_limit: float, seed: int) -> float:
    """Cost of the best tour of instance `n` that PyVRP finds, as our judge measures it.

    The limit is in seconds of processor time, so other programs on the machine do not matter.

    Raises:
        ValueError: if the tour is not legal, which a longer time limit may cure.
    """
    end = time.process_time() + time_limit
    result = pyvrp.solve(
        pyvrp_problem(instances, n),
        stop=lambda best_cost: time.process_time() >= end,
        seed=seed,
        collect_stats=False,
        params=pyvrp.SolveParams(
            penalty=pyvrp.PenaltyParams(max_penalty=MAX_PENALTY),
            neighbourhood=pyvrp.search.NeighbourhoodParams(num_neighbours=NEIGHBOURS),
        ),
    )
    nodes: list[int] = []
    for route in result.best.routes():
        nodes += [visit.idx + 1 for visit in route.schedule() if visit.is_client()] + [0]
    actions = torch.tensor(nodes)[None, None]  # (1, 1, T)
    try:
        check_tours(instances[n : n + 1], actions)
    except ValueError as error:
        raise ValueError(f"PyVRP found no legal tour for instance {n} ({error})") from error
    return round(tour_length(instances[n : n + 1], actions).item(), DECIMALS)


def load_record(path: Path, settings: dict[str, object]) -> dict:
    """What `path` holds so far, or a new record with these settings.

    Raises:
        ValueError: if the file was made with other settings; names both.
    """
    if not path.exists():
        return {**settings, "check": None, "cost": []}
    try:
        record = json.loads(path.read_text())
        differing = [key for key, value in settings.items() if record[key] != value]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a file of reference costs ({error!r})") from error
    if differing:
        key = differing[0]
        raise ValueError(
            f"{path} was made with {key} {record[key]}, this run has {settings[key]}; "
            "give the same settings, or move the file away to start anew"
        )
    return record


def save_record(record: dict, path: Path) -> None:
    """Write all of the record or nothing, one line per entry."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    with whole_file(path, "w") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


def add_costs(record: dict, instances: Instances, path: Path) -> None:
    """Solve the instances that have no cost yet."""
    done = record["cost"]
    rest = range(len(done), len(instances))
    for n in tqdm(rest, path.stem, len(instances), initial=len(done), disable=None):
        done.append(solve(instances, n, record["time_limit"], record["seed"]))
        save_record(record, path)


def add_check(record: dict, instances: Instances, path: Path) -> None:
    """Solve the instances again, ten times as long; no cost of the record changes."""
    time_limit = CHECK_FACTOR * record["time_limit"]
    done = record["check"]["cost"] if record["check"] else []
    rest = range(len(done), len(instances))
    bar = tqdm(rest, f"{path.stem} check", len(instances), initial=len(done), disable=None)
    for n in bar:
        done.append(solve(instances, n, time_limit, record["seed"]))
        record["check"] = {"time_limit": time_limit, **_improvement(record["cost"], done)}
        save_record(record, path)


def _improvement(cost: list[float], longer: list[float]) -> dict[str, object]:
    found = np.array(longer)
    base = np.array(cost[: len(longer)])
    return {
        "instances": len(longer),
        "improved": int((base - found > NOISE).sum()),
        "mean_improvement_percent": round(100 * float(1 - found.mean() / base.mean()), 5),
        "max_improvement_percent": round(100 * float((1 - found / base).max()), 5),
        "cost": longer,
    }


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked; a wrong one ends the program with exit code 2."""
    parser = argparse.ArgumentParser(
        description="Near-optimal costs of the first instances of a standard set, by PyVRP on "
        "one core. Interrupt it when you like: the same command continues.",
        epilog="example: python scripts/reference_costs.py kool20-val --limit 1000 "
        "--time-limit 0.25 --check 40",
    )
    parser.add_argument("set", choices=STANDARD_SETS, metavar="SET", help=", ".join(STANDARD_SETS))
    parser.add_argument(
        "--limit",
        type=whole(1),
        default=100,
        help="solve the first LIMIT instances (default: %(default)s)",
    )
    parser.add_argument(
        "--time-limit",
        type=above_zero(),
        default=1.0,
        help="processor time per instance, in seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole(0),
        default=0,
        help="seed of PyVRP, the same for each instance (default: %(default)s)",
    )
    parser.add_argument(
        "--check",
        type=whole(0),
        default=0,
        metavar="M",
        help=f"then search the first M again, {CHECK_FACTOR} times as long, and record by how "
        "much that is better; the costs stay as they are (default: %(default)s)",
    )
    parser.add_argument(
        "--capacity",
        type=whole(1),
        metavar="Q",
        help="of the vehicle, instead of the set's own",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=REFERENCE_FOLDER,
        metavar="DIR",
        help="folder of SET.json (default: the package's, where evaluation reads it)",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    given = parser.parse_args(arguments)
    if given.check > given.limit:
        parser.error(f"--check is {given.check}; it must not exceed --limit {given.limit}")
    return given


def run(given: argparse.Namespace) -> Path:
    """Do what the command line says; returns the path of the file.

    Raises:
        ValueError: for a limit above the size of the set, a capacity below a demand, or a file
            with other settings.
    """
    instances = standard_set(given.set, given.limit)
    standard = int(instances.capacity[0])
    if given.capacity not in (None, standard):
        instances = replace(instances, capacity=torch.full_like(instances.capacity, given.capacity))
    settings = {
        "set": given.set,
        "capacity": given.capacity or standard,
        "solver": "PyVRP",
        "version": metadata.version("pyvrp"),
        "seed": given.seed,
        "time_limit": given.time_limit,
        "scale": SCALE,
        "max_penalty": MAX_PENALTY,
        "neighbours": NEIGHBOURS,
        "clock": "processor",
        "processes": 1,
    }
    given.output.mkdir(parents=True, exist_ok=True)
    path = given.output / reference_file(given.set, given.capacity)
    record = load_record(path, settings)
    add_costs(record, instances, path)
    if given.check:
        add_check(record, instances[: given.check], path)
    cost = record["cost"]
    print(f"{path}: mean cost {np.mean(cost):.5f} over {len(cost)} instances")
    if record["check"]:
        shown = {key: value for key, value in record["check"].items() if key != "cost"}
        print(", ".join(f"{key} {value}" for key, value in shown.items()))
    print(
        "next: python scripts/evaluate.py checkpoint=PATH "
        f"data={given.set} decode=greedy limit={len(cost)}"
    )
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 a failure, 130 interrupted."""
    given = parse_arguments(arguments)
    if pyvrp is None:
        print("PyVRP is missing; install it with: pip install -e '.[solvers]'", file=sys.stderr)
        return 1
    try:
        run(given)
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130
    except (OSError, ValueError, RuntimeError) as error:
        if given.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
