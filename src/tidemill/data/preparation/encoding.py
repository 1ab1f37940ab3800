"""Discrete values as numbers, whatever the label is."""

from __future__ import annotations

import hashlib
from functools import cached_property, partial

import polars as pl

from tidemill.core.errors import InvalidArgument
from tidemill.core.schema import Column
from tidemill.core.specs.preparation import HashEncode, OneHot, Ordinal
from tidemill.data.columns import TYPES
from tidemill.data.preparation.state import Fitted, Table, keys, nothing_in, values_in_order

OTHER = "other"


class OneHotEncoded(Fitted, frozen=True, kw_only=True, tag="one_hot", omit_defaults=True):
    """The values that have a column of their own, sorted."""

    column_type: str
    categories: tuple[bool | int | str, ...]
    other: bool = False
    """Whether all others share a column."""

    def outputs(self, column: Column) -> tuple[Column, ...]:
        shown = [*self.categories, *([OTHER] if self.other else [])]
        return tuple(Column(name=f"{column.name}_{value}", type="int64", nullable=False) for value in shown)

    def expressions(self) -> list[pl.Expr]:
        return list(self._made)

    @cached_property
    def _made(self) -> list[pl.Expr]:
        value = pl.col(self.column)
        made = [
            _zero_one(value == pl.lit(key, TYPES[self.column_type]), f"{self.column}_{key}") for key in self.categories
        ]
        if self.other:
            known = value.is_in(keys(self.categories, self.column_type).implode())
            made.append(_zero_one(~known, f"{self.column}_{OTHER}"))
        return made


def _zero_one(holds: pl.Expr, name: str) -> pl.Expr:
    return holds.fill_null(False).cast(pl.Int64).alias(name)


def fit_one_hot(spec: OneHot, frame: pl.DataFrame, column: Column) -> OneHotEncoded:
    """Learn which values there are.

    Raises:
        InvalidData: There is none.
    """
    found = [value for value, _ in values_in_order(frame.get_column(column.name))]
    if not found:
        raise nothing_in(frame, column.name)
    other = len(found) > spec.max_categories
    kept = found[: spec.max_categories - 1] if other else found
    return OneHotEncoded(column=column.name, column_type=column.type, categories=_sorted(kept), other=other)


def _sorted(values: list[bool | int | str | None]) -> tuple[bool | int | str, ...]:
    present = [value for value in values if value is not None]
    return tuple(sorted(present))  # all of one type


class OrdinalEncoded(Fitted, frozen=True, kw_only=True, tag="ordinal", omit_defaults=True):
    """The values in their order."""

    column_type: str
    categories: tuple[bool | int | str, ...]
    unknown_value: int | None = None

    def outputs(self, column: Column) -> tuple[Column, ...]:
        return (Column(name=column.name, type="int64"),)

    def expressions(self) -> list[pl.Expr]:
        return list(self._made)

    @cached_property
    def _made(self) -> list[pl.Expr]:
        numbers = pl.Series(range(len(self.categories)), dtype=pl.Int64)
        place = Table(keys(self.categories, self.column_type), numbers, self.unknown_value).of(self.column)
        return [pl.when(pl.col(self.column).is_not_null()).then(place).alias(self.column)]


def fit_ordinal(spec: Ordinal, frame: pl.DataFrame, column: Column) -> OrdinalEncoded:
    """Learn which values there are, where they are not given.

    Raises:
        InvalidArgument: A value given is none of the column's type.
    """
    found = spec.categories
    if found is None:
        found = _sorted([value for value, _ in values_in_order(frame.get_column(column.name))])
    elif any(type(value) is not _PYTHON[column.type] for value in found):
        raise InvalidArgument(f"categories={list(found)} of column {column.name!r}", expected=f"{column.type} values")
    assert found is not None
    return OrdinalEncoded(
        column=column.name, column_type=column.type, categories=found, unknown_value=spec.unknown_value
    )


_PYTHON = {"string": str, "int64": int, "boolean": bool}


class HashEncoded(Fitted, frozen=True, kw_only=True, tag="hash_encode", omit_defaults=True):
    """Into how many numbers values are hashed."""

    buckets: int

    def outputs(self, column: Column) -> tuple[Column, ...]:
        return (Column(name=column.name, type="int64"),)

    def expressions(self) -> list[pl.Expr]:
        text = pl.col(self.column).cast(pl.String)
        hashed = partial(_hashed, buckets=self.buckets)
        return [text.map_batches(hashed, return_dtype=pl.Int64, is_elementwise=True).alias(self.column)]


def _hashed(texts: pl.Series, buckets: int) -> pl.Series:
    # Polars' own hash may differ between its versions, and a model outlives them.
    known = texts.drop_nulls().unique()
    if not len(known):
        return pl.Series(texts.name, [None], dtype=pl.Int64).new_from_index(0, len(texts))
    return texts.replace_strict(
        known, [bucket_of(text, buckets) for text in known], default=None, return_dtype=pl.Int64
    )


def bucket_of(text: str, buckets: int) -> int:
    """The bucket of a text: its BLAKE2b digest of 8 bytes, read as a big-endian number, modulo the buckets.

    Example:
        >>> bucket_of("N14228", 64)
        24
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % buckets


def fit_hash_encode(spec: HashEncode, frame: pl.DataFrame, column: Column) -> HashEncoded:
    """Learn nothing."""
    return HashEncoded(column=column.name, buckets=spec.buckets)
