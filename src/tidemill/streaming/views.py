"""The online side of a stream: the views over one source, kept up to rows that are durable already."""

from __future__ import annotations

import time
from collections.abc import Sequence

import polars as pl

from tidemill.core.errors import TidemillError
from tidemill.core.specs.features import FeatureView
from tidemill.core.specs.sources import Source
from tidemill.platform import Platform

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

NOT_YET = "not materialized yet"


class SourceViews:
    """Brings new rows into the views over a source. A view that cannot take them catches up from the table later.

    Nothing rests on a row being taken here: what a crash or a store that is away keeps from a view, `catch_up` finds in the
    table by its ingest sequence.

    Args:
        platform: The platform.
        source: The source.
    """

    def __init__(self, platform: Platform, source: Source) -> None:
        self._platform = platform
        self._source = source
        self._views = {view.name: view for view in platform.features.served_over(source)}
        self._columns: pl.Schema | None = None
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self.behind = dict.fromkeys(self._views, NOT_YET)
        """Why views are behind, by view."""

    def take(self, frames: Sequence[pl.DataFrame]) -> None:
        """Bring rows that are durable into the views."""
        if any(map(self._brings_new_columns, frames)):
            # What a view keeps may have another shape from now on: the table tells.
            self.fall_behind("the columns changed")
            self._not_before = 0.0
        for view in self._views.values():
            if view.name not in self.behind:
                self._apply(view, frames)
        if frames:
            self.catch_up()

    def fall_behind(self, reason: str) -> None:
        """Let all views find in the table what they were not given."""
        self.behind.update(dict.fromkeys(self._views, reason))

    def catch_up(self) -> None:
        """Bring the views that are behind up to the table, unless the last attempt failed just now."""
        if not self.behind or time.monotonic() < self._not_before:
            return
        try:
            # One process at a time: two that both build a view for the first time would drop each other's rows.
            with self._platform.tables.guard(f"online/{self._source.name}"):
                for name in list(self.behind):
                    self._materialize(self._views[name])
            self._columns = self._table_columns()
        except TidemillError as error:
            self.fall_behind(str(error))
        failed = any(reason != NOT_YET for reason in self.behind.values())
        self._pause = min(2 * self._pause, _LONGEST_PAUSE) if failed else _FIRST_PAUSE
        self._not_before = time.monotonic() + self._pause if failed else 0.0

    def _table_columns(self) -> pl.Schema | None:
        if self._platform.data.table_version(self._source) is None:
            return None
        return self._platform.data.scan(self._source).collect_schema()

    def _brings_new_columns(self, frame: pl.DataFrame) -> bool:
        if self._columns is None:
            return False
        known = self._columns
        return any(known.get(name) != dtype for name, dtype in frame.schema.items() if dtype != pl.Null())

    def _apply(self, view: FeatureView, frames: Sequence[pl.DataFrame]) -> None:
        try:
            for frame in frames:
                self._platform.online.apply_rows([view], self._source, frame)
        except TidemillError as error:
            self.behind[view.name] = str(error)

    def _materialize(self, view: FeatureView) -> None:
        try:
            done = self._platform.online.materialize([view])
        except TidemillError as error:
            self.behind[view.name] = str(error)
        else:
            if done:  # else the table has no rows yet
                del self.behind[view.name]
