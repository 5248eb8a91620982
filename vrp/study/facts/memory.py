"""Which tensors share memory, and what new memory holds."""

from __future__ import annotations

import warnings
from itertools import pairwise

import torch
from torch import Tensor

from vrp.study.facts.record import Budget, Check, Fact, verdict

_TRIALS = 20


def _views(numbers: Tensor) -> dict[str, Tensor]:
    return {
        "view": numbers.view(-1),
        "transpose": numbers.transpose(0, 1),
        "slice": numbers[:, 1:],
        "expand": numbers[None].expand(3, -1, -1),
        "detach": numbers.detach(),
    }


def data_ptr(_: Budget, copied: bool = False) -> Fact:
    """Addresses of storages, checked by writing; with `copied`, of clones."""
    numbers = torch.zeros(4, 6)
    address = numbers.untyped_storage().data_ptr()
    cases = {}
    for name, other in _views(numbers.clone() if copied else numbers).items():
        same = other.untyped_storage().data_ptr() == address
        numbers.fill_(len(cases) + 1)
        seen = bool((other == numbers[0, 0]).all())
        cases[name] = same and seen
    return Fact(
        name="data_ptr",
        claim="Views share the memory of the tensor they were made of.",
        verdict=verdict(*cases.values()),
        figure=f"{', '.join(name for name, shared in cases.items() if shared) or 'none'}: one "
        "address, and a write to the source shows",
        why="untyped_storage().data_ptr() is the address itself. Only it is evidence.",
    )


def storage_id(_: Budget) -> Fact:
    """Python's ids of what storage() hands out: kept, and gone before the next is made."""
    numbers = torch.zeros(6)
    other = numbers.view(2, 3)
    unrelated = [torch.zeros(6) for _ in range(_TRIALS + 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # storage() is on its way out
        kept = numbers.storage(), other.storage()
        shared_says_equal = id(kept[0]) == id(kept[1])
        for tensor in unrelated:
            tensor.storage()  # the first call also makes an object that stays
        taken_for_shared = sum(id(a.storage()) == id(b.storage()) for a, b in pairwise(unrelated))
    addresses = len({tensor.untyped_storage().data_ptr() for tensor in unrelated})
    return Fact(
        name="storage id",
        claim="id(a.storage()) == id(b.storage()) tells whether two tensors share memory.",
        verdict=verdict(shared_says_equal, taken_for_shared == 0),
        figure=f"a tensor and its view: ids {'equal' if shared_says_equal else 'differ'}; "
        f"two unrelated tensors: ids equal in {taken_for_shared} of {_TRIALS} pairs, at "
        f"{addresses} different addresses",
        why="storage() makes a new Python object at each call; once it is freed, the next one "
        "may get its id.",
    )


def resize(_: Budget, fill: bool = False) -> Fact:
    """Growing by resize_ where memory was used before; with `fill`, zeroed afterwards."""
    leftovers = 0
    for _trial in range(_TRIALS):
        used = torch.full((1000,), 7.0)
        del used
        numbers = torch.ones(4).resize_(1000)
        if fill:
            numbers[4:] = 0
        leftovers += bool((numbers[4:] != 0).any())
    shrunk = torch.arange(4.0).resize_(2).resize_(4)
    return Fact(
        name="resize_",
        claim="resize_ fills what it adds with zeros.",
        verdict=verdict(leftovers == 0),
        figure=f"{leftovers} of {_TRIALS} grown tensors hold something else; shrunk to 2 and "
        f"grown to 4 again: {shrunk.tolist()}",
        why="The new part is memory as it was found. Only by luck is it zero.",
    )


FACTS: dict[str, Check] = {"data_ptr": data_ptr, "storage id": storage_id, "resize_": resize}
