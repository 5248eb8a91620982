"""What a process has held, as it is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from scripts.memory import peak_memory
before = peak_memory()
held = bytearray(b"1") * 200_000_000
del held
print(before, peak_memory())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere it goes on")
def test_the_peak_is_this_programs_own():
    """What was freed counts, and what the process that started it held does not."""
    ours = np.ones(600_000_000, dtype=np.uint8)
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT)], stdout=subprocess.PIPE, text=True, check=True
    )
    before, after = (float(number) for number in found.stdout.split())
    assert ours.all()
    assert before < 0.1
    assert 0.2 < after < 0.3
