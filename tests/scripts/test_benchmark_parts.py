"""The parts of a step, each computed in several ways."""

from __future__ import annotations

import pytest

from scripts.benchmark_parts import _decoder
from vrp.policy import glimpse

BFLOAT16, FLOAT32 = 600_000, 1_000_000  # bytes that the tape of ten instances keeps to


@pytest.mark.parametrize(
    ("most", "taped"),
    [(0, set()), (BFLOAT16, {"bfloat16"}), (FLOAT32, {"bfloat16", "float32"})],
)
def test_only_what_has_a_tape_is_timed_with_one(most, taped, monkeypatch):
    """A tape of 100 customers is too large in float32; the first way is still the one used."""
    monkeypatch.setattr(glimpse, "_MOST_TAPE", most)
    parts = _decoder(10, 10)
    replays = parts["decoder: replay, forward and backward"]
    named = {name.removesuffix(", from the tape") for name in replays}
    assert named & {"bfloat16", "float32"} == taped
    masks = parts["decoder: masks of all steps"]
    assert ("recorded" in masks) == bool(taped)
    used, pieces = glimpse._CPU_PIECE, parts["decoder: replay, weights at a time"]
    for run in (*replays.values(), *pieces.values(), *masks.values()):
        run()
    now = glimpse._CPU_PIECE
    assert now == used
