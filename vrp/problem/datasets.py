"""Standard sets of the literature, near-optimal costs for them, and the gap to those.

A set is regenerated from its published protocol and checked by SHA-256, so results stand in the
same table as the literature's. Reference costs are read from small files beside this module;
`scripts/reference_costs.py` makes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vrp.problem.instances import Instances

REFERENCE_FOLDER = Path(__file__).parent / "references"
CAPACITY = {10: 20, 20: 30, 50: 40, 100: 50}  # by number of customers, in both protocols


def _kool(seed: int, num_customers: int) -> np.ndarray:
    """(10,000, V, 3) float64: x, y, demand; the depot first.

    Source: Kool et al. (2019), generate_data.py. All depots are drawn first, so a shorter set of
    the same seed is not the beginning of this one.
    """
    n = 10_000
    random = np.random.RandomState(seed)
    depot = random.uniform(size=(n, 2))
    customers = random.uniform(size=(n, num_customers, 2))
    demand = random.randint(1, 10, size=(n, num_customers), dtype=np.int64)
    nodes = np.zeros((n, num_customers + 1, 3))
    nodes[:, 0, :2] = depot
    nodes[:, 1:, :2] = customers
    nodes[:, 1:, 2] = demand
    return nodes


def _nazari(seed: int, num_customers: int) -> np.ndarray:
    """(1,000, V, 3) float64: x, y, demand; the depot last, as in the source.

    Source: the VRP-RL code of Nazari et al. (2018), whose test seed is from after the paper.
    """
    n = 1_000
    random = np.random.RandomState(seed)
    coordinates = random.uniform(0, 1, (n, num_customers + 1, 2))
    demand = random.randint(1, 10, (n, num_customers + 1, 1), dtype=np.int64)
    demand[:, -1] = 0
    return np.concatenate([coordinates, demand], axis=-1)


@dataclass(frozen=True)
class _Protocol:
    """How a family of sets is drawn, and the SHA-256 of each by number of customers.

    The hashes are of the little-endian bytes of the drawn array as float64, and as float32
    where that one is known too.
    """

    draw: Callable[[int, int], np.ndarray]
    seed: int
    depot: int
    float64: dict[int, str]
    float32: dict[int, str]


_PROTOCOLS = {
    "kool{}": _Protocol(
        draw=_kool,
        seed=1234,
        depot=0,
        float64={
            10: "d0a74584ed08cf5a8fa9f93e5ad27bbece1ed79925b619e83abeee0af84fc6ef",
            20: "eae011b0a8ae5be7ac429aa44bc9d2b3a83c7fe5cb59f3c504d85d2af096d588",
            50: "5c893e3162c40b5a11ccbcc60c0520024eaab6ddad82590af069309fc37eeb18",
            100: "960e0cda2ce7440f55601df5f74221b13b1d3174531710b818b90476851bce4d",
        },
        float32={
            10: "347372ba6f25e3de7ee19e2d05e3554a3fc532f3000c3f6a054e4f6adb8fb252",
            20: "d3ab7ea03a1b2adca7d4753c44258cdb9dff46e8dc465369feee0e01b711892e",
            50: "a95af294f18a96e8d7568883ef4039acc3f0e4cf2a2867823c030cb53610fbc2",
            100: "558585750c8b03344a3ae81d47a981e2a82f79d68a6f258c2c3466bef7045f5c",
        },
    ),
    "kool{}-val": _Protocol(
        draw=_kool,
        seed=4321,
        depot=0,
        float64={
            10: "0932427d4b41fa76eae0856aee989061ce88fc29131b9b41210b34f5e107ccee",
            20: "9386d3de5d1472551c7e60ff1ba0ffaa16284bc7243d7e9adb124977cda9308e",
            50: "107bf04f0815ca67f6ee90a1f0b7045a3b3711ba91256fe0cb6d93c53f4bb77e",
            100: "dce46e9cb11721d568e6a6d19d282f24e1ed6c8ed2e0b45c7284c0a985031796",
        },
        float32={},
    ),
    "nazari{}": _Protocol(
        draw=_nazari,
        seed=24602,
        depot=-1,
        float64={
            10: "548026b518c1ece1bb917a5f517ad87604a4fa1bb35e5e35ed001b3c70c31b17",
            20: "e16d439c9f576a0810ae22ee010ba271e5a97f3a23233dbb1b44c5f56a7e90fd",
            50: "4f76a7471d5c5f0b9608f2fbec322420d5b99fff858239b4bbd17884e95b4f9b",
            100: "cf240395bc3657eee5690347c72dd1af70825db4b7e4995c54d34b64519239f6",
        },
        float32={
            10: "e2562589e87ac9167a77a9b4646cb195d610b147ab56ae5a2de67deca960bce5",
            20: "623b493b757f00701db16c45fa2e614e425eaf7dbf731a8fdfad4a76ac9f4786",
            50: "6727e3d05b7bc50b28598fc5fc1cb3975291e2d9fdcecf5b6f43be5ca988bb37",
            100: "0ecf4a0c7b6d3b7962863a964316a0cee5db50ffaf42674018743d2465819ad4",
        },
    ),
}

_SETS = {
    pattern.format(size): (protocol, size)
    for pattern, protocol in _PROTOCOLS.items()
    for size in CAPACITY
}
STANDARD_SETS = tuple(_SETS)


@dataclass(frozen=True)
class Check:
    """What a ten times longer search found on the first instances of a set.

    Attributes:
        instances: how many were searched again.
        time_limit: of that search, processor seconds per instance.
        improved: how many became shorter by more than rounding.
        mean_improvement_percent: of the mean cost, as a share of the reference's.
        max_improvement_percent: of the instance that gained most.
    """

    instances: int
    time_limit: float
    improved: int
    mean_improvement_percent: float
    max_improvement_percent: float


@dataclass(frozen=True, eq=False)
class Reference:
    """Near-optimal costs of the first n instances of a standard set, whole deliveries only.

    Attributes:
        name: of the set.
        capacity: of the vehicle they were found with.
        cost: (n,) float64 tour lengths, recomputed from the coordinates; read-only.
        solver: name of the solver.
        version: of the solver.
        seed: given to the solver for each instance.
        time_limit: processor seconds per instance.
        check: how good the costs are, or None where that was not measured.
    """

    name: str
    capacity: int
    cost: np.ndarray
    solver: str
    version: str
    seed: int
    time_limit: float
    check: Check | None


def standard_set(name: str, limit: int | None = None) -> Instances:
    """The first `limit` instances of a standard set, or all of them.

    Args:
        name: one of `STANDARD_SETS`: `kool20` and its like (10,000 instances of Kool et al.
            2019), `kool20-val` (their validation twins) and `nazari20` (1,000 instances of the
            VRP-RL code).
        limit: from 1 to the size of the set; all if None.

    Returns:
        The instances, their coordinates rounded to float32.

    Raises:
        ValueError: for an unknown name or a limit out of range; names what is allowed.
        RuntimeError: if the regenerated set is not the published one.
    """
    protocol, size = _find(name)
    nodes = protocol.draw(protocol.seed, size)  # (N, V, 3)
    if limit is not None and not 1 <= limit <= len(nodes):
        raise ValueError(f"limit is {limit}; {name} allows 1 to {len(nodes)}")
    _check_hash(name, nodes.astype("<f8"), protocol.float64[size])
    if size in protocol.float32:
        _check_hash(name, nodes.astype("<f4"), protocol.float32[size])
    nodes = np.roll(nodes[:limit], -protocol.depot, axis=1)  # the depot first
    coordinates = torch.from_numpy(nodes[..., :2].astype(np.float32))
    return Instances(
        depot=coordinates[:, 0].contiguous(),
        customers=coordinates[:, 1:].contiguous(),
        demand=torch.from_numpy(nodes[:, 1:, 2].astype(np.int64)),
        capacity=torch.full((len(nodes),), CAPACITY[size]),
    )


def reference_file(name: str, capacity: int | None = None) -> str:
    """Name of the file with a standard set's reference costs.

    Args:
        name: of the set.
        capacity: of the vehicle; the set's own if None.

    Raises:
        ValueError: for an unknown name.
    """
    _, size = _find(name)
    is_own = capacity in (None, CAPACITY[size])
    return f"{name}.json" if is_own else f"{name}-capacity{capacity}.json"


def reference(name: str, capacity: int | None = None) -> Reference | None:
    """The reference costs of a standard set, or None where there are none.

    They hold only where deliveries may not be split.

    Args:
        name: of the set.
        capacity: of the vehicle; the set's own if None.

    Raises:
        ValueError: for an unknown name, or a file that does not hold reference costs.
    """
    path = REFERENCE_FOLDER / reference_file(name, capacity)
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text())
        check = stored["check"]
        cost = np.array(stored["cost"], dtype=np.float64)
        cost.setflags(write=False)
        found = Reference(
            name=stored["set"],
            capacity=stored["capacity"],
            cost=cost,
            solver=stored["solver"],
            version=stored["version"],
            seed=stored["seed"],
            time_limit=stored["time_limit"],
            check=check and Check(**{key: check[key] for key in Check.__dataclass_fields__}),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a file of reference costs ({error!r})") from error
    if (
        found.name != name
        or found.capacity != (capacity or CAPACITY[_find(name)[1]])
        or cost.ndim != 1
        or not (cost > 0).all()
    ):
        raise ValueError(f"{path}: must hold a list of positive costs of {name}")
    return found if cost.size else None


def gap_percent(cost: np.ndarray | Tensor, reference_cost: np.ndarray) -> tuple[float, int]:
    """How far a mean cost lies above the reference's, in percent.

    Args:
        cost: (n,) tour lengths of the first n instances of a set.
        reference_cost: (m,) reference costs of the first m instances of the same set.

    Returns:
        The ratio of the mean costs minus one, in percent, over the first min(n, m) instances,
        which have both; and how many these are.

    Raises:
        ValueError: unless both are one-dimensional and not empty; gives the shapes.
    """
    ours, theirs = np.asarray(cost, np.float64), np.asarray(reference_cost, np.float64)
    if ours.ndim != 1 or theirs.ndim != 1 or not ours.size or not theirs.size:
        raise ValueError(
            f"cost has shape {ours.shape} and reference_cost {theirs.shape}; "
            "both must be (n,) with n at least 1"
        )
    count = min(ours.size, theirs.size)
    return 100 * float(ours[:count].mean() / theirs[:count].mean() - 1), count


def _find(name: str) -> tuple[_Protocol, int]:
    if name not in _SETS:
        raise ValueError(f"there is no standard set {name!r}; there are {', '.join(_SETS)}")
    return _SETS[name]


def _check_hash(name: str, nodes: np.ndarray, expected: str) -> None:
    found = hashlib.sha256(np.ascontiguousarray(nodes)).hexdigest()
    if found != expected:
        raise RuntimeError(
            f"{name} as regenerated here ({nodes.dtype}) has SHA-256 {found}, "
            f"the published set {expected}; do not compare results with the literature"
        )
