"""Sources: where rows come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from tidemill.core.code import code_digest
from tidemill.core.errors import InvalidArgument
from tidemill.core.ids import check_name
from tidemill.core.specs.changes import Changes
from tidemill.core.specs.checks import Check
from tidemill.core.specs.definition import Definition
from tidemill.core.times import Duration, parse_duration
from tidemill.core.uris import concealed

if TYPE_CHECKING:
    import polars as pl

SYSTEM_COLUMNS = ("event_ts", "created_ts", "ingest_seq")
"""Columns Tidemill adds to every row of a table: event time, time it became known, order of arrival."""

COLUMN_TYPES = ("boolean", "int64", "float64", "string", "time")
"""What `types=` of a source may name."""

EVENT_FORMATS = ("json", "msgpack", "arrow")
"""What `format=` of a source may name."""


@dataclass(frozen=True, eq=False)
class Source(Definition):
    """Where rows come from, with its time column, id and documentation.

    Args:
        name: Its name.
        url: A path or URL of a CSV, NDJSON or JSON (plain, gzip or zip) or Parquet file, relative to the project folder;
            or a database, such as `postgresql://anna@db/shop?table=orders`; or a broker (`kafka:`, `redis:`, `nats:`,
            `amqp:`, `stream:`), whose events `tidemill features stream` reads. None: rows come only by `push`.
        time: Column with the event time. None: reference data, without time.
        id: Column or columns that identify a row; a repeated id is quarantined.
        created: Column with the time the row became known; the arrival when absent.
        delay: How long after its event time a row becomes available.
        clean: An ordinary Polars transform, applied before the checks.
        checks: Rules on rows; failing rows go to quarantine.
        documentation: What it is, `owner`, `origin`, and by column what it is (`columns`) and its unit (`units`). Features
            made of a column are shown with its words.
        null_values: Texts of a CSV file that mean "no value".
        types: Types of columns (`boolean`, `int64`, `float64`, `string`, `time`), where the file does not make them
            plain. A row whose value does not fit goes to quarantine.
        changes: How the rows tell of changes, for a change log (R10). Its `created` is when a change was made, its `id`
            names a change, and a repeated one is quarantined.
        query: What to read of a database, instead of a table.
        since: Column of a database's rows that only grows, a number or a time: each delivery goes on where the last one
            stopped.
        format: How the events of a broker are written: `json` or `msgpack` (an object of columns, one row), or `arrow` (an
            IPC stream, any number of rows).

    Example:
        >>> Source("weather", "data/weather.csv", time="observed_at").time
        'observed_at'
    """

    kind: ClassVar[str] = "source"

    label: str
    url: str | None = field(default=None, repr=False)  # it may hold a password
    time: str | None = None
    id: str | Sequence[str] | None = None
    created: str | None = None
    delay: Duration | None = None
    clean: Callable[[pl.LazyFrame], pl.LazyFrame] | None = None
    checks: Sequence[Check] = ()
    documentation: Mapping[str, Any] = field(default_factory=dict)
    null_values: Sequence[str] = ("", "NA")
    types: Mapping[str, str] = field(default_factory=dict)
    changes: Changes | None = None
    query: str | None = None
    since: str | None = None
    format: str = "json"

    def __post_init__(self) -> None:
        self.bind(check_name(self.label, "source name"))
        for column, kind in self.types.items():
            if kind not in COLUMN_TYPES:
                raise InvalidArgument(f"types={{{column!r}: {kind!r}}} names no type", known=COLUMN_TYPES)
        if self.format not in EVENT_FORMATS:
            raise InvalidArgument(f"format={self.format!r} is no format of events", known=EVENT_FORMATS)
        for check in self.checks:
            if not isinstance(check, Check):
                raise InvalidArgument(
                    f"{check!r} is not a check", expected="checks such as tm.check('x').between(0, 1)"
                )
        if self.changes is not None and not isinstance(self.changes, Changes):
            raise InvalidArgument(f"changes={self.changes!r} is not a description of changes", expected="tm.Changes()")
        if self.changes is not None and self.time is None:
            raise InvalidArgument(
                f"change log {self.label!r} has no time column", hint="Give tm.Source(..., time=...) the event time"
            )

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The id columns, none to several."""
        if self.id is None:
            return ()
        return (self.id,) if isinstance(self.id, str) else tuple(self.id)

    @property
    def distinct_columns(self) -> tuple[str, ...]:
        """The columns in which no two rows of the table agree: the id; in a change log also which image a row is."""
        if self.changes is None or not self.id_columns:
            return self.id_columns
        return (*self.id_columns, self.changes.op)

    @property
    def delay_micros(self) -> int:
        """The delay in microseconds; 0 when there is none."""
        return 0 if self.delay is None else parse_duration(self.delay)

    def describe(self) -> dict[str, Any]:
        changes = {} if self.changes is None else {"changes": self.changes.describe()}
        return {
            "url": None if self.url is None else concealed(self.url),
            "time": self.time,
            "id": list(self.id_columns),
            "created": self.created,
            "delay": self.delay_micros,
            "clean": None if self.clean is None else code_digest(self.clean),
            "checks": [check.describe() for check in self.checks],
            "documentation": dict(self.documentation),
            "null_values": list(self.null_values),
            "types": dict(self.types),
            **changes,
            # Only where given: what was applied before there were databases keeps its digest.
            **{name: value for name, value in (("query", self.query), ("since", self.since)) if value is not None},
            # Only where it is not the usual one: definitions that were applied before there was a choice keep their digest.
            **({} if self.format == "json" else {"format": self.format}),
        }
