"""The demo's two servers, as processes of their own: predictions, and pages with the REST API."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tidemill.core.errors import Conflict, Unavailable
from tidemill.tracking.environment import describe_process, is_alive, this_process

STARTING_SECONDS = 90.0

_NOTE = ".process.json"
"""Beside a server's log: which process it is, and which demo started it."""


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end_orphans(folder: Path) -> None:
    """End the servers that a demo which was killed left in a folder.

    Raises:
        Conflict: That demo still runs.
    """
    for note in (folder / ".tidemill" / "logs").glob(f"*{_NOTE}"):
        processes = msgspec.json.decode(note.read_bytes())
        if is_alive(processes["demo"]):
            raise Conflict(
                f"a demo runs in {folder} already, as process {processes['demo']['pid']}",
                hint="End it, or choose another --folder",
            )
        if processes["server"]["started"] is not None and is_alive(processes["server"]):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(processes["server"]["pid"], signal.SIGKILL)
        note.unlink()


def _await_end(pid: int) -> None:
    ends = time.monotonic() + 15
    while time.monotonic() < ends:
        os.kill(pid, 0)  # raises once the process is gone
        time.sleep(0.05)
    os.killpg(pid, signal.SIGKILL)


class Server:
    """A `tidemill` command that listens, started again when it dies.

    Args:
        folder: The project.
        command: `serve` or `up`, with its options.
        port: Where it listens.
        health: Path that answers below 500 once it listens.
    """

    def __init__(self, folder: Path, command: Sequence[str], *, port: int, health: str) -> None:
        self._folder = folder
        self._command = command
        self.port = port
        self._health = health
        self._process: subprocess.Popen[bytes] | None = None
        self.restarts = 0

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            Unavailable: It ended, or did not answer in time.
        """
        log = self._folder / ".tidemill" / "logs" / f"{self._command[0]}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self._end_stale(log.with_suffix(".pid"))
        arguments = [
            sys.executable,
            "-m",
            "tidemill",
            *self._command,
            "--port",
            str(self.port),
            "--project",
            str(self._folder),
        ]
        with log.open("ab") as output:
            # A session of its own: Ctrl-C reaches the demo, which stops its servers in order.
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        note = log.with_suffix(_NOTE)
        note.write_bytes(msgspec.json.encode({"server": describe_process(self._process.pid), "demo": this_process()}))
        log.with_suffix(".pid").write_text(str(self._process.pid), encoding="ascii")
        self._await(log)

    def _end_stale(self, pid_file: Path) -> None:
        """End the server of a demo that was killed: it would work on the same home beside the new one."""
        if not pid_file.exists():
            return
        with contextlib.suppress(ProcessLookupError, ValueError, subprocess.CalledProcessError):
            pid = int(pid_file.read_text(encoding="ascii"))
            command = subprocess.check_output(["ps", "-o", "args=", "-p", str(pid)], text=True)
            if str(self._folder) in command and self._command[0] in command.split():
                os.kill(pid, signal.SIGTERM)
                _await_end(pid)

    def _await(self, log: Path) -> None:
        ends = time.monotonic() + STARTING_SECONDS
        while time.monotonic() < ends:
            if self._process is not None and self._process.poll() is not None:
                said = log.read_text(errors="replace").strip().splitlines()[-3:]
                raise Unavailable(f"`tidemill {self._command[0]}` ended: {' '.join(said)}", hint=f"See {log}")
            if self.answers():
                return
            time.sleep(0.1)
        raise Unavailable(f"`tidemill {self._command[0]}` did not answer in {STARTING_SECONDS:g} s", hint=f"See {log}")

    def answers(self) -> bool:
        """Whether it listens; not being ready (503) is an answer too."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", self._health)
            return connection.getresponse().status in (200, 503)
        return False

    def ensure(self) -> bool:
        """Start it again if it died; returns whether it did."""
        if self._process is not None and self._process.poll() is None:
            return False
        self.restarts += 1
        self.start()
        return True

    def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        (self._folder / ".tidemill" / "logs" / f"{self._command[0]}{_NOTE}").unlink(missing_ok=True)
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def pid(self) -> int | None:
        """Of the server process."""
        return None if self._process is None else self._process.pid
