"""Every command of both README.md runs, the long ones shortened by overrides."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from string import Template

import pytest
from programs import run_anew, run_program

from scripts.plan import make_plan
from scripts.schema import TrainConfig
from vrp.problem.tours import check_tours

ROOT = Path(__file__).resolve().parent.parent
SHORT = [
    "max_instances=32", "decay_instances=32", "batch_size=16", "validation.every=32",
    "validation.limit=8", "embedding_dim=16", "compile=off", "threads=1",
]  # fmt: skip
# What each kind of command is shortened by; a resumed run takes its settings from before.
SHORTER = {
    "train.py resume=": ["threads=1"],
    "train.py experiment=nazari": [o for o in SHORT if not o.startswith("decay")],
    "train.py +sweep=": [*SHORT, "seed=0"],
    "train.py --multirun encoder=conv1d,linear,embedding": [*SHORT, "seed=0"],
    "train.py policy=attention encoder=linear problem=vrp50 start_from=": [
        o for o in SHORT if not o.startswith("embedding_dim")
    ],
    "train.py": SHORT,
    "scripts/compare_searches.py": ["--limit=2", "--seconds=0.01", "--threads=1"],
    "scripts/extrapolate.py": ["--factors=1", "--decode=greedy", "--threads=1"],
    "scripts/compare.py checkpoints/": [],
    "scripts/compare.py": ["--limit=8"],
    "scripts/benchmark_parts.py": [
        "--customers=10",
        "--repeats=1",
        "--threads=1",
        "--batch-size=4",
    ],
    "scripts/layer_facts.py": ["--fast", "--only=shapes"],
    "scripts/evaluate.py": ["limit=8", "threads=1"],
    "scripts/benchmark_rl4co.py": ["batch_size=4", "decoded=8", "steps=2", "warmup=1", "threads=1"],
    "scripts/race_rl4co.py": ["max_time=1", "batch_size=4", "validation.limit=8", "threads=1"],
    "scripts/benchmark.py": [
        "problem.num_customers=6",
        "batch_size=16",
        "decoded=16",
        "steps=1",
        "warmup=1",
        "compile=off",
        "threads=1",
    ],
}


def blocks() -> list[list[str]]:
    """The commands of the bash blocks of README.md and scripts/README.md, in their order."""
    text = "".join((ROOT / place / "README.md").read_text() for place in ("", "scripts"))
    found = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [
        [line for line in block.splitlines() if line and not line.startswith("#")]
        for block in found
    ]


def commands() -> list[str]:
    """All of them."""
    return [line for block in blocks() for line in block]


def test_the_first_two_commands_install_and_ci_runs_the_second():
    """The set-up lines are the first ones, and .ci/run is the second of them."""
    first, second = commands()[:2]
    assert first.startswith("python3 -m venv")
    assert first.endswith("python train.py encoder=conv1d")
    assert second in (ROOT / ".ci" / "run").read_text()


def test_every_other_command_runs(tmp_path):
    """Those of a block in order, since some use what others made; the blocks side by side."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        folders = [tmp_path / str(number) for number in range(len(blocks()))]
        for failure in pool.map(run_block, blocks(), folders):
            assert not failure


def test_every_training_that_is_mentioned_can_begin(tmp_path, monkeypatch):
    """Also the commands in a sentence or a table, and those of the study, which take days."""
    monkeypatch.chdir(tmp_path)
    found = []
    for folder in ("", "scripts", "checkpoints/encoder-study"):
        text = (ROOT / folder / "README.md").read_text()
        text = re.sub(r"\s*\\\n\s*", " ", text)
        values = dict(re.findall(r'^(\w+)="(.*)"$', text, re.MULTILINE))
        for line in re.findall(r"python train\.py ([^`\n]+)", text):
            found.append(tuple(shlex.split(Template(line).safe_substitute(values))))
    assert len(found) > 50
    for words in dict.fromkeys(found):
        if not any(word.startswith(("resume=", "--help")) for word in words):
            overrides = [word for word in words if word != "--multirun"]
            plan = make_plan(
                TrainConfig, "config", ROOT, overrides, len(overrides) < len(words), False
            )
            assert plan.overrides


def test_the_library_is_used_as_shown():
    """The README's Python."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    found: dict[str, object] = {}
    exec(code, found)
    check_tours(found["instances"], found["solution"].actions[:, None])


def run_block(lines: list[str], folder: Path) -> str:
    """The first command that fails and what it printed; empty if none does."""
    study = Path("checkpoints", "encoder-study")
    shutil.copytree(ROOT / study, folder / study)
    for line in lines:
        words = shlex.split(line)
        if line in commands()[:2] or words[0] == "tensorboard":
            continue
        if words[0] != "python":
            return line
        if "--help" not in words:
            begin = next(b for b in SHORTER if " ".join(words[1:]).startswith(b))
            keys = {o.partition("=")[0] for o in SHORTER[begin] if not o.startswith("--")}
            # Hydra takes a key once; of an option, the last value counts.
            words = [w for w in words if w.partition("=")[0] not in keys] + SHORTER[begin]
        # A launcher ends its processes when its own ends, as only a real program does.
        run = run_anew if "hydra/launcher=" in line else run_program
        done = run(words[1:], folder)
        if "_rl4co.py" in line and find_spec("rl4co") is None:
            if "RL4CO is not installed: pip install" not in done.stderr:
                return line
        elif done.returncode:
            return f"{line}\n{done.stdout}\n{done.stderr}"
    return ""


def test_tensorboard_shows_the_runs(tmp_path):
    """The README's command starts a server that answers."""
    (line,) = [line for line in commands() if line.startswith("tensorboard")]
    program = Path(sys.executable).with_name("tensorboard")
    if not program.exists():
        pytest.fail("tensorboard is a core package, its command must be installed")
    with subprocess.Popen(
        [program, *shlex.split(line)[1:], "--port", "0"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert any("http://" in message for message in server.stderr)
        finally:
            server.terminate()
