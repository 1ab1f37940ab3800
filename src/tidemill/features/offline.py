"""Offline features: a service's columns for many rows at once, each as of the row's own time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import polars as pl

from tidemill.core.errors import unknown
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.core.specs.sources import Source
from tidemill.engines.protocol import Engine
from tidemill.features.kernel.history import History
from tidemill.features.kernel.timeline import Ints, shifted
from tidemill.features.kernel.windows import window_times
from tidemill.features.partitioned import UNMATCHED, Ask, partitioned
from tidemill.features.plan import OnDemandPlan, ServicePlan, UsePlan, plan_service
from tidemill.features.rows import ViewRows
from tidemill.features.spine import moment, moments
from tidemill.features.streamed import is_streamed, streamed
from tidemill.features.transforms import call, resolved

Read = Callable[[Source], pl.LazyFrame]
"""The rows of a source's table: its columns, `event_ts`, `created_ts` and `ingest_seq`."""


def offline_features(
    service: FeatureService, spine: pl.DataFrame, time: str, read: Read, known_at: bool = False,
    unique_ids: bool = False, engine: Engine | None = None,
) -> pl.DataFrame:  # fmt: skip
    """The features of a service for each row of a spine, as of the row's time.

    Args:
        service: The service.
        spine: The rows, with all keys, the time and what on-demand features read.
        time: The spine's time column: a datetime (naive means UTC) or integer microseconds, never null.
        read: Gives the rows of a source's table.
        known_at: Whether a row counts only once its created time had passed (R3), for every view.
        unique_ids: Whether no id comes twice in a source's rows; else a repeated event counts at its first report (R11).
        engine: Who runs the work, with the same result; this very thread when absent.

    Returns:
        The spine's rows and columns in the spine's order, and the features after them in the service's order. An on-demand
        feature named like a column of the spine takes that column's place. A feature without a value is null.

    Raises:
        InvalidArgument: The definitions do not fit the data; see `tidemill.features.plan.plan_service`.
        InvalidData: A time is null.
        NotFound: A column is missing.
    """
    plan = plan_service(
        service, lambda source: read(source).collect_schema(), spine.schema, time, unique_ids=unique_ids
    )
    return planned_features(plan, spine, time, read, known_at, engine=engine)


def planned_features(
    plan: ServicePlan, spine: pl.DataFrame, time: str, read: Read, known_at: bool = False,
    failed: Callable[[FeatureView, Mapping[str, int]], None] | None = None, seen: Ints | None = None,
    engine: Engine | None = None,
) -> pl.DataFrame:  # fmt: skip
    """The features of a resolved service; see `offline_features`.

    Args:
        plan: The service, resolved for the spine's columns.
        spine: The rows.
        time: Their time column.
        read: Gives the rows of a source's table.
        known_at: Whether a row counts only once its created time had passed.
        failed: Told of each view how many rows failed each of its checks, and how many removals removed nothing.
        seen: With `known_at`, by when rows must have been known; absent, and for views that always ask for it, by the
            row's own time.
        engine: Who runs the work; this very thread when absent.
    """
    t = moments(spine, time)
    found: dict[int, pl.DataFrame] = {}
    for parts in _by_view(plan):  # one view used twice is read and sorted once
        rows = parts[0].rows
        table = _in_reach(rows, read(rows.view.source), t)
        by = None if rows.view.is_as_known else seen
        if is_streamed(rows, by) and (engine is None or engine.in_process):
            answers, failures = streamed(parts, table, spine, t, known=known_at)
        elif engine is None:
            answers, failures = _answered(parts, table, spine, t, known_at, by)
        else:
            answers, failures = partitioned(engine, parts, table, spine, t, known=known_at, seen=by)
        found |= zip(map(id, parts), answers, strict=True)
        if failed is not None and failures:
            failed(rows.view, failures)
    stored = {column.name: column for answers in found.values() for column in answers.iter_columns()}
    columns: dict[str, pl.Series] = {}
    for part in plan.parts:
        columns |= (on_demand(part, spine, stored) if isinstance(part, OnDemandPlan) else found[id(part)]).to_dict()
    return spine.with_columns(columns.values())


def _by_view(plan: ServicePlan) -> list[list[UsePlan]]:
    views: dict[int, list[UsePlan]] = {}
    for part in plan.uses:
        views.setdefault(id(part.use.view), []).append(part)
    return list(views.values())


def answer(
    part: UsePlan, history: History, questions: pl.DataFrame, t: Ints, seen: Ints | None = None
) -> pl.DataFrame:  # fmt: skip
    """The features of one view under their full names."""
    keys = [part.use.keys[key] for key in part.use.view.key_columns]
    return Ask.of(part)(history, questions, keys, t, seen)


def on_demand(
    part: OnDemandPlan, rows: pl.DataFrame, stored: Mapping[str, pl.Series] = MappingProxyType({})
) -> pl.DataFrame:
    """On-demand features of some rows, one row out for each row in.

    Args:
        part: The resolved features.
        rows: Rows that hold at least the columns the transform reads.
        stored: Full name -> values for these rows, of at least the stored features it reads.

    Raises:
        NotFound: Such a column is missing.
        UserCodeError: The transform raised.
    """
    what = f"on-demand transform {part.part.name!r}"
    for name in part.reads:
        if name not in rows.columns:
            raise unknown(f"column for the {what}", name, rows.columns)
    if part.stored:
        rows = rows.with_columns(stored[name] for name in part.stored)
    # A transform may name columns that nothing it returns is made of: a request has no need to hold them.
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in part.given.items() if name not in rows.columns]
    out = call(part.part, rows.lazy().with_columns(absent), what, rows.schema)
    found: pl.DataFrame = resolved(lambda: out.select(list(part.types)).collect(), what, rows.schema)
    return found


def _answered(
    parts: Sequence[UsePlan], table: pl.LazyFrame, spine: pl.DataFrame, t: Ints, known_at: bool, seen: Ints | None
) -> tuple[list[pl.DataFrame], Mapping[str, int]]:
    """The features of all uses of one view, and how many of its rows failed each check."""
    rows = parts[0].rows
    view = rows.view
    frame, failures = rows.derive(table)
    history = History(
        frame,
        view.key_columns,
        delay=view.source.delay_micros,
        known=known_at or view.is_as_known,
        event_id=rows.event_id,
    )
    failures = {**failures, UNMATCHED: history.unmatched} if history.unmatched else failures
    return [answer(part, history, spine, t, seen) for part in parts], failures


def _in_reach(rows: ViewRows, table: pl.LazyFrame, t: Ints) -> pl.LazyFrame:
    """Leave out, before anything is computed, rows that no question can reach."""
    if len(t) == 0:
        return table.head(0)
    if rows.view.source.time is None:
        return table
    low, high = earliest(rows, np.array([t.min()])), int(t.max())
    event = pl.col("event_ts")
    table = table.filter(event <= moment(high))
    return table if low is None else table.filter(event >= moment(low))


def earliest(rows: ViewRows, t: Ints) -> int | None:
    """The earliest event time that matters for moments from t on; None when all of the past does."""
    view = rows.view
    if not view.is_windowed:
        return int(shifted(t, -view.ttl_micros)[0]) if view.ttl_micros else None
    windows = [window for aggregate in view.aggregates for window in aggregate.windows]
    # A repeated event counts at its first report, which may lie before every window; a removal has the time of its row.
    if rows.event_id or any(window.reach is None for window in windows):
        return None
    return min(int(window_times(window, t).start[0]) for window in windows)
