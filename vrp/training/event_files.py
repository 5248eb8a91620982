"""Cuts TensorBoard's event files back to a step.

An event file is a sequence of records: length (8 bytes, little-endian), a checksum of it (4),
the event (length bytes), a checksum of it (4).
"""

from __future__ import annotations

import struct
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event

from vrp.whole_file import whole_file


def cut_event_files(folder: Path, step: int) -> None:
    """Drop all events after `step`, and all from a half written or unreadable record on.

    Args:
        folder: whose `events.out.tfevents.*` are rewritten where something is dropped.
        step: last step to keep.
    """
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        kept = [record for at, record in _records(data) if at <= step]
        if sum(map(len, kept)) == len(data):
            continue
        with whole_file(path) as file:
            file.write(b"".join(kept))


def _records(data: bytes) -> list[tuple[int, bytes]]:
    """The step and the bytes of each whole record."""
    found = []
    start = 0
    while start + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        end = start + 12 + length + 4
        if end > len(data):
            break
        try:
            event = Event.FromString(data[start + 12 : start + 12 + length])
        except DecodeError:  # nothing behind it can be trusted
            break
        found.append((event.step, data[start:end]))
        start = end
    return found
