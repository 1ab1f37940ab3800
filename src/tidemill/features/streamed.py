"""State look-ups offline: the rows of a table pass by once, and what may answer a question is picked out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import polars as pl

from tidemill.features.kernel.newest import Candidates, Newest
from tidemill.features.kernel.timeline import Ints
from tidemill.features.partitioned import batches
from tidemill.features.plan import UsePlan
from tidemill.features.rows import ViewRows

AT_ONCE = 4
"""No more batches than these are worked on at a time, nor than Polars has threads."""


def is_streamed(rows: ViewRows, seen: Ints | None) -> bool:
    """Whether a view's answers can be picked out of its rows in passing.

    Aggregates need whole windows, and rows that go again, or that count by two clocks, more than the greatest one.
    """
    return not rows.view.is_windowed and rows.changes is None and seen is None


def streamed(
    parts: Sequence[UsePlan], table: pl.LazyFrame, spine: pl.DataFrame, t: Ints, *, known: bool
) -> tuple[list[pl.DataFrame], Mapping[str, int]]:
    """The features of all uses of one state view.

    Args:
        parts: The uses of the view.
        table: The rows of its source.
        spine: The rows asked for.
        t: Their moments, microseconds.
        known: Whether a row counts only once its created time had passed.

    Returns:
        The features of each use, row by row as the spine; and how many rows of the table failed each check.
    """
    rows = parts[0].rows
    lookups = [_lookup(part, spine, t, known or rows.view.is_as_known) for part in parts]
    failures: Counter[str] = Counter()
    pending: deque[tuple[pl.DataFrame, Future[list[Candidates]]]] = deque()
    at_once = min(pl.thread_pool_size(), AT_ONCE)
    with ThreadPoolExecutor(at_once, "tidemill-lookup") as pool:
        for batch in batches(rows, table, failures):
            if len(pending) == at_once:
                _keep(lookups, *pending.popleft())
            pending.append((batch, pool.submit(_candidates, lookups, batch)))
        while pending:
            _keep(lookups, *pending.popleft())
    empty, _ = rows.derive(pl.DataFrame(schema=rows.source).lazy())
    return [_named(part, lookup.answer(empty)) for part, lookup in zip(parts, lookups, strict=True)], failures


def _lookup(part: UsePlan, spine: pl.DataFrame, t: Ints, known: bool) -> Newest:
    view = part.use.view
    asked = [part.use.keys[key] for key in view.key_columns]
    return Newest(
        spine, asked, view.key_columns, t, list(part.names),
        ttl=view.ttl_micros, delay=view.source.delay_micros, known=known,
    )  # fmt: skip


def _candidates(lookups: Sequence[Newest], batch: pl.DataFrame) -> list[Candidates]:
    return [lookup.candidates(batch) for lookup in lookups]


def _keep(lookups: Sequence[Newest], batch: pl.DataFrame, found: Future[list[Candidates]]) -> None:
    for lookup, candidates in zip(lookups, found.result(), strict=True):
        lookup.keep(batch, candidates)


def _named(part: UsePlan, found: pl.DataFrame) -> pl.DataFrame:
    return found.select(pl.col(feature).alias(full) for feature, full in part.names.items())
