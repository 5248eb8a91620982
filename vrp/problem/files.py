"""Instances from and to files: ours (`.npz`), POMO's (`.pt`) and Kool's (`.pkl`).

Reading a file never executes anything that is in it.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from reprlib import repr  # short whatever the size, since a file may hold anything

import numpy as np
import torch
from torch import Tensor

from vrp.problem.instances import Instances
from vrp.whole_file import whole_file

ROUNDING = 1e-4  # how far fraction × capacity may lie from the integer that was meant


def load_instances(
    path: str | Path, *, capacity: int | None = None, split_delivery: bool = False
) -> Instances:
    """The instances of a file, whose suffix says how it is read.

    Args:
        path: `.npz` as `save_npz` writes it; `.pt`, a POMO test set, whose demands are fractions
            of a capacity it does not hold; `.pkl`, a test set of Kool et al. (2019).
        capacity: of all instances of a `.pt` file, which needs it. The other two hold their own;
            a value given here must then be the same.
        split_delivery: whether a customer may be served in several visits.

    Returns:
        The instances on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be read or holds something else; names the file, the
            thing, the value found and what is allowed.
    """
    path = Path(path)
    readers = {".npz": _read_npz, ".pt": _read_pt, ".pkl": _read_pkl}
    if path.suffix not in readers:
        raise ValueError(f"{path}: the suffix is {path.suffix!r}; it must be {', '.join(readers)}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    if capacity is not None and capacity < 1:
        raise ValueError(f"{path}: capacity is {capacity}; it must be at least 1")
    try:
        depot, customers, demand, held = readers[path.suffix](path, capacity)
        if customers.ndim and not len(customers):  # without an axis its shape is refused below
            raise ValueError("the file holds no instance; it must hold at least one")
        instances = Instances(
            depot=_float32("depot", depot),
            customers=_float32("customers", customers),
            demand=_int64("demand", demand),
            capacity=_int64("capacity", held),
            split_delivery=split_delivery,
        )
        if capacity is not None and (instances.capacity != capacity).any():
            other = instances.capacity[instances.capacity != capacity][0].item()
            raise ValueError(f"the file has capacity {other}, not the {capacity} that was given")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    return instances


def save_npz(instances: Instances, path: str | Path) -> None:
    """Write depot, customers, demand and capacity; either the whole file appears or none.

    Raises:
        ValueError: if the name does not end in `.npz`.
        OSError: if the folder does not exist or cannot be written.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{path}: the suffix is {path.suffix!r}; it must be .npz")
    with whole_file(path) as file:
        np.savez_compressed(
            file,
            depot=instances.depot.cpu().numpy(),
            customers=instances.customers.cpu().numpy(),
            demand=instances.demand.cpu().numpy(),
            capacity=instances.capacity.cpu().numpy(),
        )


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # depot, customers, demand, capacity


def _read_npz(path: Path, capacity: int | None) -> Arrays:
    try:
        # numpy.load guesses from the content; only a zip archive may be meant here.
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as archive:
            stored = {key: archive[key] for key in archive.files}
    except Exception as error:  # zlib, zip, header and pickle errors have no common ancestor
        raise ValueError(f"cannot be read as .npz ({_one_line(error)})") from error
    wanted = ("depot", "customers", "demand", "capacity")
    _require_keys(list(stored), wanted)
    return tuple(stored[key] for key in wanted)


def _read_pt(path: Path, capacity: int | None) -> Arrays:
    if capacity is None:
        raise ValueError("its demands are fractions of a capacity it does not hold; give capacity")
    wanted = ("depot_xy", "node_xy", "node_demand")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated archives and refused pickles raise many types
        raise ValueError(f"cannot be read as .pt ({_one_line(error)})") from error
    if not isinstance(stored, dict):
        raise ValueError(f"holds a {type(stored).__name__}; it must hold a dict")
    _require_keys(list(stored), wanted)
    for key, rank in zip(wanted, (3, 3, 2), strict=True):
        value = stored[key]
        if not isinstance(value, Tensor):
            raise ValueError(f"{key} is a {type(value).__name__}; it must be a tensor")
        if value.dim() != rank or not value.is_floating_point():
            raise ValueError(
                f"{key} has shape {tuple(value.shape)} and type {value.dtype}; "
                f"it must have {rank} axes and hold floats"
            )
    if stored["depot_xy"].shape[1] != 1:
        raise ValueError(f"depot_xy is {tuple(stored['depot_xy'].shape)}; it must be (N, 1, 2)")
    stored = {key: stored[key].detach() for key in wanted}
    goods = stored["node_demand"].double().numpy() * capacity  # (N, C)
    wrong = ~(np.abs(goods - np.rint(goods)) <= ROUNDING)  # true for NaN as well
    if wrong.any():
        n, c = np.argwhere(wrong)[0].tolist()
        raise ValueError(
            f"customer {c + 1} of instance {n}: demand times capacity {capacity} is "
            f"{goods[n, c]:.6g}; it must be an integer to {ROUNDING:g}, so another capacity "
            "may be meant"
        )
    held = np.full(len(goods), capacity)
    depot, customers = (stored[key].float().numpy() for key in wanted[:2])
    return depot[:, 0], customers, np.rint(goods), held


# The opcodes of lists, tuples, numbers, short text and references to what was read before.
_PLAIN_OPCODES = [
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.NONE),
    *(pickle.EMPTY_LIST, pickle.LIST, pickle.APPEND, pickle.APPENDS),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.INT, pickle.BININT, pickle.BININT1, pickle.BININT2),
    *(pickle.LONG, pickle.LONG1, pickle.LONG4, pickle.FLOAT, pickle.BINFLOAT),
    *(pickle.NEWTRUE, pickle.NEWFALSE),
    *(pickle.UNICODE, pickle.BINUNICODE, pickle.SHORT_BINUNICODE),
    *(pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE),
    *(pickle.GET, pickle.BINGET, pickle.LONG_BINGET),
]


class _Dispatch(dict):
    """What to do for each opcode; an error for one that is not in it."""

    def __missing__(self, opcode: int) -> None:
        raise pickle.UnpicklingError(
            f"holds an object (opcode {bytes([opcode])!r}); only lists, tuples and numbers are read"
        )


class _PlainUnpickler(pickle._Unpickler):
    """Knows no opcode that looks up a name, makes an object or calls anything.

    The unpickler written in Python, since that in C has no table of opcodes to restrict, and
    allocates whatever a corrupt reference asks for. This one takes 10 s for 10,000 × 100 customers.
    """

    dispatch = _Dispatch(
        {opcode[0]: pickle._Unpickler.dispatch[opcode[0]] for opcode in _PLAIN_OPCODES}
    )

    def find_class(self, module: str, name: str) -> None:
        raise pickle.UnpicklingError(f"asks for {module}.{name}; only lists and numbers are read")

    def persistent_load(self, pid: object) -> None:
        raise pickle.UnpicklingError("asks for an outside object; only lists and numbers are read")


def _read_pkl(path: Path, capacity: int | None) -> Arrays:
    try:
        with path.open("rb") as file:
            stored = _PlainUnpickler(file).load()
    except Exception as error:  # a corrupt stream can raise almost anything
        raise ValueError(f"cannot be read as .pkl ({_one_line(error)})") from error
    if not isinstance(stored, list) or not stored:
        raise ValueError(f"holds {repr(stored)}; it must hold a list of instances")
    for n, instance in enumerate(stored):
        if not isinstance(instance, list | tuple) or len(instance) != 4:
            raise ValueError(
                f"instance {n} must be (depot, customers, demand, capacity), not "
                f"{len(instance) if isinstance(instance, list | tuple) else 'no'} parts"
            )
        _check_parts(n, *instance, like=stored[0])
    return tuple(np.array(part) for part in zip(*stored, strict=True))


def _check_parts(
    n: int, depot: object, customers: object, demand: object, capacity: object, like: tuple
) -> None:
    """Raise unless the parts of instance `n` are lists of numbers of the shapes of the first's."""
    for name, part in (("customers", customers), ("demand", demand)):
        if not isinstance(part, list | tuple):
            kind = type(part).__name__
            raise ValueError(f"{name} of instance {n} is of type {kind}; it must be a list")
    if len(customers) != len(like[1]):
        raise ValueError(
            f"instance {n} has {len(customers)} customers, instance 0 has {len(like[1])}; "
            "all instances of a file must have the same number"
        )
    if len(demand) != len(customers):
        raise ValueError(
            f"instance {n} has {len(customers)} customers and {len(demand)} demands; "
            "it must have as many of both"
        )
    points = {"depot": depot} | {f"customer {c + 1}": p for c, p in enumerate(customers)}
    for name, point in points.items():
        pair = isinstance(point, list | tuple) and len(point) == 2
        if not pair or not all(map(_is_number, point)):
            raise ValueError(f"{name} of instance {n} is {repr(point)}; it must be two numbers")
    amounts = {"capacity": capacity} | {f"demand {c + 1}": d for c, d in enumerate(demand)}
    for name, amount in amounts.items():
        if not _is_number(amount):
            raise ValueError(f"{name} of instance {n} is {repr(amount)}; it must be a number")


def _require_keys(found: list, wanted: tuple[str, ...]) -> None:
    missing = [key for key in wanted if key not in found]
    if missing:
        raise ValueError(
            f"has no {missing[0]}; it must hold {', '.join(wanted)} and holds "
            f"{', '.join(map(str, found)) or 'nothing'}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _float32(name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} is of type {array.dtype}; it must be of floats")
    with np.errstate(over="ignore"):  # becomes infinity, which Instances refuses by its place
        return torch.from_numpy(array.astype(np.float32))


def _int64(name: str, array: np.ndarray) -> Tensor:
    """The integers of `array`, which may be written as floats (20.0)."""
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} is of type {array.dtype}; it must be of integers")
    wrong = ~(np.abs(array) < 2**53) | (array != np.rint(array))  # true for NaN as well
    if wrong.any():
        place = np.argwhere(wrong)[0].tolist()
        where = f"instance {place[0]}" if place else "the file"
        if len(place) > 1:
            where = f"customer {place[1] + 1} of {where}"
        raise ValueError(f"{name} of {where} is {array[wrong].flat[0]}; it must be an integer")
    return torch.from_numpy(array.astype(np.int64))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else f"{text[:117]}..."
