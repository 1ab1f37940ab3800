"""Discrete values as the mean label of their rows."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.core.errors import InvalidArgument
from tidemill.core.schema import Column
from tidemill.core.specs.preparation import TargetEncode
from tidemill.data.preparation.state import Fitted, Floats, Key, Table, checked, keys


class TargetEncoded(Fitted, frozen=True, kw_only=True, tag="target_encode", omit_defaults=True):
    """Count and sum of the labels of each value; None stands for missing."""

    column_type: str
    categories: tuple[Key, ...]
    counts: tuple[int, ...]
    sums: tuple[float, ...]
    mean: float
    """Of all labels."""
    smooth: float
    folds: int

    def outputs(self, column: Column) -> tuple[Column, ...]:
        return (Column(name=column.name, type="float64", nullable=False),)

    def expressions(self) -> list[pl.Expr]:
        return list(self._made)

    @cached_property
    def _made(self) -> list[pl.Expr]:
        encodings = encoding(np.array(self.sums), np.array(self.counts, float), self.mean, self.smooth)
        known = keys(self.categories, self.column_type)
        return [Table(known, pl.Series(encodings, dtype=pl.Float64), self.mean).of(self.column).alias(self.column)]

    def out_of_fold(self, values: pl.Series, label: Floats) -> pl.Series:
        """The rows it was fitted on, each encoded by the rows of the other folds.

        Args:
            values: The column.
            label: The label of each row.
        """
        codes, found = _codes(values)
        folds = np.arange(len(codes)) % self.folds
        encoded = np.empty(len(codes))
        for fold in range(self.folds):
            own, rest = folds == fold, folds != fold
            if not rest.any():  # a single row: nothing but the mean is known
                encoded[own] = self.mean
                continue
            counts, sums = _totals(codes[rest], label[rest], len(found))
            mean = float(np.mean(label[rest]))
            encoded[own] = encoding(sums, counts, mean, self.smooth)[codes[own]]
        return pl.Series(self.column, encoded, dtype=pl.Float64)


def encoding(sums: Floats, counts: Floats, mean: float, smooth: float) -> Floats:
    """Smoothed means: `(sum + smooth * mean) / (count + smooth)`, and the mean where that is 0 / 0.

    The formula is scikit-learn's `TargetEncoder(smooth=...)`; see D. Micci-Barreca, "A preprocessing scheme for
    high-cardinality categorical attributes" (2001).
    """
    weights = counts + smooth
    sure = weights > 0
    found: Floats = np.where(sure, (sums + smooth * mean) / np.where(sure, weights, 1.0), mean)
    return found


def fit_target_encode(
    spec: TargetEncode, frame: pl.DataFrame, column: Column, label: pl.Series | None
) -> TargetEncoded:
    """Learn the labels of each value.

    Args:
        spec: What to do.
        frame: The rows to learn from.
        column: The column.
        label: The label of each row.

    Raises:
        InvalidArgument: There is no label, or it has no mean.
    """
    y = label_values(label, column.name)
    codes, found = _codes(frame.get_column(column.name))
    with np.errstate(over="ignore"):
        counts, sums = _totals(codes, y, len(found))
        mean = checked(float(np.mean(y)), "the label")
    return TargetEncoded(
        column=column.name, column_type=column.type, categories=tuple(found), counts=tuple(map(int, counts)),
        sums=tuple(checked(total, "the label") for total in sums), mean=mean, smooth=spec.smooth, folds=spec.folds,
    )  # fmt: skip


def label_values(label: pl.Series | None, column: str) -> Floats:
    """The labels as numbers.

    Raises:
        InvalidArgument: There are none.
    """
    if label is None:
        raise InvalidArgument(f"target_encode({column!r}) needs a label, and these rows have none",
                              hint="Build them with label=, or prepare them as those a model was fitted on")  # fmt: skip
    if not (label.dtype.is_numeric() or label.dtype == pl.Boolean):
        raise InvalidArgument(f"target_encode({column!r}) needs a label with a mean, and {label.name!r} is {label.dtype}",
                              expected="a boolean or a number")  # fmt: skip
    return label.cast(pl.Float64).to_numpy()


def _codes(values: pl.Series) -> tuple[NDArray[np.int64], list[Key]]:
    """Each row's place among the sorted distinct values, missing first."""
    found = values.unique().sort(nulls_last=False)
    places = pl.Series(range(len(found)), dtype=pl.Int64)
    codes = values.replace_strict(found, places, return_dtype=pl.Int64).to_numpy()
    return codes, found.to_list()


def _totals(codes: NDArray[np.int64], label: Floats, size: int) -> tuple[Floats, Floats]:
    # bincount adds row by row: the sums are the same on any number of cores.
    counts = np.bincount(codes, minlength=size).astype(np.float64)
    sums: Floats = np.bincount(codes, weights=label, minlength=size).astype(np.float64)
    return counts, sums
