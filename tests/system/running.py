"""Running the demo as a user does, and looking at what it left."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tidemill.core.clock import SystemClock
from tidemill.core.times import format_time
from tidemill.demo.journal import DayRecord, Journal, SliceRecord
from tidemill.demo.year import FIRST_DAY, Year, midnight

FAST = 4
"""`--fast` lives with every fourth flight."""


def demo_command(folder: Path, days: int, *more: str) -> list[str]:
    report = ["--report", str(folder / "report.json")]
    return [
        sys.executable,
        "-m",
        "tidemill",
        "demo",
        "--days",
        str(days),
        "--fast",
        "--folder",
        str(folder),
        *report,
        *more,
    ]


def run_demo(folder: Path, *more: str, days: int, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*prefix, *demo_command(folder, days, *more)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


@contextmanager
def running_demo(folder: Path, days: int, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A demo under way; ended, with its servers, when the block is left."""
    with (folder.parent / "demo.log").open("ab") as log:
        process = subprocess.Popen(demo_command(folder, days, *more), stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def lived(folder: Path) -> tuple[list[SliceRecord], list[DayRecord]]:
    return Journal(folder / ".tidemill" / "demo.jsonl").read()


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def flights_of(folder: Path, days: int) -> list[str]:
    """The flights a demo of so many days has to ask for."""
    year, end = Year(folder / "year", every=FAST), midnight(FIRST_DAY + timedelta(days=days))
    at = year.flights["scheduled_at"].to_physical()
    return year.flights.filter(at.is_between(midnight(FIRST_DAY), end - 1))["flight_id"].to_list()


def outcomes_of(folder: Path, days: int) -> list[str]:
    """The flights whose label it has to post."""
    year = Year(folder / "year", every=FAST)
    parts = [
        part for number in range(days) for part in year.day(date.fromordinal(FIRST_DAY.toordinal() + number), hours=24)
    ]
    return [one for part in parts for one in part.outcomes.drop_nulls("arr_delay")["flight_id"]]


def wait_until(done: Callable[[], Any], *, seconds: float = 120, what: str = "it") -> Any:
    ends = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < ends, f"{what} did not happen in {seconds:g} s"
        time.sleep(0.05)
    return found


def children(pid: int) -> list[int]:
    """The processes a process started."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(one) for one in found.stdout.split()]


def command_of(pid: int) -> str:
    found = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def server_of(demo: int, command: str) -> int | None:
    """The process id of a server that a demo started: `serve` or `up`."""
    wanted = f"tidemill {command} --port"
    return next((pid for pid in children(demo) if wanted in command_of(pid)), None)


# -- servers of a project


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(folder: Path, port: int, command: str = "serve", health: str = "/v2/health/ready") -> Iterator[None]:
    """`tidemill serve` (or `up`) while the block lasts, ready when it begins."""
    log = folder / f"{command}-{port}.log"
    arguments = [sys.executable, "-m", "tidemill", command, "--port", str(port), "--project", str(folder)]
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output)
    try:
        wait_until(lambda: process.poll() is not None or get(port, health) == 200, what=f"{command} getting ready")
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        code = process.wait(60)
    assert code == 0, log.read_text()


def get(port: int, path: str) -> int:
    """The status of an answer, 0 if there is none."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0


def post(port: int, path: str, body: Any) -> Any:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read() or b"null")
    assert response.status < 300, answer
    return answer


def write_rides(path: Path, count: int) -> None:
    """Rides of the two days before now, whose fare depends on station and distance."""
    now = SystemClock().now()
    lines = ["ride,at,station,distance,fare"]
    for number in range(count):
        at = format_time(now - (count - number) * 432_000_000)
        station, distance = ("north", "south")[number % 2], number % 17
        lines.append(f"r{number},{at},{station},{distance}.0,{3.0 + distance * (1 + number % 2)}")
    path.write_text("\n".join(lines) + "\n")
