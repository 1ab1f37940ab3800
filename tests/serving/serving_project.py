"""A small project that serving tests run as a real server: `python serving_project.py HOME PORT WORKERS SETTINGS_JSON`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from tidemill.core.clock import SystemClock
from tidemill.core.errors import InvalidData, Unavailable
from tidemill.core.protocols import Captured
from tidemill.core.schema import Column
from tidemill.core.scope import Scope
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.core.specs.serving import Graph
from tidemill.core.specs.sources import Source

SCOPE = Scope("rides", "ada", SystemClock())

trips = Source("trips", "trips.csv", time="at", id="ride")
stations = FeatureView(source=trips, keys="station", name="stations")
service = FeatureService([stations], name="trips")

GRAPHS = {
    "fare": Graph("fare").model("models:/fare@champion", shadow="models:/fare@challenger"),
    "enriched": Graph("enriched").enrich(service).model("models:/enriched@champion"),
}


class Times:
    """Fitted to answer `x * factor`, after some seconds; refuses x below zero."""

    def __init__(self, factor: float, seconds: float = 0.0, fails_to_load: bool = False) -> None:
        self.factor, self.seconds, self.fails_to_load = factor, seconds, fails_to_load
        self.feature_names_in_ = ["x"]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.fails_to_load and os.environ.get("TIDEMILL_TEST_IN_SERVER"):
            raise InvalidData("this model cannot be loaded here")

    def predict(self, rows: Any) -> Any:
        values = rows["x"].to_list()
        if any(value is not None and value < 0 for value in values):
            raise ValueError("x is below zero")
        time.sleep(self.seconds)
        return [self.factor * (value or 0.0) for value in values]


class Stations:
    """Gives every station its features: the length of its name."""

    def enrich(self, service: FeatureService, rows: Any, now: int) -> Any:
        import polars as pl

        assert rows["prediction_time"].null_count() == 0
        return rows.with_columns(
            pl.col("station").str.len_chars().fill_null(0).cast(pl.Int64).alias("stations__letters")
        )

    def request_schema(self, service: FeatureService) -> tuple[Column, ...]:
        return (Column(name="station", type="string"), Column(name="at", type="time"))


class CaptureFiles:
    """Appends what was answered to a file per process."""

    def __init__(self, folder: Path) -> None:
        if folder.is_file():
            raise Unavailable("captures cannot be kept")
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / str(os.getpid()), os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def append(self, captured: Captured) -> None:
        import msgspec

        facts = {"endpoint": captured.endpoint, "generation": captured.generation, "request_id": captured.request_id,
                 "rows": captured.rows.to_dicts()}  # fmt: skip
        os.write(self._file, msgspec.json.encode(facts) + b"\n")


def make_runtime(home: Path, settings: Any) -> Any:
    from tidemill.registry.service import Registry
    from tidemill.serving.runtime import Runtime
    from tidemill.serving.service import Serving
    from tidemill.stores.artifacts.open import open_artifacts
    from tidemill.stores.metadata.open import open_metadata

    os.environ["TIDEMILL_TEST_IN_SERVER"] = "1"
    metadata = open_metadata("sqlite:", home)
    registry = Registry(SCOPE, metadata=metadata, artifacts=open_artifacts("file:", home))
    return Runtime(
        scope=SCOPE, serving=Serving(SCOPE, metadata=metadata), models=registry, features=Stations(),
        captures=CaptureFiles(home / "captures"), graphs=GRAPHS, settings=settings.serve, close=metadata.close,
    )  # fmt: skip


def main(home: str, port: str, workers: str, more: str = "{}") -> None:
    import msgspec

    from tidemill.cli.failures import report
    from tidemill.core.errors import TidemillError
    from tidemill.core.settings import ServeSettings, Settings
    from tidemill.serving.server import serve

    given = {**msgspec.json.decode(more), "port": int(port), "workers": int(workers)}
    settings = Settings(project="rides", folder=Path(home), serve=msgspec.convert(given, ServeSettings))
    try:
        serve(settings, lambda: make_runtime(Path(home), settings), listening=lambda url: print(url, flush=True))
    except TidemillError as error:
        sys.exit(report(error))


if __name__ == "__main__":
    # The models were pickled by tests that import this file as a module.
    sys.modules["serving_project"] = sys.modules["__main__"]
    main(*sys.argv[1:])
