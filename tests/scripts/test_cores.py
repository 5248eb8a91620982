"""Threads spin only where nobody else wants the cores."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from scripts import cores
from scripts.cores import Reading, choose_waiting


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """Nobody has said how threads shall wait."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "")
    monkeypatch.delenv("OMP_WAIT_POLICY")


def after(monkeypatch, seconds: float, all_busy: float | None, own_busy: float) -> Reading:
    """A reading that lies `seconds` back, with core seconds used since by all and by ourselves."""
    now = Reading(100.0, None if all_busy is None else 50.0 + all_busy, 10.0 + own_busy)
    monkeypatch.setattr(Reading, "now", classmethod(lambda cls: now))
    monkeypatch.setattr(cores.time, "perf_counter", lambda: 100.0)
    return Reading(100.0 - seconds, None if all_busy is None else 50.0, 10.0)


@pytest.mark.parametrize(
    ("all_busy", "own_busy", "policy"),
    [
        (1.0, 1.0, None),  # all of it was ours
        (1.2, 1.0, None),
        (2.0, 1.0, "PASSIVE"),  # half a core
        (0.9, 1.0, None),  # the counters are coarse
        (None, 1.0, "PASSIVE"),  # not known
    ],
)
def test_what_others_use_decides(monkeypatch, all_busy, own_busy, policy):
    """Over two seconds."""
    choose_waiting(after(monkeypatch, 2.0, all_busy, own_busy))
    assert os.environ.get("OMP_WAIT_POLICY") == policy


def test_the_user_decides(monkeypatch):
    """Whatever others do."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    choose_waiting(after(monkeypatch, 2.0, 4.0, 0.0))
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what all programs use")
def test_a_busy_neighbour_is_seen():
    """A process that only counts, while this one waits."""
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        start = Reading.now()
        cores.time.sleep(0.5)
        assert start.others_since() > 0.3
    finally:
        neighbour.kill()
        neighbour.wait()
