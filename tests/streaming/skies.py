"""A project that reads landings from a broker, the same project fed by a batch, and the service as a process."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tidemill.core.settings import load_settings
from tidemill.platform import Platform
from tidemill.stores.consumers.open import open_producer
from tidemill.stores.streams.segments import FileStreams

CODE = """
import polars as pl
import tidemill as tm

landings = tm.Source("landings", URL, time="landed_at", id="flight_id", checks=[tm.check("delay").between(-100, 2000)])
lateness = tm.FeatureView(lambda rows: rows.with_columns(late=pl.col("delay") > 15), source=landings, keys="carrier",
                          aggregates=[tm.count("late", over="24h"), tm.mean("delay", over=["6h", "24h"])], name="lateness")
last = tm.FeatureView(lambda rows: rows.select("delay"), source=landings, keys="carrier", name="last")
service = tm.FeatureService([lateness, last])
"""
CARRIERS = ("UA", "AA", "DL", "WN")
START = datetime(2024, 1, 1, tzinfo=UTC)
PATIENCE = 120.0

Row = dict[str, Any]


def make_project(folder: Path, url: str | None) -> Path:
    folder.mkdir(parents=True)
    (folder / "tidemill.toml").write_text('project = "skies"\nfiles = ["skies_project.py"]\n')
    (folder / "skies_project.py").write_text(f"URL = {url!r}\n{CODE}")
    return folder


@contextmanager
def opened(folder: Path) -> Iterator[Platform]:
    settings = load_settings(folder)
    try:
        with Platform(settings) as platform:
            yield platform
    finally:
        for file in settings.files:
            sys.modules.pop(Path(file).stem, None)


def landings(count: int) -> list[Row]:
    """Landings a few minutes apart, not quite in order, some of them late."""
    draw = random.Random(3)
    return [
        {
            "flight_id": f"f{number}", "carrier": draw.choice(CARRIERS), "delay": draw.randint(-20, 90),
            "landed_at": (START + timedelta(minutes=3 * number - draw.randint(0, 30))).isoformat(),
        }
        for number in range(count)
    ]  # fmt: skip


def payloads(rows: Sequence[Row]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def send(url: str, folder: Path, events: Sequence[bytes], keys: Sequence[bytes] | None = None) -> None:
    with closing(open_producer(url, folder / ".tidemill")) as producer:
        producer.send(events, keys)


def state(platform: Platform) -> tuple[list[Any], list[Any]]:
    """The rows of the table, and the online features of every carrier at some times."""
    source = platform.definitions.get("source", "landings")
    rows = platform.data.scan(source).sort("flight_id").collect()
    asked = pl.DataFrame([
        {"carrier": carrier, "prediction_time": START + timedelta(hours=hours)}
        for carrier in CARRIERS for hours in (0, 7, 30, 100)
    ])  # fmt: skip
    service = platform.definitions.get("feature_service", "service")
    at = asked["prediction_time"].dt.timestamp("us").to_numpy()
    features = platform.online.lookup(service, asked.select("carrier"), at)
    return rows.select("flight_id", "carrier", "delay", "landed_at", "event_ts").rows(), features.rows()


class Service:
    """`tidemill features stream` as a process, with what it says."""

    def __init__(self, folder: Path, *words: str) -> None:
        command = [sys.executable, "-m", "tidemill", "features", "stream", *words, "--project", str(folder)]
        self.said = folder / "said.txt"
        with self.said.open("ab") as output:
            self.process = subprocess.Popen(command, stderr=output, stdin=subprocess.DEVNULL)

    def lines(self) -> list[Any]:
        """The JSON lines of the log so far."""
        return [json.loads(line) for line in self.said.read_text().splitlines() if line.endswith("}")]

    def pids(self) -> list[int]:
        """The processes that did the work, in order."""
        return list(dict.fromkeys(line["pid"] for line in self.lines() if "state" in line))

    def await_end(self) -> int:
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[Service]:
    with closing(Service(folder, *words)) as service:
        yield service


def await_inbox(folder: Path, messages: int) -> None:
    """Wait until so many batches are durable."""
    streams, ends = FileStreams(folder / ".tidemill" / "streams"), time.monotonic() + PATIENCE
    while streams.end("sources/landings", "main") < messages:
        assert time.monotonic() < ends, "nothing became durable"
        time.sleep(0.002)
    streams.close()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
