"""A view's rows: its source's rows, checked and transformed, each with its keys and times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from polars.testing import assert_frame_equal

from tidemill.core.errors import InvalidArgument, unknown
from tidemill.core.specs.checks import Check
from tidemill.core.specs.features import FeatureView
from tidemill.core.specs.sources import SYSTEM_COLUMNS
from tidemill.core.times import to_micros
from tidemill.data.quality import failing
from tidemill.features.transforms import call, reads, resolved, trace

ALWAYS = to_micros("0001-01-01")
"""The event time of reference data, microseconds: before any moment that is asked for, and a time to every store."""

SAMPLE_ROWS = 64
"""How many rows a transform is tried on, one by one, before it is applied."""


@dataclass(frozen=True)
class ViewRows:
    """How a view's rows come out of the rows of its source.

    Args:
        view: The view.
        source: The columns of the source's table, system columns included.
        schema: The columns the transform returns.
        inputs: The columns the view needs of the transform: its features, or the inputs of its aggregates.
        carried: Keys, times and id taken from the source's row, by position.
        kept: Keys, times and id taken from the transform's output.
        reads: The columns of the source that all this needs.
    """

    view: FeatureView
    source: pl.Schema
    schema: pl.Schema
    inputs: tuple[str, ...]
    carried: tuple[str, ...]
    kept: tuple[str, ...]
    reads: tuple[str, ...]

    @property
    def key_types(self) -> dict[str, pl.DataType]:
        """The types of the view's keys."""
        return {key: (self.schema if key in self.kept else self.source)[key] for key in self.view.key_columns}

    @property
    def event_id(self) -> tuple[str, ...]:
        """Columns that name an event, so that a repeated one counts once; empty for a view without aggregates."""
        return self.view.source.id_columns if self.view.is_windowed else ()

    def derive(self, rows: pl.LazyFrame) -> tuple[pl.DataFrame, Mapping[str, int]]:
        """The view's rows.

        Args:
            rows: Rows of the source's table, system columns included.

        Returns:
            Keys, `event_ts`, `created_ts`, `ingest_seq`, event id and inputs of each row that passes the view's checks; and
            how many rows failed each check.

        Raises:
            UserCodeError: The transform raised.
            InvalidArgument: The transform returned more or fewer rows than it was given.
        """
        base = rows.select(self.reads).collect()
        if self.view.source.time is None:
            base = base.with_columns(event_ts=pl.lit(ALWAYS, pl.Int64).cast(base.schema["event_ts"]))
        base, failed = self._checked(base)
        absent = [pl.lit(None, dtype).alias(name) for name, dtype in self.source.items() if name not in base.columns]
        whole = base.lazy().with_columns(absent).select(self.source.names())
        out = call(self.view, whole, _what(self.view), self.source)
        wanted = list(dict.fromkeys([*self.kept, *self.inputs]))
        taken: pl.DataFrame = resolved(lambda: out.select(wanted).collect(), _what(self.view), self.source)
        if not self.carried:
            return taken, failed
        if taken.height != base.height:
            raise InvalidArgument(
                f"{_what(self.view)} made {taken.height} rows of {base.height}",
                expected="one row out for each row in",
                hint="Use aggregates=[...] to combine rows",
            )
        return base.select(name for name in self.carried if name not in wanted).hstack(taken), failed

    def _checked(self, base: pl.DataFrame) -> tuple[pl.DataFrame, Mapping[str, int]]:
        if not self.view.checks:
            return base, {}
        rules = [failing(check, base.schema[check.column]).fill_null(False) for check in self.view.checks]
        found = base.select(rule.alias(check.label) for rule, check in zip(rules, self.view.checks, strict=True))
        failed = {label: int(found[label].sum()) for label in found.columns}
        return base.filter(~found.select(pl.any_horizontal(pl.all())).to_series()), failed


def view_rows(view: FeatureView, source: pl.Schema) -> ViewRows:
    """Work out how a view's rows come out of its source, without reading any.

    Args:
        view: The view.
        source: The columns of the source's table, system columns included.

    Raises:
        InvalidArgument: A key is missing, or the transform goes not row by row and does not keep keys and times.
        NotFound: An aggregate or check names a column that is not there.
        UserCodeError: The transform raises.
    """
    traced = trace(view, source, _what(view))
    _check_columns(view, source, traced.schema)
    needed = [*view.key_columns, *SYSTEM_COLUMNS, *(view.source.id_columns if view.is_windowed else ())]
    if traced.row_wise:
        # A key the transform made or changed is meant; the times are the row's own.
        kept = tuple(name for name in needed if name in traced.schema and name not in SYSTEM_COLUMNS)
        carried = tuple(dict.fromkeys(name for name in needed if name not in kept))
    else:
        kept, carried = tuple(dict.fromkeys(needed)), ()
        _check_kept(view, kept, traced.schema)
    inputs = _inputs(view, traced.schema)
    read = reads(view, source, list(dict.fromkeys([*kept, *inputs])), _what(view))
    checked = [name for check in view.checks for name in _checked_columns(check)]
    asked = {*read, *carried, *checked}
    return ViewRows(view, source, traced.schema, inputs, carried, kept, tuple(n for n in source.names() if n in asked))


def _what(view: FeatureView) -> str:
    return f"the transform of feature view {view.name!r}"


def _check_columns(view: FeatureView, source: pl.Schema, schema: pl.Schema) -> None:
    for key in view.key_columns:
        if key not in schema and key not in source:
            raise unknown(f"key of feature view {view.name!r} in source {view.source.name!r}", key, source.names())
    for aggregate in view.aggregates:
        if aggregate.column not in schema:
            raise unknown(f"column to aggregate in feature view {view.name!r}", aggregate.column, schema.names())
    for check in view.checks:
        if check.rule == "unique":
            raise InvalidArgument(f"{check.label} is not a check of single rows", hint="Put it on the source")
        for column in _checked_columns(check):
            if column not in source:
                raise unknown(f"column to check in source {view.source.name!r}", column, source.names())


def _checked_columns(check: Check) -> list[str]:
    return [check.column, *(check.arguments if check.rule == "not_after" else ())]


def _check_kept(view: FeatureView, kept: tuple[str, ...], schema: pl.Schema) -> None:
    lost = [name for name in kept if name not in schema]
    if lost:
        raise InvalidArgument(
            f"{_what(view)} does more than select and with_columns, and its output lacks {', '.join(lost)}",
            expected="keys and times in the output, so that values are not paired with the wrong rows",
            hint=f"Select {', '.join(kept)} as well, or use only select and with_columns",
        )


def _inputs(view: FeatureView, schema: pl.Schema) -> tuple[str, ...]:
    if view.is_windowed:
        return tuple(dict.fromkeys(aggregate.column for aggregate in view.aggregates))
    source = view.source
    hidden = {*view.key_columns, source.time, source.created, *source.id_columns, *SYSTEM_COLUMNS}
    features = tuple(name for name in schema.names() if name not in hidden)
    if not features:
        raise InvalidArgument(f"feature view {view.name!r} has no feature", expected="columns besides keys and times")
    return features


def check_row_wise(rows: ViewRows, sample: pl.DataFrame) -> None:
    """Try a transform on some rows: together, one by one and in reverse they must come out the same.

    Args:
        rows: The view's rows.
        sample: Rows of the source's table.

    Raises:
        InvalidArgument: A row's values depend on the rows around it (`shift`, `over`, `mean`, ...).
    """
    sample = sample.head(SAMPLE_ROWS).with_columns(ingest_seq=pl.int_range(pl.len(), dtype=pl.Int64))
    whole = _sorted(rows, sample)
    alone = [_sorted(rows, sample[place : place + 1]) for place in range(sample.height)]
    for other, how in (
        (pl.concat([whole.clear(), *alone]), "alone"),
        (_sorted(rows, sample.reverse()), "in reverse order"),
    ):
        try:
            assert_frame_equal(whole, other, check_exact=True)
        except AssertionError as error:
            raise InvalidArgument(
                f"{_what(rows.view)} gives other values when it sees rows {how}: {str(error).splitlines()[0]}",
                expected="a transform that works row by row",
                hint="Use aggregates=[...] for what combines rows",
            ) from None


def _sorted(rows: ViewRows, sample: pl.DataFrame) -> pl.DataFrame:
    return rows.derive(sample.lazy())[0].sort("ingest_seq", maintain_order=True)
