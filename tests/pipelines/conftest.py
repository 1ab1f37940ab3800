"""A small project folder, opened as a platform or driven by other processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tidemill as tm
from tidemill.core.clock import Clock

SETTINGS = 'project = "mill"\nfiles = ["mill.py"]\nexecutor = "{executor}"\n'

Write = Callable[..., Path]
Open = Callable[..., tm.Platform]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the project's files; `mill.py` is the one with definitions."""

    def project(executor: str = "inline", **files: str) -> Path:
        (tmp_path / "tidemill.toml").write_text(SETTINGS.format(executor=executor))
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        return tmp_path

    return project


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the project as a new process would: its files are imported anew."""
    with contextlib.ExitStack() as stack, fresh_modules(tmp_path):

        def open_project(clock: Clock | None = None, **overrides: Any) -> tm.Platform:
            forget(tmp_path)
            return stack.enter_context(tm.open(tmp_path, clock=clock, overrides=overrides))

        yield open_project


@contextlib.contextmanager
def fresh_modules(folder: Path) -> Iterator[None]:
    path, writes = list(sys.path), sys.dont_write_bytecode
    # Two versions of a file written within one second would share their bytecode.
    sys.dont_write_bytecode = True
    yield
    sys.path[:], sys.dont_write_bytecode = path, writes
    forget(folder)


def forget(folder: Path) -> None:
    """Drop the folder's modules, as if this process had never imported them."""
    for name, module in list(sys.modules.items()):
        if (file := getattr(module, "__file__", None)) and Path(file).is_relative_to(folder):
            del sys.modules[name]


def tidemill(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "tidemill", *arguments, "--project", str(folder)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
    )  # fmt: skip


def calls(folder: Path) -> list[str]:
    """What the project's steps wrote to `calls.txt`, a line per call."""
    path = folder / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []
