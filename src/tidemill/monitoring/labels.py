"""Labels: the truth about predictions, which comes late, twice, corrected, or never.

Posted labels are kept as they came, in `labels/NAME`; which one counts is decided when they are read: of an id, the label
known last. Labels that the label's own source holds are read from there and need not be posted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from tidemill.core.errors import InvalidArgument, NotFound
from tidemill.core.ids import check_name
from tidemill.core.scope import Scope
from tidemill.core.specs.features import Label
from tidemill.core.times import to_micros
from tidemill.monitoring.truth import HeldLabels
from tidemill.stores.streams.protocol import StreamStore
from tidemill.stores.tables.protocol import TableStore

PARTITION = "main"

LINES = 1 << 20
"""Rows one post may hold."""

JOIN_EVERY = 64
"""Versions of the table after which its small files are joined."""

SCHEMA = {"id": pl.String, "label": pl.Float64, "text": pl.String, "known_at": pl.Int64, "seq": pl.Int64}

Derived = Callable[[Label], HeldLabels | None]
"""The labels a source holds; None when there is no table yet."""


class PostedLabel(msgspec.Struct, frozen=True):
    """One label as posted."""

    id: str
    label: float | str
    known_at: int


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of posted labels, all of which are stored.

    Attributes:
        accepted: Labels of ids that had none.
        duplicates: Labels that repeat what was known.
        corrections: Labels that differ from what was known.
    """

    accepted: int
    duplicates: int
    corrections: int


class Watermark(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the labels was seen: everything up to these sequences, as far as known by `until`."""

    until: int = -(2**63)
    posted: int = -1
    derived: int = -1


class Labels:
    """Takes labels in, and gives out the truth as far as it is known; see `LabelSource`.

    Args:
        scope: Project, principal and clock.
        streams: Where posted labels are durable first.
        tables: Where they end up.
        derived: Reads the labels a source holds.
    """

    def __init__(
        self, scope: Scope, *, streams: StreamStore, tables: TableStore, derived: Derived = lambda _: None
    ) -> None:
        self._scope = scope
        self._streams = streams
        self._tables = tables
        self._derived = derived
        # Per topic, a position known to be in the table; another process may be further.
        self._done: dict[str, int] = {}

    def post(self, label: str, rows: Sequence[Mapping[str, Any]]) -> Receipt:
        """Store labels; they survive kill -9 once this returns, and posting them again changes nothing.

        Args:
            label: Name of the label.
            rows: Objects with `id` (as in the prediction's `row_id`), `label` (number, boolean or text) and, if it is not
                now, `known_at` (ISO text or microseconds).

        Raises:
            InvalidArgument: A row is wrong; nothing of the post is stored then.
        """
        check_name(label, "label name")
        if len(rows) >= LINES:
            raise InvalidArgument(f"{len(rows)} labels in one post", expected=f"fewer than {LINES}")
        posted = [_posted(row, number, self._scope.now()) for number, row in enumerate(rows)]
        if not posted:
            return Receipt(accepted=0, duplicates=0, corrections=0)
        self.compact(label)
        before = self._newest(label, pl.Series([one.id for one in posted], dtype=pl.String))
        self._streams.append(_topic(label), PARTITION, [msgspec.msgpack.encode(posted)])
        return _receipt(posted, before)

    def labels(self, label: Label, ids: pl.Series, until: int) -> pl.DataFrame:
        """The newest known label of each id: columns `id`, `label`, `known_at`; see `LabelSource.labels`."""
        return self.labels_of(label, [ids], until)[0]

    def labels_of(self, label: Label, groups: Sequence[pl.Series], until: int) -> list[pl.DataFrame]:
        """The newest known label of each id of each group, in one read of the tables; see `labels`."""
        self.compact(label.name)
        texts = [ids.cast(pl.String).unique() for ids in groups]
        found = self._known(label, pl.concat(texts).unique(), until)
        return [_values(found.filter(pl.col("id").is_in(ids.implode()))) for ids in texts]

    def _known(self, label: Label, ids: pl.Series, until: int) -> pl.DataFrame:
        """The newest known label of each id, as stored."""
        wanted = pl.col("id").is_in(ids.implode())
        rows = [self._stored(label.name).filter(wanted, pl.col("known_at") <= until).collect()]
        held = self._derived(label)
        if held is not None:
            rows.insert(0, _as_stored(held.of(ids, until)))
        return _latest(pl.concat(rows))

    def changed(self, label: Label, since: Watermark, until: int) -> tuple[pl.Series, Watermark]:
        """The ids whose label became known, or was corrected, after a watermark, and the watermark after them.

        Args:
            label: The label.
            since: What was seen before.
            until: Labels known later do not exist yet.
        """
        self.compact(label.name)
        seen = self._seen(label.name)  # before the rows are read, so that what comes in between is seen next time
        stored = self._stored(label.name)
        found = [_new(stored, since.until, since.posted, until)]
        after = {"posted": max(seen, since.posted), "derived": since.derived}
        held = self._derived(label)
        if held is not None:
            found.append(held.changed(since.until, since.derived, until))
            after["derived"] = held.top(since.derived)
        return pl.concat(found).unique(), Watermark(until=max(until, since.until), **after)

    def counts(self, label: Label, ids: pl.Series) -> dict[str, int]:
        """How the posted labels relate to some predictions: `labelled`, `orphans` (labels of other ids), `posted`."""
        self.compact(label.name)
        stored = self._stored(label.name).select("id").collect()["id"]
        predicted = ids.cast(pl.String).unique()
        labelled = self.labels(label, predicted, 2**63 - 1).height
        orphans = stored.unique().is_in(predicted.implode()).not_().sum()
        return {"posted": stored.len(), "labelled": labelled, "orphans": int(orphans)}

    def compact(self, label: str) -> None:
        """Move posted labels into their table, each exactly once."""
        topic = _topic(label)
        if self._streams.end(topic, PARTITION) <= self._done.get(topic, 0):
            return
        with self._tables.guard(topic):
            done = self._tables.position(topic, topic) or 0
            while messages := self._streams.read(topic, PARTITION, done):
                rows = pl.concat([_frame(message.payload, message.offset) for message in messages])
                done = messages[-1].offset + 1
                self._tables.append(topic, rows, once={topic: done})
            self._streams.trim(topic, PARTITION, done)
            self._done[topic] = done
            if (self._tables.version(topic) or 0) % JOIN_EVERY == JOIN_EVERY - 1:
                self._tables.compact(topic)

    def _seen(self, label: str) -> int:
        """A sequence above all that is in the table."""
        return self._done.get(_topic(label), 0) * LINES - 1

    def _newest(self, label: str, ids: pl.Series) -> dict[str, float | str]:
        rows = self._stored(label).filter(pl.col("id").is_in(ids.implode())).collect()
        newest = _latest(rows)
        values = [text if text is not None else number for number, text in newest.select("label", "text").iter_rows()]
        return dict(zip(newest["id"], values, strict=True))

    def _stored(self, label: str) -> pl.LazyFrame:
        topic = _topic(label)
        try:
            return self._tables.scan(topic).select(*SCHEMA)
        except NotFound:  # nothing was posted yet
            return pl.LazyFrame(schema=SCHEMA)


def _topic(label: str) -> str:
    return f"labels/{label}"


def _posted(row: Mapping[str, Any], number: int, now: int) -> PostedLabel:
    extra = row.keys() - {"id", "label", "known_at"}
    if extra or "id" not in row or "label" not in row:
        raise InvalidArgument(
            f"label {number} has the keys {', '.join(sorted(row)) or 'none'}", expected="id, label and perhaps known_at"
        )
    identity, value = row["id"], row["label"]
    if not isinstance(identity, str | int) or isinstance(identity, bool) or identity == "":
        raise InvalidArgument(f"the id of label {number} is {identity!r}", expected="text or a whole number")
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise InvalidArgument(f"label {number} is {value!r}", expected="a finite number, a boolean or text")
    known = row.get("known_at")
    return PostedLabel(
        str(identity), value if isinstance(value, str) else float(value), now if known is None else to_micros(known)
    )


def _receipt(posted: Sequence[PostedLabel], before: dict[str, float | str]) -> Receipt:
    counts = {"accepted": 0, "duplicates": 0, "corrections": 0}
    for one in posted:
        old = before.get(one.id)
        kind = "accepted" if old is None else "duplicates" if old == one.label else "corrections"
        counts[kind] += 1
        before[one.id] = one.label
    return Receipt(**counts)


def _frame(payload: bytes, offset: int) -> pl.DataFrame:
    rows = msgspec.msgpack.decode(payload, type=list[PostedLabel])
    return pl.DataFrame(
        {
            "id": [row.id for row in rows],
            "label": [None if isinstance(row.label, str) else row.label for row in rows],
            "text": [row.label if isinstance(row.label, str) else None for row in rows],
            "known_at": [row.known_at for row in rows],
            "seq": [offset * LINES + line for line in range(len(rows))],
        },
        schema=SCHEMA,
    )


def _as_stored(rows: pl.DataFrame) -> pl.DataFrame:
    """Labels of a source in the shape of posted ones; a posted label known at the same time wins, hence the sequence."""
    text = rows.schema["label"] in (pl.String, pl.Categorical, pl.Enum)
    label = pl.col("label").cast(pl.String) if text else pl.col("label").cast(pl.Float64)
    return rows.select(
        pl.col("id").cast(pl.String),
        (pl.lit(None, pl.Float64) if text else label).alias("label"),
        (label if text else pl.lit(None, pl.String)).alias("text"),
        pl.col("known_at").cast(pl.Int64),
        (pl.col("seq").cast(pl.Int64) - 2**62).alias("seq"),
    )


def _latest(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("known_at", "seq").unique("id", keep="last", maintain_order=True)


def _values(rows: pl.DataFrame) -> pl.DataFrame:
    """Numbers as Float64; as soon as one label is text, all are."""
    if rows["text"].is_not_null().any():
        rows = rows.with_columns(label=pl.coalesce(pl.col("text"), pl.col("label").cast(pl.String)))
    return rows.select("id", "label", "known_at")


def _new(rows: pl.LazyFrame, after: int, seq: int, until: int) -> pl.Series:
    known, arrived = pl.col("known_at"), pl.col("seq")
    fresh = rows.filter(known <= until, (known > after) | (arrived > seq))
    return fresh.select(pl.col("id").cast(pl.String)).collect()["id"]
