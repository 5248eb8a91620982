"""A program that settles its heap starts once more, and stays the same program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, sys
from pathlib import Path
from scripts.heap import settle_heap
with Path(sys.argv[1]).open("a") as starts:
    starts.write("start\\n")
if "trace" in sys.argv:
    sys.settrace(lambda *event: None)
settle_heap()
print(os.environ.get("GLIBC_TUNABLES", ""), sys.argv[2:], sys.flags.optimize)
"""


def run(folder: Path, *arguments: str, tunables: str | None = None) -> tuple[int, str]:
    """How often it starts, and what it prints."""
    program, starts = folder / "program.py", folder / "starts"
    program.write_text(PROGRAM)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    environment["PYTHONPATH"] = str(ROOT)
    if tunables is not None:
        environment["GLIBC_TUNABLES"] = tunables
    done = subprocess.run(
        [sys.executable, "-O", program, starts, *arguments],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return starts.read_text().count("start"), done.stdout.strip()


@pytest.fixture(autouse=True)
def _only_with_glibc():
    if not (hasattr(os, "confstr") and "glibc" in (os.confstr("CS_GNU_LIBC_VERSION") or "")):
        pytest.skip("the settings are glibc's")


def test_it_starts_once_more_with_its_arguments(tmp_path):
    """Also Python's own flags stay."""
    starts, printed = run(tmp_path, "a b", "problem=vrp10")
    assert starts == 2
    assert "glibc.malloc.tcache_count=0" in printed
    assert printed.endswith("['a b', 'problem=vrp10'] 1")


def test_what_the_user_has_set_stays(tmp_path):
    """The other settings join it."""
    starts, printed = run(tmp_path, tunables="glibc.malloc.tcache_count=3:glibc.malloc.perturb=1")
    assert starts == 2
    settings = printed.split()[0].split(":")
    assert settings[:2] == ["glibc.malloc.tcache_count=3", "glibc.malloc.perturb=1"]
    assert "glibc.malloc.tcache_count=0" not in settings
    assert "glibc.malloc.mxfast=0" in settings


def test_a_debugger_keeps_its_program(tmp_path):
    """Nothing starts again, nothing is set."""
    assert run(tmp_path, "trace") == (1, "['trace'] 1")


STEPS = """
import sys
from scripts.heap import settle_heap
if sys.argv[1] == "settled":
    settle_heap()
import resource
import torch
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for step in range(6):
    if step == 3:
        before = faults()
    torch.ones(1 << 24)  # more bytes than glibc by itself would ever keep
print(faults() - before)
"""


def test_memory_stays_in_the_process():
    """A tensor finds the memory of the one before; it does not come anew from the system."""

    def page_faults(how: str) -> int:
        environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
        command = [sys.executable, "-c", STEPS, how]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert page_faults("settled") < page_faults("as it is") / 10
