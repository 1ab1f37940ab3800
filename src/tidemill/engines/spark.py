"""Spark: a job with one shuffle; rows travel as Arrow streams, so that no type has to be one of Spark's."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from tidemill.core.errors import Unavailable
from tidemill.engines.address import parse_address
from tidemill.engines.keys import split
from tidemill.engines.partition import Failure, Work, checked, from_bytes, to_bytes
from tidemill.engines.protocol import Keyed, PartitionFunction

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_PIECES = pa.schema([("input", pa.int32()), ("part", pa.int32()), ("place", pa.int64()), ("rows", pa.binary())])
_PIECES_SPARK = "input int, part int, place long, rows binary"
_ANSWERS = pa.schema([("rows", pa.binary()), ("kind", pa.string()), ("message", pa.string()), ("error", pa.binary())])
_ANSWERS_SPARK = "rows binary, kind string, message string, error binary"


class SparkEngine:
    """Runs on Spark. It joins the session this process has, else a cluster, else starts Spark on this machine.

    Batches are rows of a Spark frame, one Arrow stream each. `mapInArrow` divides them by key hash, Spark shuffles the pieces
    by their partition, and `applyInArrow` works on each partition.

    Args:
        host: `host:port` of a master; empty for this machine.
        workers: Processors to use on this machine; all when absent.
    """

    name = "spark"
    in_process = False

    def __init__(self, host: str = "", *, workers: int | None = None) -> None:
        existing = SparkSession.getActiveSession()
        self._own = existing is None
        self._session = existing or _started(host, workers)

    def map_partitions(
        self, inputs: Sequence[Keyed], function: PartitionFunction, partitions: int | None = None
    ) -> Iterator[pl.DataFrame]:
        count = partitions or max(2 * self._session.sparkContext.defaultParallelism, 2)
        keys = [keyed.keys for keyed in inputs]
        batches = _batches(inputs)
        if not batches.num_rows:
            return
        pieces = self._session.createDataFrame(batches).mapInArrow(_dividing(keys, count), _PIECES_SPARK)
        shuffled = pieces.repartition(count, "part").groupBy("part")
        answers = shuffled.applyInArrow(_answering(Work.on(inputs, function)), _ANSWERS_SPARK)
        yield from (checked(answer, self.name) for answer in self._collected(answers))

    def _collected(self, answers: DataFrame) -> Iterator[pl.DataFrame | Failure]:
        try:
            table = answers.toArrow()
        except PySparkException as error:
            raise Unavailable(f"engine 'spark' lost its work: {type(error).__name__}: {error}") from error
        for row in table.to_pylist():
            rows, kind, message, error_bytes = row["rows"], row["kind"], row["message"], row["error"]
            yield from_bytes(rows) if rows is not None else Failure(kind, message, error_bytes)

    def close(self) -> None:
        if self._own:
            self._session.stop()


def open_spark(url: str) -> SparkEngine:
    """Open `spark:`, `spark:?workers=2`, `spark://host:port`."""
    address = parse_address(url, ("workers",))
    return SparkEngine(address.host, workers=address.count("workers"))


def _started(host: str, workers: int | None) -> SparkSession:
    if not host and not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        raise Unavailable("engine 'spark' found no Java", hint="Install Java 17 or newer, or set JAVA_HOME")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("tidemill").master(f"spark://{host}" if host else f"local[{workers or '*'}]")
    options = {"spark.sql.execution.arrow.maxRecordsPerBatch": "1", "spark.sql.adaptive.enabled": "false"}
    if not host:
        options |= {
            "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }  # fmt: skip
    for name, value in options.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except PySparkException as error:
        raise Unavailable(f"Spark at {host or 'this machine'} does not answer: {error}") from error


def _batches(inputs: Sequence[Keyed]) -> pa.Table:
    """All batches with rows; `part` is not known yet."""
    found = [(number, batch) for number, keyed in enumerate(inputs) for batch in keyed.batches if batch.height]
    columns: list[Any] = [
        [number for number, _ in found], [0] * len(found), list(range(len(found))), [to_bytes(batch) for _, batch in found]
    ]  # fmt: skip
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, _PIECES, strict=True)], _PIECES)


# Functions, not classes: Spark looks at their annotations.


def _dividing(keys: Sequence[tuple[str, ...]], count: int) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Divides batches by the hash of their keys, where Spark put them."""

    def divide(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for record in batches:
            for row in record.to_pylist():
                for part, frame in split(from_bytes(row["rows"]), keys[row["input"]], count).items():
                    yield pa.RecordBatch.from_pylist([row | {"part": part, "rows": to_bytes(frame)}], _PIECES)

    return divide


def _answering(work: Work) -> Callable[[Any], Any]:
    """Works on a partition that Spark brought together."""

    def answer(table: pa.Table) -> pa.Table:
        parts: list[list[pl.DataFrame]] = [[] for _ in work.schemas]
        for row in sorted(table.to_pylist(), key=lambda row: int(row["place"])):
            parts[row["input"]].append(from_bytes(row["rows"]))
        found = work(parts)
        if isinstance(found, Failure):
            row = {"kind": found.kind, "message": found.message, "error": found.error}
        else:
            row = {"rows": to_bytes(found)}
        return pa.Table.from_pylist([row], _ANSWERS)

    return answer
