"""Training sets: one row per spine row whose label is known, with the features as of the row's time and nothing later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

import polars as pl

from tidemill.core.clock import Clock
from tidemill.core.errors import InvalidArgument, NotReady
from tidemill.core.ids import digest_text
from tidemill.core.schema import Column
from tidemill.core.specs.features import FeatureService, FeatureView, Label
from tidemill.core.specs.preparation import Recipe
from tidemill.core.specs.sources import SYSTEM_COLUMNS, Source
from tidemill.core.times import Now, Time, to_micros
from tidemill.engines.protocol import Engine
from tidemill.features.labels import LABEL, with_labels
from tidemill.features.offline import planned_features
from tidemill.features.plan import describe_column, plan_service
from tidemill.features.spine import moment
from tidemill.tracking.dataset import Dataset

MAX_CATEGORIES = 254
"""Text features keep their most frequent values up to so many; the rest reads as missing."""


class Save(Protocol):
    """Keeps a frame as a dataset; see `tidemill.tracking.datasets.Datasets.create`."""

    def __call__(
        self, frame: pl.DataFrame, *, name: str, features: Sequence[Column], label: Column | None, id: Sequence[str],
        time: str, keys: Sequence[str], request: Sequence[Column], tables: Mapping[str, int], plan: str,
        availability: str, service: str | None, label_name: str | None, until: int, prepare: Recipe,
    ) -> Dataset: ...  # fmt: skip


class Scan(Protocol):
    """The rows of a source's table, in any order: its columns, `event_ts`, `created_ts`, `ingest_seq`."""

    def __call__(self, source: Source, *, version: int | None) -> pl.LazyFrame: ...


@dataclass(frozen=True)
class SourceReader:
    """Access to the tables of sources; `tidemill.data.service.Data` has all of it.

    Args:
        scan: The rows of a version; None means the newest.
        columns: The columns of the table as it is, without waiting for pushed rows to be moved into it; None before its
            first rows.
        version: The newest version; None before anything was ingested.
        watermark: The latest event time, microseconds; None before anything was ingested.
        unique_ids: Whether no id comes twice in a source's rows.
    """

    scan: Scan
    columns: Callable[[Source], pl.Schema | None]
    version: Callable[[Source], int | None]
    watermark: Callable[[Source], int | None]
    unique_ids: bool = False

    def newest(self, source: Source) -> pl.LazyFrame:
        """The rows of the newest version."""
        return self.scan(source, version=None)


class _Names(TypedDict):
    name: str
    service: str | None
    label_name: str | None


Counts = Mapping[str, int]
"""What became of the rows: `rows` of the spine, `label_unknown` among them, `<view>: <check>` for rows that failed one."""


class TrainingSets:
    """Builds training sets; implements `tidemill.core.protocols.DatasetBuilder`.

    Args:
        clock: What `tm.NOW` is.
        reader: Access to the tables.
        save: Keeps a frame as a dataset.
        engine: Gives who computes the features; the calling thread when absent.
    """

    def __init__(
        self, *, clock: Clock, reader: SourceReader, save: Save, engine: Callable[[], Engine] | None = None
    ) -> None:  # fmt: skip
        self._clock = clock
        self._reader = reader
        self._save = save
        self._engine = engine

    def training_set(
        self, *, service: FeatureService, spine: Source, label: Label | None, until: Time, since: Time | None = None,
        known_at: bool = False, counted: Callable[[Counts], None] | None = None,
    ) -> Dataset:  # fmt: skip
        """Build a training set.

        Args:
            service: The features.
            spine: The source whose rows are predicted for.
            label: What to learn; None for a set without.
            until: Rows at or after it, and labels known after it, are left out. `tm.NOW`: the earlier of the clock and the
                spine's latest event.
            since: Rows before it are left out.
            known_at: Whether features count only once their created time had passed (R3).
            counted: Told what became of the rows.

        Returns:
            The dataset, rows by time.

        Raises:
            InvalidArgument: The spine has no time or id, or definitions do not fit the data.
            NotReady: A source has no rows yet.
        """
        _check_spine(spine, label)
        end = self._until(spine, until)
        pinned = _Pinned(self._reader, service, spine, label)
        rows, counts = _spine_rows(pinned, spine, label, end, None if since is None else _moment(since))
        own = pl.Schema({n: t for n, t in rows.schema.items() if n not in (LABEL, *SYSTEM_COLUMNS)})
        plan = plan_service(
            service, lambda source: pinned.read(source).collect_schema(), own, str(spine.time),
            unique_ids=self._reader.unique_ids,
        )  # fmt: skip
        frame = planned_features(
            plan,
            rows,
            str(spine.time),
            pinned.read,
            known_at,
            lambda view, failed: counts.update(_failures(view, failed)),
            engine=None if self._engine is None else self._engine(),
        )
        if counted is not None:
            counted(counts)
        request = plan.request(own, str(spine.time))
        columns = dict.fromkeys([*spine.id_columns, *(column.name for column in request), *plan.features])
        shown = _with_label(frame, list(columns), label)
        return self._save(
            shown,
            **_names(service, label),
            features=[describe_feature(shown[name]) for name in plan.features],
            label=None if label is None else describe_column(label.name, shown.schema[label.name]),
            id=spine.id_columns, time=str(spine.time), keys=tuple(plan.keys), request=request, tables=pinned.tables(),
            plan=plan_digest(service, spine, known_at), availability=_availability(service, known_at), until=end,
            prepare=service.prepare,
        )  # fmt: skip

    def _until(self, spine: Source, until: Time) -> int:
        now = self._clock.now()
        if not isinstance(until, Now):
            return min(to_micros(until), now)
        watermark = self._reader.watermark(spine)
        if watermark is None:
            raise _empty(spine)
        return min(watermark, now)


class _Pinned:
    """The tables a training set reads, all at the version they had when it began."""

    def __init__(self, reader: SourceReader, service: FeatureService, spine: Source, label: Label | None) -> None:
        sources = [spine, *(use.view.source for use in service.uses), *([] if label is None else [label.source])]
        self._scan = reader.scan
        self._versions: dict[str, int] = {}
        for source in sources:
            version = reader.version(source) if source.name not in self._versions else self._versions[source.name]
            if version is None:
                raise _empty(source)
            self._versions[source.name] = version

    def read(self, source: Source) -> pl.LazyFrame:
        return self._scan(source, version=self._versions[source.name])

    def tables(self) -> dict[str, int]:
        return {f"sources/{name}": version for name, version in sorted(self._versions.items())}


def _spine_rows(
    pinned: _Pinned, spine: Source, label: Label | None, until: int, since: int | None
) -> tuple[pl.DataFrame, dict[str, int]]:
    event = pl.col("event_ts")
    asked = pinned.read(spine).filter(event < moment(until))
    if since is not None:
        asked = asked.filter(event >= moment(since))
    # The spine's own time column in UTC, as a request carries it; sorted, so that equal rows give an equal dataset.
    rows = asked.with_columns(pl.col("event_ts").alias(str(spine.time))).sort("event_ts", "ingest_seq").collect()
    counts = {"rows": rows.height}
    if label is not None:
        rows = with_labels(rows, spine, label, until, pinned.read).filter(pl.col(LABEL).is_not_null())
        counts["label_unknown"] = counts["rows"] - rows.height
    return rows, counts


def _availability(service: FeatureService, known_at: bool) -> str:
    modes = {known_at or use.view.is_as_known for use in service.uses}
    return "mixed" if len(modes) == 2 else "known" if True in modes else "event"


def _with_label(frame: pl.DataFrame, columns: list[str], label: Label | None) -> pl.DataFrame:
    if label is None:
        return frame.select(columns)
    if label.name in columns:
        raise InvalidArgument(f"label {label.name!r} has the name of another column", hint="Give the label a name=")
    return frame.select(*columns, pl.col(LABEL).alias(label.name))


def _names(service: FeatureService, label: Label | None) -> _Names:
    named = service.name if service.is_named else None
    return {
        "name": named or "training-set",
        "service": named,
        "label_name": None if label is None else label.name,
    }


def describe_feature(column: pl.Series) -> Column:
    """A feature of a dataset; a text feature with its values, the most frequent ones if there are many.

    Example:
        >>> describe_feature(pl.Series("carrier", ["UA", "AA", None, "UA"])).categories
        ('AA', 'UA')
    """
    described = describe_column(column.name, column.dtype)
    if described.type != "string":
        return described
    values = column.cast(pl.String).drop_nulls().alias("v").to_frame().group_by("v").len()
    frequent = values.sort(["len", "v"], descending=[True, False]).head(MAX_CATEGORIES)
    return Column(name=column.name, type="string", categories=tuple(frequent["v"].sort()))


def plan_digest(service: FeatureService, spine: Source, known_at: bool) -> str:
    """What computed the features of a dataset: service, spine and mode."""
    return digest_text(service.digest(), spine.digest(), "known" if known_at else "event")


def _check_spine(spine: Source, label: Label | None) -> None:
    if spine.time is None:
        raise InvalidArgument(f"source {spine.name!r} has no time", hint="A spine needs tm.Source(..., time=...)")
    if spine.changes is not None:
        raise InvalidArgument(
            f"source {spine.name!r} is a change log", expected="a spine with one row for each moment to predict for"
        )
    if label is not None and not spine.id_columns:
        raise InvalidArgument(
            f"source {spine.name!r} has no id", hint="Labels are joined by id: tm.Source(..., id=...)"
        )


def _moment(time: Time) -> int:
    if isinstance(time, Now):
        raise InvalidArgument("since=tm.NOW leaves out every row", expected="a time in the past")
    return to_micros(time)


def _failures(view: FeatureView, failed: Mapping[str, int]) -> dict[str, int]:
    return {f"{view.name}: {check}": count for check, count in failed.items()}


def _empty(source: Source) -> NotReady:
    return NotReady(f"source {source.name!r} has no rows yet", hint=f"Run: tidemill ingest {source.name}")
