"""The records of records.h, field by field."""

from __future__ import annotations

import ctypes
from dataclasses import fields

import torch

from vrp.policy.glimpse import Tables
from vrp.policy.native.calls import address
from vrp.policy.native.tape import StepTape


class TablesRecord(ctypes.Structure):
    """`Tables` of records.h, like the next."""

    _fields_ = (
        *(
            (name, ctypes.c_void_p)
            for name in ["by_node", "by_load", "per_load", "outputs", "bias", "scale"]
        ),
        *((name, ctypes.c_int64) for name in ["instances", "nodes", "heads", "loads"]),
        ("clipping", ctypes.c_float),
        ("is_bfloat16", ctypes.c_int32),
    )


class TapeRecord(ctypes.Structure):
    _fields_ = tuple((field.name, ctypes.c_void_p) for field in fields(StepTape))


class PlayRecord(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ["capacity", "position", "load", "remaining"]),
        *((name, ctypes.c_int64) for name in ["remaining_n", "remaining_k"]),
        *((name, ctypes.c_void_p) for name in ["first", "given", "uniforms"]),
        ("temperature", ctypes.c_float),
        *((name, ctypes.c_int64) for name in ["solutions", "most"]),
        ("tape", TapeRecord),
        *((name, ctypes.c_void_p) for name in ["actions", "steps"]),
    )


class FactorsRecord(ctypes.Structure):
    _fields_ = (
        ("scores", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ["scores_n", "scores_a", "scores_h"]),
        *((name, ctypes.c_void_p) for name in ["per_load", "scale"]),
        *((name, ctypes.c_int64) for name in ["instances", "nodes", "heads", "loads"]),
        *((name, ctypes.c_void_p) for name in ["by_node", "by_load", "below_zero"]),
    )


class GradientsRecord(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ["of_log_prob", "of_entropy"]),
        *((name, ctypes.c_int64) for name in ["steps", "most", "solutions"]),
        ("tape", TapeRecord),
        *((name, ctypes.c_void_p) for name in ["scores", "per_load", "outputs", "bias"]),
    )


def tables_record(tables: Tables) -> TablesRecord:
    """The record of tables, which must outlive it."""
    factors = tables.factors
    n, v, width = factors.by_node.shape
    loads = 0 if factors.by_load is None else factors.by_load.shape[1]
    outputs = factors.outputs
    return TablesRecord(
        *map(address, (factors.by_node, factors.by_load, factors.per_load)),
        address(outputs, outputs.dtype), *map(address, (tables.bias, tables.scale)),
        n, v, width // v, loads, tables.clipping, outputs.dtype == torch.bfloat16,
    )  # fmt: skip


def tape_record(tape: StepTape | None) -> TapeRecord:
    """The record of a tape, likewise."""
    if tape is None:
        return TapeRecord()
    whole = (address(x, torch.int32) for x in (tape.position, tape.load, tape.action))
    return TapeRecord(*whole, *map(address, (tape.logits, tape.log_prob, tape.entropy)))
