"""The parts of a step, each computed in several ways."""

from __future__ import annotations

import pytest

from scripts.benchmark_parts import _decoder
from vrp.policy import glimpse
from vrp.policy.native.compiler import find_compiler

BFLOAT16, FLOAT32 = 600_000, 1_000_000  # bytes that the tape of ten instances keeps to


@pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize(
    ("most", "taped"),
    [(0, set()), (BFLOAT16, {"bfloat16"}), (FLOAT32, {"bfloat16", "float32"})],
)
def test_only_what_has_a_tape_is_timed_with_one(most, taped, monkeypatch):
    """A tape of 100 customers is too large in float32; the first way is still the one used."""
    monkeypatch.setattr(glimpse, "_MOST_TAPE", most)
    parts = _decoder(10, 10)
    replays = parts["decoder: replay, forward and backward"]
    named = {f"PyTorch, {precision}, from the tape" for precision in taped}
    assert {name for name in replays if name.startswith("PyTorch") and "tape" in name} == named
    assert next(iter(replays)) == "C++, bfloat16, from the tape"
    for ways in parts.values():
        for name, run in ways.items():
            if "torch.compile" not in name:
                run()
