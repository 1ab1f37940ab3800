"""The supervisor: restarts what crashes, not what will never work; stops gently; and is not outlived."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.streaming.skies import PATIENCE, await_inbox, kill, landings, make_project, opened, payloads, send, serving

SUPERVISE = """
import sys
from tidemill.streaming import supervisor
supervisor.FIRST_PAUSE = 0.01
sys.exit(supervisor.Supervisor([sys.executable, "-c", sys.argv[1], sys.argv[2]]).run())
"""
CRASHING = """
import os, pathlib, signal, sys
file = pathlib.Path(sys.argv[1])
file.write_text(text := (file.read_text() if file.exists() else "") + "x")
if len(text) == 1:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit({2: 1, 3: 6}.get(len(text), END))
"""


@pytest.mark.parametrize(("end", "code"), [(0, 0), (3, 3)])
def test_what_crashes_is_started_again_until_it_ends_for_good(tmp_path: Path, end: int, code: int) -> None:
    program = CRASHING.replace("END", str(end))
    command = [sys.executable, "-c", SUPERVISE, program, str(tmp_path / "starts")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, (tmp_path / "starts").read_text()) == (code, "xxxx")
    assert [json.loads(line)["message"].partition(";")[0] for line in done.stderr.splitlines()] == [
        "The process was killed by signal 9", "The process ended with exit code 1", "The process ended with exit code 6"
    ]  # fmt: skip


def test_the_supervisor_imports_nothing_heavy() -> None:
    program = (
        "import sys, tidemill.streaming.supervisor; print([m for m in ('polars', 'numpy', 'lmdb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_a_stop_is_gentle_and_what_follows_goes_on(tmp_path: Path) -> None:
    rows = landings(300)
    folder = make_project(tmp_path / "skies", "stream:landings")
    send("stream:landings", folder, payloads(rows[:200]))
    with serving(folder, "--limit", "20") as service:
        await_inbox(folder, 3)
        service.process.terminate()
        assert service.await_end() == 0
        assert service.lines()[-1]["state"] == "stopped"
    send("stream:landings", folder, payloads(rows[200:]))
    with serving(folder, "--drain", "--alone") as service:
        assert service.await_end() == 0
        taken = service.lines()[-1]["taken"]
    assert (taken["redelivered"], taken["duplicates"]) == (0, 0)
    with opened(folder) as platform:
        assert platform.data.scan("landings").collect()["flight_id"].sort().to_list() == sorted(
            row["flight_id"] for row in rows
        )


def test_the_work_ends_with_its_supervisor(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "skies", "stream:landings")
    send("stream:landings", folder, payloads(landings(10)))
    with serving(folder) as service:
        await_inbox(folder, 1)
        (worker,) = service.pids()
        kill(service.process.pid)
        ends = time.monotonic() + PATIENCE
        while _lives(worker):
            assert time.monotonic() < ends, "the worker lives on"
            time.sleep(0.02)
        assert service.lines()[-1]["state"] == "stopped"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_project_without_a_broker_ends_at_once(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "skies", None)
    with serving(folder) as service:
        assert service.await_end() == 2
    assert "no source of the project is read from a broker" in service.said.read_text()


def test_ctrl_c_stops_gently(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "skies", "stream:landings")
    send("stream:landings", folder, payloads(landings(10)))
    with serving(folder, "--alone", "--port", "0") as service:
        await_inbox(folder, 1)
        service.process.send_signal(signal.SIGINT)
        assert service.await_end() == 0
    assert "Health and metrics at http://127.0.0.1:" in service.said.read_text()
