"""Metrics logged one by one, each durable when the call returns."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import tidemill as tm
from bench.measure import Row, Size, in_turns, row
from tidemill.tracking.active import ActiveRun

TABLE = """
CREATE TABLE metrics (run TEXT, name TEXT, step INTEGER, at INTEGER, seq INTEGER, value REAL,
                      PRIMARY KEY (run, name, step, at, seq))
"""


def run(size: Size, folder: Path) -> list[Row]:
    """Metrics per second."""
    calls = size.of(2_000)
    (folder / "tidemill.toml").write_text('project = "bench"\n')
    with ExitStack() as stack:
        connection = stack.enter_context(closing(database(folder / "raw.db")))
        platform = stack.enter_context(tm.open(folder))
        active = stack.enter_context(platform.tracking.start("bench"))
        subjects = {
            "sqlite3 insert and commit": raw(connection, calls),
            "tidemill log_metric": ours(active, calls),
            "tidemill log_curve": lambda: active.log_curve("curve", [0.5] * calls),
        }
        taken = in_turns(subjects, size.repetitions)
    return [row("metrics", name, [calls / one for one in seconds], "metrics/s") for name, seconds in taken.items()]


def database(path: Path) -> sqlite3.Connection:
    """A database with the settings of the metadata store."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(TABLE)
    return connection


def raw(connection: sqlite3.Connection, calls: int) -> Callable[[], None]:
    def insert() -> None:
        for step in range(calls):
            connection.execute("BEGIN IMMEDIATE")
            at = time.time_ns() // 1000
            connection.execute(
                "INSERT INTO metrics VALUES ('run', 'loss', ?, ?, ?, 0.5)", (step, at, time.perf_counter_ns())
            )
            connection.execute("COMMIT")

    return insert


def ours(active: ActiveRun, calls: int) -> Callable[[], None]:
    def log() -> None:
        for step in range(calls):
            active.log_metric("loss", 0.5, step)

    return log
