"""The weights in a file of another project; nothing in the file is executed."""

from __future__ import annotations

import pickle
import tarfile
import warnings
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, ClassVar

import torch
from torch import Tensor
from torch.serialization import SourceChangeWarning

_PLACES = ("model", "model_state_dict", "state_dict")  # where a file may keep the weights
_ZIP = b"PK\x03\x04"  # what a file of PyTorch's present format begins with


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
