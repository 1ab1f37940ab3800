"""Numbers as the number of the range they lie in."""

from __future__ import annotations

import numpy as np
import polars as pl

from tidemill.core.schema import Column
from tidemill.core.specs.preparation import Bucketize
from tidemill.data.preparation.state import Fitted, checked, finite_values


class Bucketized(Fitted, frozen=True, kw_only=True, tag="bucketize", omit_defaults=True):
    """Rising edges: a value gets the number of edges at or below it."""

    edges: tuple[float, ...]

    def outputs(self, column: Column) -> tuple[Column, ...]:
        return (Column(name=column.name, type="int64"),)

    def expressions(self) -> list[pl.Expr]:
        value = pl.col(self.column).cast(pl.Float64).fill_nan(None)
        edges = pl.lit(pl.Series(self.edges, dtype=pl.Float64))
        place = edges.search_sorted(value, side="right").cast(pl.Int64)
        return [pl.when(value.is_not_null()).then(place).alias(self.column)]


def fit_bucketize(spec: Bucketize, frame: pl.DataFrame, column: Column) -> Bucketized:
    """Learn the edges, where they are not given.

    Raises:
        InvalidData: There is no finite value to learn from.
    """
    if spec.edges is not None:
        return Bucketized(column=column.name, edges=spec.edges)
    values = finite_values(frame, column.name)
    shares = np.linspace(0, 1, spec.buckets + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        if spec.spacing == "quantile":
            edges = np.quantile(values, shares)
        else:
            edges = values.min() + shares * (values.max() - values.min())
    # An edge at the smallest value has nothing below it.
    inner = np.unique(edges[1:-1])
    kept = inner[inner > values.min()]
    return Bucketized(column=column.name, edges=tuple(checked(edge, column.name) for edge in kept))
