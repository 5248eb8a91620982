"""The repository's programs, run as typed, each in a process of its own that has torch imported."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from scripts import heap

ROOT = Path(__file__).resolve().parent.parent
# A server imports these once and forks for each program. It computes nothing, as OpenMP's threads
# do not outlive a fork.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["torch", "torch._dynamo", "torch.utils.tensorboard", "hydra", "matplotlib.figure"]
)


class Done(NamedTuple):
    """How a program ended."""

    returncode: int
    stdout: str
    stderr: str


def run_program(words: list[str], folder: Path) -> Done:
    """`python WORDS` in a folder, uncompiled; the first word is a program's path from the root.

    For programs without processes of their own: what these do at their end is left out.
    """
    with TemporaryDirectory() as kept:
        printed = [Path(kept, name) for name in ("stdout", "stderr")]
        process = SERVER.Process(target=_run, args=(words, folder, printed))
        process.start()
        process.join()
        return Done(process.exitcode, *(path.read_text() for path in printed))


def run_anew(words: list[str], folder: Path) -> Done:
    """The same by an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, str(ROOT / words[0]), *words[1:]], cwd=folder, capture_output=True,
        text=True, env=os.environ | {"TORCH_COMPILE_DISABLE": "1"},
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def _run(words: list[str], folder: Path, printed: list[Path]) -> None:
    for descriptor, path in enumerate(printed, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(folder)
    # A process that has begun cannot settle its heap, and need not start again for it.
    tunables = ":".join(f"{name}={value}" for name, value in heap.SETTINGS.items())
    os.environ[heap.VARIABLE] = tunables
    torch.compiler.set_stance("force_eager")
    sys.argv = [str(ROOT / words[0]), *words[1:]]
    sys.path[0] = str((ROOT / words[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
