"""The inputs of a view's aggregates: columns of its transform, nulls where a filter or a category leaves a row out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from tidemill.core.errors import InvalidArgument, unknown
from tidemill.core.specs.aggregates import Aggregate
from tidemill.core.specs.features import FeatureView
from tidemill.features.transforms import resolved


def with_inputs(view: FeatureView) -> Callable[[Any], Any]:
    """The view's transform, with a column for every filtered input after its own.

    Every aggregate ignores nulls, so a null is what a row that does not count leaves behind.
    """
    filtered = {a.input: _values(a) for a in view.aggregates if a.input != a.column}
    if not filtered:
        return view
    return lambda rows: view(rows).with_columns(**filtered)


def _values(aggregate: Aggregate) -> pl.Expr:
    rules = [] if aggregate.where is None else [aggregate.where.expression]
    if aggregate.by is not None:
        rules.append(pl.col(aggregate.by) == pl.lit(aggregate.categories[0]))
    return pl.when(*rules).then(pl.col(aggregate.column))


def check_inputs(view: FeatureView, schema: pl.Schema) -> None:
    """Check that what a view's aggregates name is there, and of the right type.

    Args:
        view: The view.
        schema: The columns its transform returns.

    Raises:
        NotFound: A column is missing.
        InvalidArgument: A filter is not true or false, or a category is of another type than its column.
        UserCodeError: A filter does not fit its columns.
    """
    for aggregate in view.aggregates:
        named = {"column to aggregate": [aggregate.column], "column of a filter": [], "column of categories": []}
        if aggregate.where is not None:
            named["column of a filter"] = aggregate.where.expression.meta.root_names()
        if aggregate.by is not None:
            named["column of categories"] = [aggregate.by]
        for role, columns in named.items():
            for column in columns:
                if column not in schema:
                    raise unknown(f"{role} in feature view {view.name!r}", column, schema.names())
        _check_condition(view, aggregate, schema)
        _check_category(view, aggregate, schema)


def _check_condition(view: FeatureView, aggregate: Aggregate, schema: pl.Schema) -> None:
    if aggregate.where is None:
        return
    filtered = pl.LazyFrame(schema=schema).select(aggregate.where.expression)
    found = resolved(filtered.collect, f"a filter of feature view {view.name!r}", schema).dtypes
    if found != [pl.Boolean()]:
        raise InvalidArgument(
            f"a filter of feature view {view.name!r} gives {', '.join(map(str, found))}",
            expected="one boolean for each row",
            hint=f"It is {aggregate.where.expression}",
        )


def _check_category(view: FeatureView, aggregate: Aggregate, schema: pl.Schema) -> None:
    if aggregate.by is None:
        return
    dtype, category = schema[aggregate.by], aggregate.categories[0]
    if isinstance(category, bool):
        fits = dtype == pl.Boolean
    elif isinstance(category, int):
        fits = dtype.is_integer()
    else:
        fits = dtype in (pl.String, pl.Categorical, pl.Enum)
    if not fits:
        raise InvalidArgument(
            f"the category {category!r} in feature view {view.name!r} is not like column {aggregate.by!r}, which is {dtype}",
            expected="texts for a column of texts, integers for integers, booleans for booleans",
        )
