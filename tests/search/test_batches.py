"""How many instances are solved at once, and what that takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vrp.search.fixed import instances_at_once

ROOT = Path(__file__).resolve().parents[2]


def growth(num_customers: int) -> float:
    """GB more than before, after 1,000 instances have been solved from every customer."""
    import torch

    from scripts.memory import peak_memory
    from vrp.policy import AttentionPolicy
    from vrp.policy.encoders import LinearEncoder
    from vrp.problem import UniformGenerator
    from vrp.search.fixed import solve

    policy = AttentionPolicy(LinearEncoder(128), 128, num_layers=1, precision="auto")
    policy.initialise(0)
    instances = UniformGenerator(num_customers, 40)(1000, torch.Generator().manual_seed(0))
    before = peak_memory()
    solve(policy, instances, "multistart")
    return peak_memory() - before


@pytest.mark.parametrize(("num_nodes", "count"), [(11, 1000), (21, 1000), (51, 250), (10_000, 1)])
def test_larger_instances_are_fewer(num_nodes, count):
    """Up to twenty customers nothing is parted."""
    assert instances_at_once(num_nodes) == count


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks are counted otherwise")
def test_a_validation_takes_little_memory():
    """1,000 instances of 50 customers from each of them, with the heap as train.py has it."""
    found = subprocess.run(
        [sys.executable, __file__, "50"], stdout=subprocess.PIPE, text=True, check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert float(found.stdout) < 0.4  # measured: 0.2, and 0.8 all at once


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

    from scripts.heap import settle_heap

    settle_heap()
    print(growth(int(sys.argv[1])))
