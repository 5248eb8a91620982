"""The code is as ruff and the layout want it."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ABOVE = tuple(path.stem for path in (ROOT / "vrp").glob("*.py"))  # these import nothing of ours
LAYERS = ("problem", "policy", "search", "training", "evaluation", "study")


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_has_nothing_to_say(arguments):
    """With the settings in pyproject.toml."""
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    done = subprocess.run([ruff, *arguments, "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_stands_above_all_imports_nothing_of_ours():
    """So every layer may use it."""
    for name in ABOVE:
        tree = ast.parse((ROOT / "vrp" / f"{name}.py").read_text())
        modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert not [module for module in modules if module.startswith("vrp")]


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_up(layer):
    """A layer imports itself, those before it and what stands above all; none knows Hydra."""
    allowed = (*ABOVE, *LAYERS[: LAYERS.index(layer) + 1])
    for path in (ROOT / "vrp" / layer).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module == "vrp":
                names = [f"vrp.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            for name in names:
                parts = name.split(".")
                assert parts[0] not in ("hydra", "omegaconf", "scripts", "train"), path
                assert parts[0] != "vrp" or parts[1] in allowed, f"{path} imports {name}"
