"""Serving: four clients, twenty rows a request, two workers, every answer captured; against Uvicorn and the bare model."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.linear_model import LinearRegression

import tidemill as tm
from bench.measure import Row, Size, row

FEATURES = [f"x{number}" for number in range(10)]
CLIENTS, ROWS, STATIONS = 4, 20, 200
TRAINED = 2_000


def run(size: Size, folder: Path) -> list[Row]:
    """Latency and throughput of the three, asked in turns."""
    prepare(folder)
    count = size.of(1_000, least=40)
    with ExitStack() as stack:
        raw = stack.enter_context(server([sys.executable, "-m", "bench.raw_app"], "/", folder))
        ours = stack.enter_context(
            server(
                [sys.executable, "-m", "tidemill", "serve", "--workers", "2", "-C", str(folder), "--port"],
                "/v2/health/ready",
                folder,
            )
        )
        subjects = {
            "uvicorn and the bare model": (raw, "/", body(FEATURES)),
            "tidemill, features in the request": (ours, "/predict/in-request", body(FEATURES)),
            "tidemill, features by key": (ours, "/predict/by-key", body(["station"])),
        }
        seconds: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in subjects}
        rates: dict[str, list[float]] = {name: [] for name in subjects}
        for number in range(min(size.repetitions, 3) + 1):
            for name, (port, path, payload) in subjects.items():
                latencies, rate = asked(port, path, payload, count)
                if number:
                    seconds[name].append(latencies)
                    rates[name].append(rate)
    return figures(seconds, rates)


def figures(seconds: dict[str, list[np.ndarray[Any, Any]]], rates: dict[str, list[float]]) -> list[Row]:
    rows = []
    for share in (50, 99):
        for name, parts in seconds.items():
            rows.append(
                row(f"serving, p{share}", name, [float(np.percentile(one, share)) * 1000 for one in parts], "ms")
            )
    return rows + [row("serving, throughput", name, values, "requests/s") for name, values in rates.items()]


# -- what is asked


def data() -> pl.DataFrame:
    """Rides of the last two days, whose fare is a sum of the ten features."""
    draw = np.random.default_rng(4)
    values = {name: draw.normal(size=TRAINED) for name in FEATURES}
    now = datetime.now(UTC).replace(microsecond=0)
    at = pl.Series([now - timedelta(minutes=number) for number in range(TRAINED, 0, -1)])
    stations = [f"s{number % STATIONS}" for number in range(TRAINED)]
    rides = [f"r{number}" for number in range(TRAINED)]
    return pl.DataFrame({"ride": rides, "at": at, "station": stations, **values, "fare": sum(values.values())})


def model() -> LinearRegression:
    return LinearRegression()


def fitted() -> LinearRegression:
    """The model as the bare server has it."""
    rows = data()
    return model().fit(rows.select(FEATURES).to_numpy(), rows["fare"].to_numpy())


def body(names: list[str]) -> bytes:
    return json.dumps({"rows": data().tail(ROWS).select("ride", *names).to_dicts()}).encode()


def prepare(folder: Path) -> None:
    """Train and deploy."""
    shutil.copy(Path(__file__).with_name("graph_project.py"), folder / "graph_project.py")
    (folder / "tidemill.toml").write_text('project = "bench"\nfiles = ["graph_project.py"]\nexecutor = "inline"\n')
    data().write_parquet(folder / "rides.parquet")
    with tm.open(folder) as platform:
        platform.ingest()
        platform.apply()
        for pipeline in ("pipeline_in_request", "pipeline_by_key"):
            assert platform.pipelines.run(pipeline).result["promoted"]


# -- asking


@contextmanager
def server(command: list[str], health: str, folder: Path) -> Iterator[int]:
    """A server on a free port, the last argument of its command."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen([*command, str(port)], stdout=log, stderr=log)
    try:
        await_ready(process, port, health, folder / f"{port}.log")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def await_ready(process: subprocess.Popen[bytes], port: int, health: str, log: Path) -> None:
    ends = time.monotonic() + 120
    while status(port, health) != 200:
        if process.poll() is not None or time.monotonic() > ends:
            raise RuntimeError(f"the server did not start: {log.read_text()}")
        time.sleep(0.1)


def status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def asked(port: int, path: str, payload: bytes, count: int) -> tuple[np.ndarray[Any, Any], float]:
    """Seconds of each request, and requests per second."""
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        parts = list(pool.map(lambda _: client(port, path, payload, count // CLIENTS), range(CLIENTS)))
    return np.concatenate(parts), CLIENTS * (count // CLIENTS) / (time.perf_counter() - began)


def client(port: int, path: str, payload: bytes, count: int) -> np.ndarray[Any, Any]:
    connection, seconds = http.client.HTTPConnection("127.0.0.1", port, timeout=30), np.empty(count)
    for number in range(count):
        began = time.perf_counter()
        connection.request("POST", path, payload, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        seconds[number] = time.perf_counter() - began
        assert response.status == 200, answer
    connection.close()
    return seconds
