"""The commit that a checkpoint names."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vrp.training.provenance import commit, versions

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    """What git prints there, whatever the user has configured."""
    user = ["-c", "user.name=x", "-c", "user.email=x", "-c", "commit.gpgsign=false"]
    command = ["git", *user, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree with one commit of one file."""
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "code.py").write_text("1")
    git(folder, "init")
    git(folder, "add", "code.py")
    git(folder, "commit", "-m", "First")
    return folder


@pytest.fixture(autouse=True)
def forget():
    """Each test asks anew."""
    commit.cache_clear()
    yield
    commit.cache_clear()


def test_commit(tree, tmp_path, monkeypatch):
    """The start of its hash, wherever the program is called; new files change nothing."""
    (tree / "notes").write_text("2")
    monkeypatch.chdir(tmp_path)
    found = commit(tree)
    assert len(found) >= 7
    assert git(tree, "rev-parse", "HEAD").startswith(found)


def test_changed_file(tree):
    """A tracked file that differs, in the index or not, is a plus."""
    clean = commit(tree)
    (tree / "code.py").write_text("2")
    assert commit(tree) == clean  # asked once in a process
    commit.cache_clear()
    assert commit(tree) == f"{clean}+"
    git(tree, "add", "code.py")
    commit.cache_clear()
    assert commit(tree) == f"{clean}+"


def test_linked_work_tree(tree, tmp_path):
    """It has a file in the place of the folder .git."""
    git(tree, "worktree", "add", str(tmp_path / "linked"))
    assert commit(tmp_path / "linked") == commit(tree)


def test_package_inside_another_project(tree):
    """A package that is installed somewhere in a work tree is not of that tree."""
    (tree / "site-packages").mkdir()
    assert commit(tree / "site-packages") is None


def test_no_commit_yet(tmp_path):
    """An empty history has none to name."""
    git(tmp_path, "init")
    assert commit(tmp_path) is None


def test_no_git(tree, tmp_path, monkeypatch):
    """Without git, or with one that fails, it is left open."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit(tree) is None
    commit.cache_clear()
    (tmp_path / "git").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "git").chmod(0o755)
    assert commit(tree) is None


def test_versions_name_the_commit_of_the_source():
    """It is that of this project's own work tree, if it is one."""
    root = Path(__file__).resolve().parents[2]
    expected = git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    found = versions()["commit"]
    assert found == expected or expected.startswith(found.removesuffix("+"))
