"""Builds the C++ files of this folder and loads them; each is a library of its own.

A library is built once for a machine and kept in the user's cache folder, under a name that says
what it was made of. It finds OpenMP loaded already, by PyTorch under the same name, so that the
threads of both are one pool.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from vrp.policy.native.compiler import find_compiler

_FOLDER = Path(__file__).resolve().parent
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared", "-w")


class NotBuilt(Exception):
    """Why a library is not there, in a line."""


@functools.cache
def library(name: str) -> ctypes.CDLL:
    """The library of `name`.cpp, built if it is not there yet, which takes some seconds.

    Raises:
        NotBuilt: without a compiler, or if it or the loader fails.
    """
    compiler = find_compiler()
    if compiler is None:
        raise NotBuilt("no C++ compiler was found")
    try:
        file = _cache() / f"{name}-{_fingerprint(name, compiler)}.so"
        if not file.exists():
            _build(_FOLDER / f"{name}.cpp", file, compiler)
        return ctypes.CDLL(str(file))
    except (OSError, RuntimeError) as error:  # the latter where there is no home
        raise NotBuilt(str(error)) from error


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "vrp-rl"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _fingerprint(name: str, compiler: str) -> str:
    """Of everything that decides what the library is."""
    digest = hashlib.sha256()
    for file in (_FOLDER / f"{name}.cpp", *sorted(_FOLDER.glob("*.h"))):
        digest.update(file.read_bytes())
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    digest.update(repr((compiler, _FLAGS, version.stdout, _processor())).encode())
    return digest.hexdigest()[:16]


def _processor() -> str:
    """What `-march=native` goes by: a home folder may belong to several machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kinds = ("model", "flags", "features", "cpu family")
    return "\n".join(sorted({line for line in lines if line.lower().startswith(kinds)}))


def _build(source: Path, file: Path, compiler: str) -> None:
    """Under another name first: several processes may build it at once."""
    if sys.stderr.isatty():
        print(f"building {source.name}, once for this machine ...", file=sys.stderr, flush=True)
    handle, unfinished = tempfile.mkstemp(suffix=".so", dir=file.parent)
    os.close(handle)
    try:
        built = subprocess.run(
            [compiler, *_FLAGS, str(source), "-o", unfinished],
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            said = built.stderr.strip().splitlines() or ["it said nothing"]
            error = next((line for line in said if "error" in line), said[0])
            raise NotBuilt(f"{compiler} failed: {error}")
        os.chmod(unfinished, 0o755)
        os.replace(unfinished, file)
    finally:
        Path(unfinished).unlink(missing_ok=True)
