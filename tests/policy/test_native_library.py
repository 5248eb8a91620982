"""How C++ is built: once, for this machine, and never in the way of who has no compiler."""

from __future__ import annotations

import shutil
import stat

import pytest
import torch

from vrp.policy.attention import AttentionPolicy
from vrp.policy.encoders import LinearEncoder
from vrp.policy.native import library as module
from vrp.policy.native.calls import address
from vrp.policy.native.compiler import find_compiler
from vrp.policy.native.library import NotBuilt, library

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of sources and a cache of their own, with one small file, and nothing loaded."""
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "small.cpp").write_text(
        '#include "one.h"\nextern "C" int seven() { return ONE * 7; }'
    )
    (sources / "one.h").write_text("#define ONE 1\n")
    monkeypatch.setattr(module, "_FOLDER", sources)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    library.cache_clear()
    yield sources
    library.cache_clear()


def built(tmp_path):
    """The files of the cache."""
    return sorted(file.name for file in (tmp_path / "cache" / "vrp-rl").iterdir())


@needs_compiler
def test_is_built_once(folder, tmp_path):
    """And found by the next process, under the same name."""
    assert library("small").seven() == 7
    (name,) = built(tmp_path)
    made = (tmp_path / "cache" / "vrp-rl" / name).stat().st_mtime_ns
    library.cache_clear()
    assert library("small").seven() == 7
    assert built(tmp_path) == [name]
    assert (tmp_path / "cache" / "vrp-rl" / name).stat().st_mtime_ns == made


@needs_compiler
@pytest.mark.parametrize("file", ["small.cpp", "one.h"])
def test_a_change_is_built_anew(file, folder, tmp_path):
    """Of the file and of what it includes."""
    library("small")
    (folder / file).write_text((folder / file).read_text().replace("1", "3").replace("7;", "21;"))
    library.cache_clear()
    assert library("small").seven() == 21
    assert len(built(tmp_path)) == 2


@needs_compiler
def test_what_the_compiler_says(folder, tmp_path):
    """The line that says error, wherever that is; nothing is left behind."""
    (folder / "one.h").write_text("#error no luck today")
    with pytest.raises(NotBuilt, match=r"failed: .*no luck today"):
        library("small")
    assert built(tmp_path) == []


def test_without_a_compiler(monkeypatch):
    """A policy says so, and goes on without."""
    library.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    policy = AttentionPolicy(LinearEncoder(16), 16, num_layers=1, num_heads=2)
    with pytest.warns(UserWarning, match=r"not compiled: no C\+\+ compiler was found"):
        policy.compile_kernels()
    assert not policy.is_compiled()
    library.cache_clear()


@needs_compiler
def test_a_cache_that_cannot_be_written(folder, tmp_path):
    """A file is where the folder should be."""
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(NotBuilt, match="cache"):
        library("small")


@needs_compiler
def test_a_library_is_readable_for_all(folder, tmp_path):
    """As files are that others may use."""
    library("small")
    (name,) = built(tmp_path)
    mode = (tmp_path / "cache" / "vrp-rl" / name).stat().st_mode
    assert stat.S_IMODE(mode) == 0o755


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(2, dtype=torch.float64), torch.zeros(2, 2).T[:1], torch.zeros(4)[::2]],
    ids=["type", "columns", "steps"],
)
def test_what_cpp_would_misread_is_refused(tensor):
    """Numbers of another type or not side by side."""
    with pytest.raises(TypeError, match=r"it must be torch\.float32 on a CPU, in one piece"):
        address(tensor)
