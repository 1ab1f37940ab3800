"""Online features: brought up to the tables, kept current by pushed rows, answered by key in one read of the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tidemill.core.errors import InvalidArgument, NotFound
from tidemill.core.scope import Scope
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.core.specs.sources import Source
from tidemill.core.times import Duration, parse_duration
from tidemill.features.compiled import PREDICTION_TIME, ServiceReader, Stored
from tidemill.features.exchange import Exchange
from tidemill.features.feed import (
    ROWS_AT_ONCE,
    Feed,
    Names,
    Pointer,
    Shape,
    current_generation,
    dump_columns,
    merged_ranges,
    put_pointer,
    read_pointer,
    unseen,
)
from tidemill.features.generations import Generations
from tidemill.features.kernel.timeline import Ints
from tidemill.features.memo import Memo, kind_of
from tidemill.features.rows import ViewRows
from tidemill.features.spine import moments
from tidemill.stores.online.protocol import OnlineReader, OnlineStore

Read = Callable[[Source], pl.LazyFrame]
"""The rows of a source's table, those pushed so far included, with `event_ts`, `created_ts` and `ingest_seq`."""


@dataclass(frozen=True)
class Materialized:
    """What bringing a view up to its table took."""

    view: str
    rows: int
    """New rows."""
    seconds: float


@dataclass(frozen=True)
class Freshness:
    """How current a view is online. Times in microseconds; None where there is nothing yet, and for reference data."""

    view: str
    rows: int
    newest: int | None
    lag: int | None
    """From the newest event to the clock."""
    target: int | None
    stale: bool
    """Whether there is a target and it is missed."""


class Online:
    """Features by key.

    Any number of processes may read and write one store. What a definition keeps is named after its digest, so that two
    versions of a view answer side by side while endpoints move from one to the other; see `forget`.

    Args:
        scope: Project, principal and clock.
        read: Gives the rows of a source.
        store: The online store.
        unique_ids: Whether no id comes twice in a source's rows, as with those of `tidemill.data`; else every report of an
            event is kept, so that it counts at its first (R11).
    """

    def __init__(self, scope: Scope, *, read: Read, store: OnlineStore, unique_ids: bool = False) -> None:
        self._scope = scope
        self._read = read
        self._store = store
        self._known = Generations(store, unique_ids=unique_ids)
        self._readers: Memo[tuple[Any, ...], ServiceReader] = Memo()
        self._vectors: Memo[tuple[Any, ...], ServiceReader] = Memo()
        self._exchanges: Memo[tuple[Any, ...], Exchange | None] = Memo()

    # -- writing -----------------------------------------------------------------------------------

    def materialize(self, views: Sequence[FeatureView], *, full: bool = False) -> list[Materialized]:
        """Bring views up to their tables.

        Args:
            views: The views. One without rows in its source yet is left out.
            full: Rebuild from the whole table; until it is done the rows there are answer.
        """
        done = []
        for view in views:
            begun = time.perf_counter()
            try:
                schema = self._read(view.source).collect_schema()
            except NotFound:
                continue
            rows = self._materialize(view, schema, full)
            done.append(Materialized(view.name, rows, time.perf_counter() - begun))
        return done

    def _materialize(self, view: FeatureView, schema: pl.Schema, full: bool) -> int:
        names, columns = self._known.names(view), dump_columns(schema)
        with self._store.read() as reader:
            pointer = read_pointer(reader, names)
        shape = self._known.shape(view, columns)
        if pointer is None or full or self._known.shape(view, pointer.columns).codec.schema != shape.codec.schema:
            generation = 1 if pointer is None else pointer.generation + 1
            Feed(self._store, shape, names, generation).declare()
            built = self._apply(view, shape, Pointer(generation, columns, []))
            # Rows pushed meanwhile went to the generation before; all of them are in the table by now.
            again = self._apply(view, shape, built[0])
            if pointer is not None:
                Feed(self._store, shape, names, pointer.generation).drop()
            return built[1] + again[1]
        return self._apply(view, shape, Pointer(pointer.generation, columns, pointer.ranges))[1]

    def _apply(self, view: FeatureView, shape: Shape, pointer: Pointer) -> tuple[Pointer, int]:
        """Append the rows of the table that are not in a generation, then make it the one that answers."""
        names = self._known.names(view)
        feed = Feed(self._store, shape, names, pointer.generation)
        rows = self._new_rows(view, shape.rows, pointer)
        ranges = merged_ranges(pointer.ranges, rows["ingest_seq"].cast(pl.Int64).to_numpy())
        added = sum(feed.append(part) for part in rows.iter_slices(ROWS_AT_ONCE))
        applied = Pointer(pointer.generation, pointer.columns, ranges)
        put_pointer(self._store, names, applied)
        self._known.remember(view, applied)
        return applied, added

    def _new_rows(self, view: FeatureView, rows: ViewRows, pointer: Pointer) -> pl.DataFrame:
        lazy = self._read(view.source)
        ranges = pointer.ranges
        if ranges and ranges[0][0] <= 1:  # sequences start at 1: everything up to the first gap is there
            lazy = lazy.filter(pl.col("ingest_seq") > ranges[0][1])
        found = lazy.select(list(dict.fromkeys([*rows.reads, "ingest_seq"]))).collect()
        fresh = unseen(ranges, found["ingest_seq"].cast(pl.Int64).to_numpy())
        return found if fresh.all() else found.filter(fresh)

    def apply_rows(self, views: Sequence[FeatureView], source: Source, frame: pl.DataFrame) -> int:
        """Take rows that just arrived into views, each in one transaction. Rows taken before change nothing.

        Args:
            views: The views; those over other sources, and those never materialized, are left alone. The latter find the
                rows in the table.
            source: The rows' source.
            frame: The rows with `event_ts`, `created_ts` and `ingest_seq`; they are durable already.

        Returns:
            How many rows were new, over all views.
        """
        added = 0
        for view in views:
            if view.source.name != source.name or not frame.height:
                continue
            pointer = self._known.pointer(view)
            if pointer is not None:
                added += self._known.feed(view, pointer).append(frame)
        return added

    def respond(
        self, service: FeatureService, source: Source, row: Mapping[str, Any], *, views: Sequence[FeatureView] = ()
    ) -> dict[str, Any]:
        """Take a row that just arrived, and answer with the features of its keys as of its time.

        What `apply_rows` and `vector` do one after the other is done in one visit of the store where it can be.

        Args:
            service: The service.
            source: The row's source.
            row: Values by column, as the source's table has them: `event_ts` and `created_ts` (with a time zone),
                `ingest_seq`, and all that the service reads of a request. It is durable already.
            views: Other views that take the row beside those of the service.

        Returns:
            The features, by full name.

        Raises:
            NotReady: A view was not materialized yet.
        """
        kind = kind_of(row)
        key = (service, source.name, *views, *kind)
        exchange = self._exchanges.get(key)
        found = None if exchange is None else exchange(row)
        if found is None:
            given = dict.fromkeys([*views, *(use.view for use in service.uses)])
            takers = [view for view in given if view.source.name == source.name]
            frame, asked = self._known.frame(takers, row), row if service.on_demand else _keys_of(service, row)
            at = int(moments(frame, "event_ts")[0])
            self.apply_rows(takers, source, frame)
            found = self.vector(service, asked, at)
            reader = self._vectors.get((service, *kind_of(asked)))
            if reader is not None:
                self._exchanges[key] = Exchange.of(self._store, self._known, takers, service, reader, kind)
        return found

    def trim(self, views: Sequence[FeatureView], *, lateness: Duration = "1d") -> int:
        """Forget rows that no question from now on reaches, older than the longest window or ttl and the lateness.

        A key's newest row always stays, and views that look at all of the past stay whole.

        Args:
            views: The views.
            lateness: How far back in time questions still go.

        Returns:
            How many rows went.
        """
        gone = 0
        for view in views:
            reach = _reach(view)
            with self._store.read() as reader:
                pointer = read_pointer(reader, self._known.names(view))
            if pointer is not None and reach is not None:
                before = self._scope.now() - reach - parse_duration(lateness)
                gone += self._store.trim(self._known.names(view).data(pointer.generation), before)
        return gone

    def forget(self, versions: Iterable[tuple[str, str]]) -> list[str]:
        """Drop what some versions of views keep; see `tidemill.features.superseded`.

        Args:
            versions: Name and digest of each.

        Returns:
            The names of what went.
        """
        pointers = {Names.called(name, digest).pointer for name, digest in versions}
        with self._store.read() as reader:
            gone = [name for name in reader.views() if name.partition("/")[0] in pointers]
        # The pointer first: what is left of a version after a crash is not taken for all of it.
        for name in sorted(gone, key=lambda one: one not in pointers):
            self._store.drop(name)
        return gone

    def remove(self, views: Sequence[FeatureView]) -> None:
        """Drop all that the store keeps of these definitions."""
        for view in views:
            name = self._known.names(view).pointer
            with self._store.read() as reader:
                stored = [one for one in reader.views() if one.partition("/")[0] == name]
            for one in sorted(stored):  # the pointer first: then nothing answers any more
                self._store.drop(one)

    # -- reading -----------------------------------------------------------------------------------

    def lookup(
        self, service: FeatureService, rows: pl.DataFrame, at: Ints | pl.Series, *, known_at: bool = False
    ) -> pl.DataFrame:
        """The features of a service for some rows, as of a moment each, in one read of the store.

        Args:
            service: The service.
            rows: Keys, and what on-demand features read.
            at: The moment of each row, microseconds.
            known_at: Whether rows of views count only once their created time had passed.

        Returns:
            The feature columns of the service, in its order, one row for each row.

        Raises:
            NotReady: A view was not materialized yet.
            NotFound: A key, or a column an on-demand feature reads, is missing.
            InvalidArgument: A key has another type than the view's.
            InvalidData: A moment is null.
        """
        t = at if isinstance(at, np.ndarray) else moments(at.to_frame(PREDICTION_TIME), PREDICTION_TIME)
        if len(t) != rows.height:
            raise InvalidArgument(f"{len(t)} moments for {rows.height} rows", expected="one for each row")
        key = (service, *rows.schema.items())
        with self._store.read() as reader:
            compiled = self._readers.get(key)
            found = None if compiled is None else compiled.frame(reader, rows, t, known_at)
            while found is None:  # not worked out yet, or another generation answers
                compiled = self._readers[key] = self._compiled(service, rows.schema, reader)
                found = compiled.frame(reader, rows, t, known_at)
            return found

    def vector(
        self, service: FeatureService, keys: Mapping[str, Any], at: int | None = None, *, known_at: bool = False
    ) -> dict[str, Any]:
        """The features of one entity, by full name. On-demand features are there when all they read of the request is given.

        Args:
            service: The service.
            keys: The keys, and what on-demand features read.
            at: The moment, microseconds; the clock's when absent.
            known_at: Whether rows of views count only once their created time had passed.
        """
        t = self._scope.now() if at is None else at
        key = (service, *kind_of(keys))
        with self._store.read() as reader:
            compiled = self._vectors.get(key)
            found = None if compiled is None else compiled.vector(reader, keys, t, known_at)
            while found is None:
                schema = pl.DataFrame([dict(keys)]).schema
                compiled = self._vectors[key] = self._compiled(service, schema, reader, partial=True)
                found = compiled.vector(reader, keys, t, known_at)
            return found

    def holds(self, view: FeatureView) -> bool:
        """Whether this version of a view was materialized."""
        with self._store.read() as reader:
            return read_pointer(reader, self._known.names(view)) is not None

    def freshness(self, views: Sequence[FeatureView]) -> list[Freshness]:
        """Rows, newest event and lag of each view."""
        with self._store.read() as reader:
            return [self._fresh(reader, view) for view in views]

    def _fresh(self, reader: OnlineReader, view: FeatureView) -> Freshness:
        target = None if view.target is None else parse_duration(view.target)
        pointer = read_pointer(reader, self._known.names(view))
        if pointer is None:
            return Freshness(view.name, 0, None, None, target, target is not None)
        rows, newest = reader.stats(self._known.names(view).data(pointer.generation))
        newest = None if view.source.time is None else newest
        lag = None if newest is None else self._scope.now() - newest
        return Freshness(view.name, rows, newest, lag, target, target is not None and (lag is None or lag > target))

    # -- what is worked out once -------------------------------------------------------------------

    def _compiled(
        self, service: FeatureService, schema: pl.Schema, reader: OnlineReader, *, partial: bool = False
    ) -> ServiceReader:
        views: dict[FeatureView, Stored] = {}
        for use in service.uses:
            names = self._known.names(use.view)
            generation = current_generation(reader, names, use.view)
            pointer = read_pointer(reader, names)
            if pointer is not None:
                self._known.remember(use.view, pointer)
                views[use.view] = Stored(names, self._known.shape(use.view, pointer.columns), generation)
        return ServiceReader(service, views, self._columns, schema, partial=partial)

    def _columns(self, source: Source) -> pl.Schema:
        return self._read(source).collect_schema()


def _keys_of(service: FeatureService, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row has of the columns that a service's views are looked up by."""
    columns = dict.fromkeys(name for use in service.uses for name in use.keys.values())
    return {name: row[name] for name in columns if name in row}


def _reach(view: FeatureView) -> int | None:
    """How far back a question looks; None for all of the past. A state view needs a key's newest row only.

    Of a change log it is the newest that is still live, which may be any.
    """
    if not view.is_windowed:
        return None if view.source.changes is not None and not view.ttl_micros else view.ttl_micros
    reach = 0
    for aggregate in view.aggregates:
        for window in aggregate.windows:
            if window.reach is None:
                return None
            reach = max(reach, window.reach)
    return reach + view.source.delay_micros
