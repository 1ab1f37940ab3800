"""A registry with small models, real servers over it, and clients that put them under load."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from serving_project import SCOPE, Times

from tidemill.registry.service import Registry
from tidemill.serving.service import Serving
from tidemill.stores.artifacts.open import open_artifacts
from tidemill.stores.metadata.open import open_metadata
from tidemill.tracking.service import Tracking

HERE = Path(__file__).parent
PATIENCE = 60.0


class Home:
    """A folder with stores, and what a test puts into them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metadata = open_metadata("sqlite:", folder)
        artifacts = open_artifacts("file:", folder)
        self.registry = Registry(SCOPE, metadata=self.metadata, artifacts=artifacts)
        self.serving = Serving(SCOPE, metadata=self.metadata)
        self._tracking = Tracking(SCOPE, metadata=self.metadata, artifacts=artifacts, folder=folder)

    def register(self, model: Any, name: str = "fare", *, features: list[str] | None = None) -> int:
        """Register a model fitted on a small dataset."""
        frame = pl.DataFrame(
            {
                "ride": [1, 2, 3], "at": pl.Series([0, 1, 2]).cast(pl.Datetime("us", "UTC")),
                "station": ["north", "south", "north"], "x": [1.0, 2.0, 3.0], "stations__letters": [5, 5, 5],
                "fare": [2.0, 4.0, 6.0],
            }
        )  # fmt: skip
        enriched = name == "enriched"
        dataset = self._tracking.datasets.create(
            frame, name="rides", features=features or ["x"], label="fare", id=["ride"], time="at", keys=["station"],
            request=["ride", "at", "station"] if enriched else ["ride", "at", "x"],
            service="trips" if enriched else None,
        )  # fmt: skip
        return self.registry.register(model, name, dataset=dataset, trust=True).version

    def promote(self, version: int, name: str = "fare", alias: str = "champion") -> None:
        """Let an alias name a version."""
        self.registry.set_alias(name, alias, version, reason="test")

    def captured(self) -> list[dict[str, Any]]:
        """Everything servers captured."""
        files = (self.folder / "captures").glob("*")
        return [msgspec.json.decode(line) for file in files for line in file.read_bytes().splitlines()]


def fill(home: Home) -> None:
    from sklearn.linear_model import LinearRegression

    home.promote(home.register(Times(2.0)))
    model = LinearRegression().fit(pl.DataFrame({"stations__letters": [1, 2]}).to_pandas(), [10.0, 20.0])
    home.promote(home.register(model, "enriched", features=["stations__letters"]), "enriched")


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        self.port = int(url.rpartition(":")[2])
        self.home: Home | None = None

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """One request on a connection of its own; returns status, decoded body and headers."""
        connection = self.connect()
        try:
            raw = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
            connection.request(method, path, raw, {k.replace("_", "-"): v for k, v in headers.items()})
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        told = {name.lower(): value for name, value in response.getheaders()}
        is_json = told.get("content-type") == "application/json" and data
        return response.status, msgspec.json.decode(data) if is_json else data, told

    def ask(self, *xs: float | None, endpoint: str = "fare", **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Have rows predicted."""
        rows = [{"ride": i, "x": x} for i, x in enumerate(xs)]
        return self.call("POST", f"/predict/{endpoint}", {"rows": rows}, **headers)

    def workers(self) -> set[int]:
        """Process ids of workers seen by asking often."""
        return {self.call("GET", "/health")[1]["worker"] for _ in range(30)}

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition."""
        wait_until(condition, lambda: self.process.poll() is None)

    def until_ready(self) -> None:
        self.until(lambda: all(self.call("GET", "/ready")[0] == 200 for _ in range(8)))

    def until_version(self, version: int, endpoint: str = "fare") -> None:
        """Wait until all workers answer with a version."""

        def versions() -> set[Any]:
            told = [self.call("GET", "/health")[1]["endpoints"][endpoint] for _ in range(8)]
            return {None if one is None else one["model_version"] for one in told}

        self.until(lambda: versions() == {version})


def wait_until(condition: Callable[[], bool], alive: Callable[[], bool] = lambda: True) -> None:
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert alive(), "the server ended"
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.05)


@contextmanager
def serving(home: Home, *, workers: int = 1, port: int = 0, **settings: Any) -> Iterator[Server]:
    """A server over a home; stopped at the end, and it must stop cleanly."""
    process = start(home, workers=workers, port=port, **settings)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, process.stderr.read() if process.stderr else ""
        yield Server(process, url)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def start(home: Home, *, workers: int = 1, port: int = 0, **settings: Any) -> subprocess.Popen[str]:
    """Start a server; its log goes to a file in the home."""
    log = (home.folder / "server.log").open("a")
    arguments = [str(home.folder), str(port), str(workers), msgspec.json.encode(settings).decode()]
    process = subprocess.Popen(
        [sys.executable, str(HERE / "serving_project.py"), *arguments], stdout=subprocess.PIPE, stderr=log, text=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )  # fmt: skip
    log.close()
    return process


class Load:
    """Clients that ask on and on, each on a connection it keeps, until told to stop.

    Every answer is checked against `x * factor` of the version it says it is from.
    """

    def __init__(self, server: Server, factors: dict[int, float], *, clients: int = 4, retry: bool = False) -> None:
        self.server, self.factors, self.retry = server, factors, retry
        self.answers: list[tuple[float, float, int]] = []
        """Start, end and version of each answer."""
        self.failures: list[str] = []
        self.broken = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(index,)) for index in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, client: int) -> None:
        connection, number = self.server.connect(), 0
        while not self._stop.is_set():
            number += 1
            xs = [float(client), float(number), 0.5]
            body = msgspec.json.encode({"rows": [{"x": x} for x in xs]})
            started = time.monotonic()
            try:
                connection.request("POST", "/predict/fare", body)
                response = connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.broken += 1
                if not self.retry:
                    self.failures.append(repr(error))
                connection.close()
                connection = self.server.connect()
                continue
            self._check(xs, response.status, data, started)
        connection.close()

    def _check(self, xs: list[float], status: int, data: bytes, started: float) -> None:
        if status != 200:
            self.failures.append(f"{status} {data[:200]!r}")
            return
        answer = msgspec.json.decode(data)
        version = answer["model_version"]
        if [row["prediction"] for row in answer["predictions"]] != [self.factors[version] * x for x in xs]:
            self.failures.append(f"{xs} became {answer}")
        self.answers.append((started, time.monotonic(), version))

    def until_answers(self, count: int) -> None:
        """Wait for so many answers more."""
        wanted = len(self.answers) + count
        wait_until(lambda: len(self.answers) >= wanted or bool(self.failures))
