"""Weights of the published attention networks, in the names of `AttentionPolicy`.

Two layouts are known: that of Kool et al. (2019), wouterkool/attention-learn-to-route, and that
of POMO (Kwon et al. 2020), yd-kwon/POMO. Both keep depot and customers in a Linear each, the
demand being the third input of the customers' one; here that column is a weight of its own.
"""

from __future__ import annotations

import pickle
import re
import tarfile
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, ClassVar

import torch
from torch import Tensor
from torch.serialization import SourceChangeWarning

_PLACES = ("model", "model_state_dict", "state_dict")  # where a file may keep the weights
_ZIP = b"PK\x03\x04"  # what a file of PyTorch's present format begins with
_COUNT = "num_batches_tracked"
_BATCH_STATISTICS = ("running_mean", "running_var", _COUNT)


@dataclass(frozen=True)
class Converted:
    """A network in our terms.

    Attributes:
        layout: `kool` or `pomo`.
        arguments: of `AttentionPolicy`, without the encoder.
        weights: its state dict, the encoder being a `LinearEncoder`.
    """

    layout: str
    arguments: dict[str, int | float | bool | str]
    weights: dict[str, Tensor]


class Inert:
    """Stands in a file's content where it asks for a class or function that is not known here."""

    dump_patches = False  # asked of a module's class in a file of PyTorch's older format

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        """Forget the item."""

    def extend(self, items: object) -> None:
        """Forget the items."""


class _InertUnpickler(pickle.Unpickler):
    """Builds tensors and plain types; everything else becomes `Inert` and runs no code."""

    _known: ClassVar[dict[tuple[str, str], object]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
        ("torch", "Size"): torch.Size,
    }

    def find_class(self, module: str, name: str) -> object:
        return self._known.get((module, name), Inert)


def _load(file: BinaryIO, **arguments: object) -> object:
    return _InertUnpickler(file, **arguments).load()


def _holds_program(path: Path) -> str | None:
    """What `torch.load` would hand to another reader than ours, in words; None if nothing."""
    with open(path, "rb") as file:
        is_zip = file.read(len(_ZIP)) == _ZIP
    if is_zip:  # asked of the reader that torch.load takes: others may see another content
        records = torch._C.PyTorchFileReader(str(path)).get_all_records()
        return "a TorchScript program" if "constants.pkl" in records else None
    return "a tar archive" if tarfile.is_tarfile(path) else None


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The weights in a file of either project; nothing in the file is executed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no weights, or a program; names the file and what it holds.
    """
    reader = SimpleNamespace(Unpickler=_InertUnpickler, load=_load, __name__="inert")
    try:
        program = _holds_program(path)
        if program is None:
            with warnings.catch_warnings():
                # No class has a source here to compare with the one in the file.
                warnings.simplefilter("ignore", SourceChangeWarning)
                content = torch.load(path, "cpu", pickle_module=reader, weights_only=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"no file at {path}") from None
    except Exception as error:  # a file of another kind makes PyTorch's reader fail in every way
        raise ValueError(f"{path} is damaged or no file of PyTorch") from error
    if program is not None:
        raise ValueError(f"{path} is refused: it is {program}, not the weights alone")
    if isinstance(content, dict) and {"format", "sha256", "payload"} <= content.keys():
        raise ValueError(f"{path} is a checkpoint of this project already; there is nothing to do")
    for place in _PLACES:
        if isinstance(content, dict) and isinstance(content.get(place), dict):
            content = content[place]
            break
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} holds no weights")
    strange = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise ValueError(f"{path} holds no weights: {strange[0]} is no tensor")
    return {name: tensor.detach().contiguous() for name, tensor in content.items()}


def convert(state: dict[str, Tensor], num_heads: int = 8) -> Converted:
    """A published state dict in our names.

    Args:
        state: of a CVRP network of either project.
        num_heads: of a network whose weights do not say it (POMO; their value is 8).

    Raises:
        ValueError: if a weight is missing, has another shape than it should, or is not known;
            names it.
    """
    source = _Source(state)
    if "init_embed_depot.weight" in state:
        converted = _from_kool(source)
    elif "encoder.embedding_depot.weight" in state:
        converted = _from_pomo(source, num_heads)
    else:
        raise ValueError(
            "these are no weights of a CVRP network of Kool et al. (init_embed_depot.weight) or "
            f"POMO (encoder.embedding_depot.weight); they begin with {next(iter(state))}"
        )
    left = [name for name in state if name not in source.taken]
    if left:
        raise ValueError(f"{left[0]} is not known in the {converted.layout} layout of a CVRP")
    return converted


class _Source:
    """A state dict that remembers what was taken from it."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state
        self.taken: set[str] = set()

    def __call__(self, name: str, *shape: int | str) -> Tensor:
        """The weight of that name; a letter in `shape` stands for any size."""
        if name not in self.state:
            raise ValueError(f"{name} is missing")
        found = tuple(self.state[name].shape)
        if len(found) != len(shape) or any(
            isinstance(wanted, int) and size != wanted
            for size, wanted in zip(found, shape, strict=True)
        ):
            wanted = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
            raise ValueError(f"{name} has shape {found}, not ({wanted})")
        self.taken.add(name)
        return self.state[name]

    def layers(self, pattern: str) -> int:
        """How many numbers the group of `pattern` takes, from 0 on."""
        found = {int(m[1]) for m in (re.match(pattern, name) for name in self.state) if m}
        if found != set(range(len(found))) or not found:
            raise ValueError(f"the layers {pattern!r} are numbered {sorted(found)}")
        return len(found)


def _embeddings(source: _Source, depot: str, customer: str) -> dict[str, Tensor]:
    weight = source(f"{customer}.weight", "M", 3)
    m = len(weight)
    return {
        "encoder.layer.weight": weight[:, :2],
        "encoder.layer.bias": source(f"{customer}.bias", m),
        "demand.weight": weight[:, 2:],
        "depot_encoder.layer.weight": source(f"{depot}.weight", m, 2),
        "depot_encoder.layer.bias": source(f"{depot}.bias", m),
    }


def _linear(
    source: _Source, ours: str, theirs: str, outputs: int | str, inputs: int
) -> dict[str, Tensor]:
    weight = source(f"{theirs}.weight", outputs, inputs)
    return {f"{ours}.weight": weight, f"{ours}.bias": source(f"{theirs}.bias", len(weight))}


def _feed_forward(
    source: _Source, ours: str, first: str, second: str, m: int, hidden: int | str
) -> dict[str, Tensor]:
    expand = _linear(source, f"{ours}.expand", first, hidden, m)
    hidden = len(expand[f"{ours}.expand.bias"])
    return expand | _linear(source, f"{ours}.contract", second, m, hidden)


def _norm(source: _Source, ours: str, theirs: str, batch: bool, m: int) -> dict[str, Tensor]:
    parts = ("weight", "bias", *(_BATCH_STATISTICS if batch else ()))
    return {
        f"{ours}.{part}": source(f"{theirs}.{part}", *(() if part == _COUNT else (m,)))
        for part in parts
    }


def _query(weight: Tensor) -> dict[str, Tensor]:
    """The projection of [h_last; load]."""
    return {"query.weight": weight[:, :-1], "load.weight": weight[:, -1:]}


def _from_kool(source: _Source) -> Converted:
    weights = _embeddings(source, "init_embed_depot", "init_embed")
    m = len(weights["demand.weight"])
    num_layers = source.layers(r"embedder\.layers\.(\d+)\.")
    batch = "embedder.layers.0.1.normalizer.running_mean" in source.state
    num_heads = len(source("embedder.layers.0.0.module.W_query", "H", m, "D"))
    size, hidden = m // max(num_heads, 1), "F"
    for i in range(num_layers):
        theirs, ours = f"embedder.layers.{i}", f"trunk.{i}"
        # (H, M, D) each: row h D + d of our matrix is head h's unit d.
        heads = [
            source(f"{theirs}.0.module.W_{part}", num_heads, m, size)
            for part in ("query", "key", "val")
        ]
        out = source(f"{theirs}.0.module.W_out", num_heads, size, m)
        rows = [part.transpose(1, 2).flatten(0, 1) for part in heads]
        weights[f"{ours}.queries_keys_values.weight"] = torch.cat(rows)
        weights[f"{ours}.combine.weight"] = out.flatten(0, 1).T
        weights |= _norm(source, f"{ours}.norm_attention", f"{theirs}.1.normalizer", batch, m)
        both = f"{theirs}.2.module.0", f"{theirs}.2.module.2"
        weights |= _feed_forward(source, ours, *both, m, hidden)
        hidden = len(weights[f"{ours}.expand.bias"])
        weights |= _norm(source, f"{ours}.norm_feed_forward", f"{theirs}.3.normalizer", batch, m)
    keys, values, pointer = source("project_node_embeddings.weight", 3 * m, m).chunk(3)
    weights |= {
        "keys_values.weight": torch.cat([keys, values]),
        "pointer.weight": pointer,
        "graph.weight": source("project_fixed_context.weight", m, m),
        "combine.weight": source("project_out.weight", m, m),
        **_query(source("project_step_context.weight", m, m + 1)),
    }
    arguments = {
        "normalization": "batch" if batch else "instance",
        "graph_context": True,
        "combine_bias": False,
        "pointer_projection": True,
    }
    return _converted("kool", weights, num_layers, num_heads, arguments)


def _from_pomo(source: _Source, num_heads: int) -> Converted:
    weights = _embeddings(source, "encoder.embedding_depot", "encoder.embedding_node")
    m = len(weights["demand.weight"])
    num_layers = source.layers(r"encoder\.layers\.(\d+)\.")
    # Their repository has had both normalisations.
    batch = "encoder.layers.0.add_n_normalization_1.norm_by_EMB.weight" in source.state
    norm, hidden = "norm_by_EMB" if batch else "norm", "F"
    for i in range(num_layers):
        theirs, ours = f"encoder.layers.{i}", f"trunk.{i}"
        rows = [source(f"{theirs}.W{part}.weight", m, m) for part in "qkv"]
        weights[f"{ours}.queries_keys_values.weight"] = torch.cat(rows)
        weights |= _linear(source, f"{ours}.combine", f"{theirs}.multi_head_combine", m, m)
        for number, name in ((1, "attention"), (2, "feed_forward")):
            place = f"{theirs}.add_n_normalization_{number}.{norm}"
            weights |= _norm(source, f"{ours}.norm_{name}", place, batch, m)
        both = f"{theirs}.feed_forward.W1", f"{theirs}.feed_forward.W2"
        weights |= _feed_forward(source, ours, *both, m, hidden)
        hidden = len(weights[f"{ours}.expand.bias"])
    keys_values = [source(f"decoder.W{part}.weight", m, m) for part in "kv"]
    weights["keys_values.weight"] = torch.cat(keys_values)
    weights |= _linear(source, "combine", "decoder.multi_head_combine", m, m)
    weights |= _query(source("decoder.Wq_last.weight", m, m + 1))
    arguments = {
        "normalization": "batch" if batch else "instance",
        "graph_context": False,
        "combine_bias": True,
        "pointer_projection": False,
    }
    return _converted("pomo", weights, num_layers, num_heads, arguments)


def _converted(
    layout: str,
    weights: dict[str, Tensor],
    num_layers: int,
    num_heads: int,
    arguments: dict[str, bool | str],
) -> Converted:
    sizes = {
        "embedding_dim": weights["encoder.layer.bias"].shape[0],
        "num_layers": num_layers,
        "num_heads": num_heads,
        "feed_forward_dim": weights["trunk.0.expand.bias"].shape[0],
        "tanh_clipping": 10.0,
    }
    return Converted(
        layout,
        sizes | arguments,
        {name: tensor.contiguous().clone() for name, tensor in weights.items()},
    )
