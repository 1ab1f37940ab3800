"""Columns and signatures: what a model, a dataset or a request looks like, without any data-frame library."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

TYPES = ("boolean", "int64", "float64", "string", "time", "list")
"""Logical column types. `time` is microseconds UTC; a column with `categories` holds only those strings."""


class Column(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column."""

    name: str
    type: str
    nullable: bool = True
    categories: tuple[str, ...] | None = None
    """The values seen when the model was fitted; another value is read as missing."""
    unit: str | None = None


class Signature(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a model takes and gives.

    `request` is what a caller of the endpoint sends, `inputs` what the model is given after enrichment.
    """

    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    request: tuple[Column, ...] = ()
    time: str | None = None
    """The request column that holds the prediction time; absent in a request, the clock is meant."""
    id: tuple[str, ...] = ()
    """The request columns that identify a row, so that its label can find it."""
    preparation: str | None = None
    """Digest of what makes `prepared` of `inputs`; None when the model takes its inputs as they are."""
    prepared: tuple[Column, ...] = ()
    """What the estimator itself sees, in order, where its inputs are prepared for it."""


def names(columns: Iterable[Column]) -> list[str]:
    """The names of some columns, in order.

    Example:
        >>> names([Column(name="temp", type="float64")])
        ['temp']
    """
    return [column.name for column in columns]
