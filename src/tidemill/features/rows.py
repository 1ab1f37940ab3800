"""A view's rows: its source's rows, checked and transformed, each with its keys and times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from tidemill.core.errors import InvalidArgument, InvalidData, unknown
from tidemill.core.specs.changes import ADDS, REMOVES, Changes
from tidemill.core.specs.checks import Check
from tidemill.core.specs.features import FeatureView
from tidemill.core.specs.sources import SYSTEM_COLUMNS
from tidemill.core.times import to_micros
from tidemill.data.quality import failing
from tidemill.features.inputs import check_inputs, with_inputs
from tidemill.features.kernel.changes import ADDED
from tidemill.features.transforms import call, check_same, reads, resolved, trace

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
        schema: The columns the transform returns, and the inputs of aggregates over some of the rows.
        inputs: The columns the view needs of the transform: its features, or the inputs of its aggregates.
        carried: Keys, times and id taken from the source's row, by position.
        kept: Keys, times and id taken from the transform's output.
        reads: The columns of the source that all this needs.
        unique_ids: Whether no id comes twice in the source's rows, so that nothing has to look for repeated events.
    """

    view: FeatureView
    source: pl.Schema
    schema: pl.Schema
    inputs: tuple[str, ...]
    carried: tuple[str, ...]
    kept: tuple[str, ...]
    reads: tuple[str, ...]
    unique_ids: bool = False

    @property
    def key_types(self) -> dict[str, pl.DataType]:
        """The types of the view's keys."""
        return {key: (self.schema if key in self.kept else self.source)[key] for key in self.view.key_columns}

    @property
    def event_id(self) -> tuple[str, ...]:
        """Columns that name an event, where a repeated one must count once (R11).

        Those of a change log name a change, which its images share.
        """
        return _event_id(self.view, self.unique_ids)

    @property
    def changes(self) -> Changes | None:
        """How the rows tell of changes, for a change log."""
        return self.view.source.changes

    def derive(self, rows: pl.LazyFrame) -> tuple[pl.DataFrame, Mapping[str, int]]:
        """The view's rows.

        Args:
            rows: Rows of the source's table, system columns included.

        Returns:
            Keys, `event_ts`, `created_ts`, `ingest_seq`, event id and inputs of each row that passes the view's checks, and
            `ADDED` for a change log; and how many rows failed each check.

        Raises:
            UserCodeError: The transform raised.
            InvalidArgument: The transform returned more or fewer rows than it was given.
            InvalidData: A row of a change log neither adds nor removes.
        """
        base = rows.select(self.reads).collect()
        if self.view.source.time is None:
            base = base.with_columns(event_ts=pl.lit(ALWAYS, pl.Int64).cast(base.schema["event_ts"]))
        base, failed = self._checked(base)
        absent = [pl.lit(None, dtype).alias(name) for name, dtype in self.source.items() if name not in base.columns]
        whole = base.lazy().with_columns(absent).select(self.source.names())
        out = call(with_inputs(self.view), whole, _what(self.view), self.source)
        wanted = list(dict.fromkeys([*self.kept, *self.inputs]))
        taken: pl.DataFrame = resolved(lambda: out.select(wanted).collect(), _what(self.view), self.source)
        if not self.carried:
            return self._marked(taken, taken), failed
        if taken.height != base.height:
            raise InvalidArgument(
                f"{_what(self.view)} made {taken.height} rows of {base.height}",
                expected="one row out for each row in",
                hint="Use aggregates=[...] to combine rows",
            )
        whole_rows = base.select(name for name in self.carried if name not in wanted).hstack(taken)
        return self._marked(whole_rows, base), failed

    def _marked(self, frame: pl.DataFrame, base: pl.DataFrame) -> pl.DataFrame:
        """The rows of a change log with what each does."""
        if self.changes is None:
            return frame
        op = base[self.changes.op].cast(pl.String)
        wrong = op.filter(~op.is_in([ADDS, REMOVES]).fill_null(False))
        if len(wrong):
            raise InvalidData(
                f"column {self.changes.op!r} of change log {self.view.source.name!r} holds {wrong[0]!r}",
                expected=f"{ADDS!r} or {REMOVES!r} in its table, as ingest writes them",
            )
        kept = frame if self.changes.op in self.inputs else frame.drop(self.changes.op, strict=False)
        return kept.with_columns((op == ADDS).alias(ADDED))

    def _checked(self, base: pl.DataFrame) -> tuple[pl.DataFrame, Mapping[str, int]]:
        if not self.view.checks:
            return base, {}
        rules = [failing(check, base.schema[check.column]).fill_null(False) for check in self.view.checks]
        found = base.select(rule.alias(check.label) for rule, check in zip(rules, self.view.checks, strict=True))
        failed = {label: int(found[label].sum()) for label in found.columns}
        return base.filter(~found.select(pl.any_horizontal(pl.all())).to_series()), failed


def view_rows(view: FeatureView, source: pl.Schema, *, unique_ids: bool = False) -> ViewRows:
    """Work out how a view's rows come out of its source, without reading any.

    Args:
        view: The view.
        source: The columns of the source's table, system columns included.
        unique_ids: Whether no id comes twice in the source's rows.

    Raises:
        InvalidArgument: A key is missing, or the transform goes not row by row and does not keep keys and times.
        NotFound: An aggregate or check names a column that is not there.
        UserCodeError: The transform raises.
    """
    traced = trace(view, source, _what(view))
    _check_columns(view, source, traced.schema)
    op = () if view.source.changes is None else (view.source.changes.op,)
    _check_op(view, source)
    needed = [*view.key_columns, *SYSTEM_COLUMNS, *_event_id(view, unique_ids), *op]
    if traced.row_wise:
        # A key the transform made or changed is meant; the times, and what a change does, are the row's own.
        kept = tuple(name for name in needed if name in traced.schema and name not in (*SYSTEM_COLUMNS, *op))
        carried = tuple(dict.fromkeys(name for name in needed if name not in kept))
    else:
        kept, carried = tuple(dict.fromkeys(needed)), ()
        _check_kept(view, kept, traced.schema)
    inputs = _inputs(view, traced.schema)
    whole = with_inputs(view)
    schema = traced.schema if whole is view else trace(whole, source, _what(view)).schema
    read = reads(whole, source, list(dict.fromkeys([*kept, *inputs])), _what(view))
    checked = [name for check in view.checks for name in _checked_columns(check)]
    asked = {*read, *carried, *checked}
    used = tuple(name for name in source.names() if name in asked)
    return ViewRows(view, source, schema, inputs, carried, kept, used, unique_ids)


def _event_id(view: FeatureView, unique_ids: bool) -> tuple[str, ...]:
    # A state view answers with the newest report of an event anyway.
    named = view.is_windowed and view.source.changes is None and not unique_ids
    return view.source.id_columns if named else ()


def _check_op(view: FeatureView, source: pl.Schema) -> None:
    changes = view.source.changes
    if changes is not None and changes.op not in source:
        raise unknown(
            f"column of change log {view.source.name!r} that says what a change is", changes.op, source.names()
        )


def _what(view: FeatureView) -> str:
    return f"the transform of feature view {view.name!r}"


def _check_columns(view: FeatureView, source: pl.Schema, schema: pl.Schema) -> None:
    for key in view.key_columns:
        if key not in schema and key not in source:
            raise unknown(f"key of feature view {view.name!r} in source {view.source.name!r}", key, source.names())
    check_inputs(view, schema)
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
        return tuple(dict.fromkeys(aggregate.input for aggregate in view.aggregates))
    source = view.source
    hidden = {*view.key_columns, source.time, source.created, *source.id_columns, *SYSTEM_COLUMNS}
    if source.changes is not None:
        hidden.add(source.changes.op)
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
    others = {"alone": pl.concat([whole.clear(), *alone]), "in reverse order": _sorted(rows, sample.reverse())}
    check_same(_what(rows.view), whole, others, hint="Use aggregates=[...] for what combines rows")


def _sorted(rows: ViewRows, sample: pl.DataFrame) -> pl.DataFrame:
    return rows.derive(sample.lazy())[0].sort("ingest_seq", maintain_order=True)
