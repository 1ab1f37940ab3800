"""Run by the Python of storey's environment: `storey_stream.py EVENTS`, prints JSON.

storey keeps moving windows in panes of ten minutes, too, and answers each event with its features; nothing is kept on disk.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from storey import AggregateByKey, FieldAggregator, NoopDriver, Reduce, SyncEmitSource, Table, build_flow
from storey.dtypes import SlidingWindows

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
OPERATIONS = ("count", "sum", "avg", "max")
NAMES = [f"v_{operation}_{window}" for operation in OPERATIONS for window in ("1h", "24h")]


def main(path: str) -> None:
    events = [
        (str(key), BEGIN + timedelta(microseconds=at), value) for key, at, value in json.loads(Path(path).read_text())
    ]
    began = time.perf_counter()
    answered = emitted(events)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "answered": answered, "version": version("storey")}))


def emitted(events: list[tuple[str, datetime, float]]) -> int:
    windows = FieldAggregator("v", "v", list(OPERATIONS), SlidingWindows(["1h", "24h"], "10m"))
    flow = build_flow([
        SyncEmitSource(), AggregateByKey([windows], Table("events", NoopDriver()), time_field="at"), Reduce(0, counted)
    ]).run()  # fmt: skip
    for key, at, value in events:
        flow.emit({"v": value, "at": at}, key)
    flow.terminate()
    answered: int = flow.await_termination()
    return answered


def counted(answered: int, event: Any) -> int:
    return answered + all(name in event for name in NAMES)


if __name__ == "__main__":
    main(sys.argv[1])
