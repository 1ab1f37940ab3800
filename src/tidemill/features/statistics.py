"""What the values of features look like: how many are missing, where numbers lie, which texts are frequent."""

from __future__ import annotations

import msgspec
import polars as pl

from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.core.specs.sources import SYSTEM_COLUMNS
from tidemill.features.catalog import Catalog
from tidemill.features.offline import offline_features
from tidemill.features.training import SourceReader

NEWEST = 10_000
"""Rows that statistics are computed on."""

MOST_FREQUENT = 5
_MOMENT = "event_ts"


class FeatureStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One feature over some rows."""

    feature: str
    rows: int
    missing: float | None
    """Share of nulls; None when there are no rows."""
    min: float | None = None
    mean: float | None = None
    max: float | None = None
    """Least, mean and greatest of the finite numbers; None for what is no number."""
    top: tuple[tuple[str, float], ...] = ()
    """The most frequent values of texts and booleans, each with its share of the rows."""


def statistics(frame: pl.DataFrame) -> list[FeatureStatistics]:
    """Describe each column of a frame.

    Example:
        >>> one, two = statistics(pl.DataFrame({"temp": [1.0, 3.0, None, None], "sky": ["grey", "grey", "blue", None]}))
        >>> one.missing, one.min, one.mean, one.max
        (0.5, 1.0, 2.0, 3.0)
        >>> two.top
        (('grey', 0.5), ('blue', 0.25))
    """
    return [_described(column) for column in frame.iter_columns()]


def _described(column: pl.Series) -> FeatureStatistics:
    rows, dtype = len(column), column.dtype
    missing = column.null_count() / rows if rows else None
    if dtype.is_numeric():
        numbers = column.cast(pl.Float64)
        finite = numbers.filter(numbers.is_finite())
        least, mean, greatest = (_number(value) for value in (finite.min(), finite.mean(), finite.max()))
        return FeatureStatistics(feature=column.name, rows=rows, missing=missing, min=least, mean=mean, max=greatest)
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Boolean):
        return FeatureStatistics(feature=column.name, rows=rows, missing=missing, top=_top(column))
    return FeatureStatistics(feature=column.name, rows=rows, missing=missing)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _top(column: pl.Series) -> tuple[tuple[str, float], ...]:
    counted = pl.DataFrame({"value": column.cast(pl.String).drop_nulls()}).group_by("value").len()
    found = counted.sort(["len", "value"], descending=[True, False]).head(MOST_FREQUENT)
    return tuple((value, count / len(column)) for value, count in found.iter_rows())


def features_of_newest(part: FeatureView | FeatureService, catalog: Catalog, reader: SourceReader) -> pl.DataFrame:
    """The features at the newest rows: of a service those of its spine, of a view its own, each as of its time.

    Returns:
        The features alone; no column when there are no rows yet.

    Raises:
        TidemillError: The definition does not fit the rows; see `tidemill.features.plan.plan_service`.
    """
    if isinstance(part, FeatureService):
        spine = catalog.spine(part)
        if spine is None or not catalog.has_rows(spine):
            return pl.DataFrame()
        newest = _newest(reader.newest(spine)).drop(SYSTEM_COLUMNS)
        plan = catalog.plan(part, spine)
        found = offline_features(part, newest, str(spine.time), reader.newest, unique_ids=reader.unique_ids)
        return found.select(*plan.features)
    if not catalog.has_rows(part.source):
        return pl.DataFrame()
    # A transform may make the keys.
    newest, _ = catalog.rows(part).derive(_newest(reader.newest(part.source)).lazy())
    # Of what counts only once it was known, a row is not known at its own time yet.
    moment = pl.max_horizontal("event_ts", "created_ts") if part.is_as_known else pl.col("event_ts")
    rows = newest.select(*part.key_columns, moment.alias(_MOMENT))
    alone = FeatureService([part], name="alone")
    found = offline_features(alone, rows, _MOMENT, reader.newest, unique_ids=reader.unique_ids)
    return found.drop(rows.columns)


def _newest(rows: pl.LazyFrame) -> pl.DataFrame:
    return rows.top_k(NEWEST, by=["event_ts", "ingest_seq"]).collect()
