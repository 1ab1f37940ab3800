"""What becomes of the rows of a delivery: cleaned, given their times, checked, and divided into accepted and rejected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from tidemill.core.errors import InvalidArgument, InvalidData, TidemillError, UserCodeError, unknown
from tidemill.core.specs.sources import SYSTEM_COLUMNS, Source
from tidemill.data import ids
from tidemill.data.changes import images
from tidemill.data.columns import Misfit, check_none_vanished, check_types_kept, fit, known_types
from tidemill.data.quality import Verdict, judge
from tidemill.data.quarantine import quarantine_rows
from tidemill.data.times import INSTANT, instants

NO_TIME = "no event time"
FUTURE = "in the future"

_Found = list[tuple[str, pl.Series, pl.Series]]


@dataclass(frozen=True)
class Prepared:
    """Rows with their verdict, before ids are compared."""

    raw: pl.DataFrame
    """As they arrived, after `clean`."""
    rows: pl.DataFrame
    """The same rows in the types of the table, with `event_ts` and `created_ts`."""
    verdict: Verdict


@dataclass(frozen=True)
class Intake:
    """A delivery divided."""

    accepted: pl.DataFrame
    """Rows for the table, without `ingest_seq` yet."""
    rejected: pl.DataFrame
    """Rows for the quarantine."""
    counts: dict[str, int]
    """Rejected rows by rule; one with several reasons counts for each."""
    typed: pl.DataFrame
    """All rows in the types of the table, with `event_ts` and `created_ts`."""
    duplicates: int = 0
    """Rows that were left out because they are there already, with the same values."""

    def refuse_rejected(self, source: str) -> None:
        """Raise if a row was rejected, for callers that asked for strict.

        Raises:
            InvalidData: Says how many rows failed what.
        """
        if self.rejected.height:
            failed = ", ".join(f"{label} ({count})" for label, count in self.counts.items())
            raise InvalidData(
                f"{self.rejected.height} rows of source {source!r} fail: {failed}",
                expected="rows without faults, as strict was asked for",
                hint="Nothing was written. Without strict these rows go to quarantine and the rest is taken",
            )


def prepare(source: Source, frame: pl.DataFrame, table: pl.Schema | None, now: int, *, whole: bool) -> Prepared:
    """Clean, type, date and check rows.

    Args:
        source: Their source.
        frame: The rows as read.
        table: The columns of the source's table; None before its first rows.
        now: The time of arrival, microseconds.
        whole: Whether this is a delivery with all its columns, which earlier columns must not be missing from. Pushed rows
            may leave columns out.

    Raises:
        InvalidData: A column vanished or changed its type, the time column holds no times, or a change log's rows before
            and after a change are no structs.
        UserCodeError: `clean` failed.
    """
    raw, faults = _cleaned(source, frame), dict[str, pl.Series]()
    if source.changes is not None:
        raw, faults = images(source, source.changes, raw)
    if whole:
        _check_columns(source, raw)
        check_none_vanished(raw, table, source.name)
    raw = _with_missing_columns(source, raw, table)
    rows, misfits = _typed(source, raw, table)
    if whole:
        check_types_kept(misfits, rows, source.name)
    rows = _with_system_times(source, rows, now)
    found: _Found = [(misfit.label, misfit.mask, misfit.reason) for misfit in misfits]
    found += [_fault(label, mask) for label, mask in faults.items()]
    found += _faults(source, raw, rows, now)
    return Prepared(raw, rows, judge(rows, source.checks, found))


def divide(
    source: Source, prepared: Prepared, repeated: pl.Series, now: int, arrival: str | None,
    same: pl.Series | None = None,
) -> Intake:  # fmt: skip
    """Divide rows into accepted and rejected.

    Args:
        source: Their source.
        prepared: The rows.
        repeated: Of each row that passed so far: is its id repeated?
        now: The time of arrival, microseconds.
        arrival: The id of their arrival; None for pushed rows.
        same: Of each repeated row: has it the values that are there already? Such a row is left out instead of rejected.
    """
    verdict = prepared.verdict
    refused_ids = repeated if same is None else repeated & ~same
    passed = prepared.rows.filter(verdict.passed)
    refused = pl.concat([
        quarantine_rows(prepared.raw.filter(~verdict.passed), verdict.reason.filter(~verdict.passed), source.id_columns),
        quarantine_rows(prepared.raw.filter(verdict.passed).filter(refused_ids), ids.REPEATED, source.id_columns),
    ])  # fmt: skip
    counts = verdict.counts | ({ids.REPEATED: int(refused_ids.sum())} if refused_ids.any() else {})
    rejected = refused.with_columns(arrived_at=pl.lit(now, pl.Int64).cast(INSTANT), arrival=pl.lit(arrival, pl.String))
    return Intake(passed.filter(~repeated), rejected, counts, prepared.rows, 0 if same is None else int(same.sum()))


def _cleaned(source: Source, frame: pl.DataFrame) -> pl.DataFrame:
    if source.clean is None:
        return frame
    try:
        cleaned: Any = source.clean(frame.lazy())
        rows = cleaned.collect() if isinstance(cleaned, pl.LazyFrame) else cleaned
    except TidemillError:
        raise
    except Exception as error:
        raise UserCodeError(
            f"clean= of source {source.name!r} raised {type(error).__name__}: {error}",
            hint=f"It was given the columns {', '.join(frame.columns)}",
        ) from error
    if not isinstance(rows, pl.DataFrame):
        raise InvalidArgument(f"clean= of source {source.name!r} returned {type(rows).__name__}", expected="the rows")
    reserved = [name for name in rows.columns if name in SYSTEM_COLUMNS]
    if reserved:
        raise InvalidArgument(f"clean= of source {source.name!r} returned the reserved columns {', '.join(reserved)}")
    return rows


def _named_columns(source: Source) -> list[str]:
    named = (source.time, source.created, *source.id_columns)
    return [name for name in dict.fromkeys(named) if name is not None]


def _check_columns(source: Source, raw: pl.DataFrame) -> None:
    for name in (*_named_columns(source), *source.types):
        if name not in raw.columns:
            raise unknown("column", name, raw.columns, hint=f"The definition of source {source.name!r} names it")


def _with_missing_columns(source: Source, raw: pl.DataFrame, table: pl.Schema | None) -> pl.DataFrame:
    expected = [*(table or ()), *_named_columns(source), *source.types, *(check.column for check in source.checks)]
    missing = [name for name in dict.fromkeys(expected) if name not in raw.columns and name not in SYSTEM_COLUMNS]
    return raw.with_columns(pl.lit(None).alias(name) for name in missing)


def _typed(source: Source, raw: pl.DataFrame, table: pl.Schema | None) -> tuple[pl.DataFrame, list[Misfit]]:
    types = known_types(source, table)
    for name in (source.time, source.created):
        if name is not None:
            instants(raw[name].clear())  # says what is wrong with a column that can hold no times
            types[name] = INSTANT
    return fit(raw, types)


def _with_system_times(source: Source, rows: pl.DataFrame, now: int) -> pl.DataFrame:
    arrival = pl.lit(now, pl.Int64).cast(INSTANT)
    return rows.with_columns(
        event_ts=pl.lit(None, INSTANT) if source.time is None else pl.col(source.time),
        created_ts=arrival if source.created is None else pl.col(source.created),
    )


def _faults(source: Source, raw: pl.DataFrame, rows: pl.DataFrame, now: int) -> _Found:
    found: _Found = []
    if source.time is not None:
        found.append(_fault(NO_TIME, raw[source.time].is_null()))
        at = rows["event_ts"].to_physical()
        found.append(_fault(FUTURE, (at > now).fill_null(False)))
    if source.id_columns:
        found.append(_fault(ids.MISSING, ids.missing(raw, source.id_columns)))
    return [fault for fault in found if fault[1].any()]


def _fault(label: str, mask: pl.Series) -> tuple[str, pl.Series, pl.Series]:
    return label, mask, pl.Series([label]).new_from_index(0, len(mask))
