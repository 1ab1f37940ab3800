"""Fitted preparation: what is done to feature values before a model sees them, as plain descriptions.

A preparation is fitted on the rows a model is trained on, and what it learned there stays with the model version. The words are
scikit-learn's where it has them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from tidemill.core.errors import InvalidArgument

NUMBERS = frozenset({"int64", "float64"})
DISCRETE = frozenset({"string", "int64", "boolean"})

DATE_PARTS = ("year", "quarter", "month", "week", "day", "day_of_year", "weekday", "hour", "minute")
"""Parts of a time that `dates` gives; Monday is weekday 1, weeks are those of ISO 8601."""

STRATEGIES = ("mean", "median", "most_frequent", "constant")
METHODS = ("standard", "min_max", "robust")
SPACINGS = ("quantile", "uniform")

Fill = bool | int | float | str


class Prepare(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """One preparation of some columns.

    A column is named in full, or by a pattern such as `*__temp`. A name must be a column the preparation fits; a pattern takes
    those of its matches that it fits, at least one.
    """

    TAKES: ClassVar[frozenset[str]] = DISCRETE

    columns: tuple[str, ...]

    def takes(self) -> frozenset[str]:
        """The logical types of columns it fits."""
        return self.TAKES

    @property
    def kind(self) -> str:
        """The name of the function that makes it."""
        return str(self.__struct_config__.tag)


class Impute(Prepare, frozen=True, kw_only=True, tag="impute", omit_defaults=True):
    """See `impute`."""

    strategy: str
    fill_value: Fill | None = None
    by: str | None = None
    indicator: bool = False

    def takes(self) -> frozenset[str]:
        if self.strategy == "most_frequent":
            return DISCRETE | NUMBERS
        if self.strategy != "constant" or type(self.fill_value) in (int, float):
            return NUMBERS
        return frozenset({"boolean" if isinstance(self.fill_value, bool) else "string"})


class Scale(Prepare, frozen=True, kw_only=True, tag="scale", omit_defaults=True):
    """See `scale`."""

    TAKES: ClassVar[frozenset[str]] = NUMBERS

    method: str


class Clip(Prepare, frozen=True, kw_only=True, tag="clip", omit_defaults=True):
    """See `clip`."""

    TAKES: ClassVar[frozenset[str]] = NUMBERS

    lower: float | None = None
    upper: float | None = None
    quantiles: tuple[float, float] | None = None


class Bucketize(Prepare, frozen=True, kw_only=True, tag="bucketize", omit_defaults=True):
    """See `bucketize`."""

    TAKES: ClassVar[frozenset[str]] = NUMBERS

    edges: tuple[float, ...] | None = None
    buckets: int = 10
    spacing: str = "quantile"


class OneHot(Prepare, frozen=True, kw_only=True, tag="one_hot", omit_defaults=True):
    """See `one_hot`."""

    max_categories: int


class Ordinal(Prepare, frozen=True, kw_only=True, tag="ordinal", omit_defaults=True):
    """See `ordinal`."""

    categories: tuple[str | int, ...] | None = None
    unknown_value: int | None = None


class TargetEncode(Prepare, frozen=True, kw_only=True, tag="target_encode", omit_defaults=True):
    """See `target_encode`."""

    smooth: float
    folds: int


class HashEncode(Prepare, frozen=True, kw_only=True, tag="hash_encode", omit_defaults=True):
    """See `hash_encode`."""

    buckets: int


class Dates(Prepare, frozen=True, kw_only=True, tag="dates", omit_defaults=True):
    """See `dates`."""

    TAKES: ClassVar[frozenset[str]] = frozenset({"time"})

    parts: tuple[str, ...]
    time_zone: str


Recipe = tuple[Impute | Scale | Clip | Bucketize | OneHot | Ordinal | TargetEncode | HashEncode | Dates, ...]
"""Preparations in the order in which they are done, each on what the ones before it made."""


def impute(
    *columns: str,
    strategy: str = "mean",
    fill_value: Fill | None = None,
    by: str | None = None,
    indicator: bool = False,
) -> Impute:
    """Fill in missing values: nulls, and NaN among numbers.

    Args:
        columns: The columns, by name or pattern.
        strategy: `mean` or `median` of the finite values (a number with a fraction then), `most_frequent` (the smallest of
            equals), or `constant`.
        fill_value: What `constant` fills in.
        by: A column; each of its values has a mean, median or most frequent value of its own. A value that was not there
            when it was fitted, or had nothing to learn from, gets that of all rows.
        indicator: Whether to add a column `NAME_missing` that tells where a value was filled in.

    Raises:
        InvalidArgument: The options do not go together.

    Example:
        >>> impute("*__temp", strategy="median").strategy
        'median'
    """
    _check_columns("impute", columns)
    _check_known("strategy", strategy, STRATEGIES)
    if (strategy == "constant") != (fill_value is not None):
        raise InvalidArgument(f"impute with strategy={strategy!r} and fill_value={fill_value!r}",
                              expected="fill_value= with strategy='constant', and only there")  # fmt: skip
    if isinstance(fill_value, float) and not math.isfinite(fill_value):
        raise InvalidArgument(f"fill_value={fill_value} is no finite number")
    if by is not None and strategy == "constant":
        raise InvalidArgument(f"a constant does not depend on {by!r}", hint="Remove by=")
    return Impute(columns=columns, strategy=strategy, fill_value=fill_value, by=by, indicator=indicator)


def scale(*columns: str, method: str = "standard") -> Scale:
    """Bring numbers to one scale. Only finite values are learned from; a constant column becomes 0.

    Args:
        columns: The columns, by name or pattern.
        method: `standard`: mean 0 and population standard deviation 1; `min_max`: from 0 to 1; `robust`: median 0 and
            interquartile range 1.

    Example:
        >>> scale("airport_weather__temp").method
        'standard'
    """
    _check_columns("scale", columns)
    _check_known("method", method, METHODS)
    return Scale(columns=columns, method=method)


def clip(
    *columns: str, lower: float | None = None, upper: float | None = None, quantiles: tuple[float, float] | None = None
) -> Clip:
    """Bring numbers outside of bounds to the bounds, infinite ones too.

    Args:
        columns: The columns, by name or pattern.
        lower: Lower bound; absent, there is none.
        upper: Upper bound; absent, there is none.
        quantiles: Learn both bounds instead: the values below which these shares of the rows lie, such as (0.01, 0.99).

    Example:
        >>> clip("distance", upper=3000).upper
        3000.0
    """
    _check_columns("clip", columns)
    given = [bound for bound in (lower, upper) if bound is not None]
    if bool(given) == (quantiles is not None):
        raise InvalidArgument("clip needs bounds", expected="lower= or upper= or both, or else quantiles=")
    if not all(map(math.isfinite, given)) or given != sorted(given):
        raise InvalidArgument(f"clip from {lower} to {upper}", expected="finite bounds, the lower one first")
    if quantiles is not None and not 0 <= quantiles[0] < quantiles[1] <= 1:
        raise InvalidArgument(f"quantiles={quantiles}", expected="two rising shares between 0 and 1")
    low, high = (None if bound is None else float(bound) for bound in (lower, upper))
    return Clip(columns=columns, lower=low, upper=high, quantiles=quantiles)


def bucketize(
    *columns: str, edges: Sequence[float] | None = None, buckets: int = 10, spacing: str = "quantile"
) -> Bucketize:
    """Number the range a number lies in: 0 below the first edge, 1 from there to below the second, and so on.

    A range holds its lower end and not its upper one; the outer two have no end. Missing stays missing.

    Args:
        columns: The columns, by name or pattern.
        edges: Rising edges between the ranges; learned when absent.
        buckets: How many ranges to learn; fewer where edges would be equal.
        spacing: `quantile`: ranges of equally many rows; `uniform`: equally wide ones.

    Example:
        >>> bucketize("distance", edges=[500, 1500]).edges
        (500.0, 1500.0)
    """
    _check_columns("bucketize", columns)
    _check_known("spacing", spacing, SPACINGS)
    if edges is None:
        _check_least("buckets", buckets, 2)
        return Bucketize(columns=columns, buckets=buckets, spacing=spacing)
    found = tuple(map(float, edges))
    if not found or not all(map(math.isfinite, found)) or any(a >= b for a, b in pairwise(found)):
        raise InvalidArgument(f"edges={list(found)}", expected="finite numbers, each greater than the one before")
    return Bucketize(columns=columns, edges=found)


def one_hot(*columns: str, max_categories: int = 50) -> OneHot:
    """A column of 0 and 1 for each value of texts, whole numbers or booleans: `carrier_AA`, `carrier_UA`, ...

    Args:
        columns: The columns, by name or pattern.
        max_categories: At most so many columns are made. Where there are more values, the most frequent ones keep theirs (of
            equals the smaller ones), and the rest share `carrier_other`, as do values never seen before. Without such a
            column a value never seen before is 0 everywhere, and so is a missing one always.

    Example:
        >>> one_hot("carrier", max_categories=20).max_categories
        20
    """
    _check_columns("one_hot", columns)
    _check_least("max_categories", max_categories, 2)
    return OneHot(columns=columns, max_categories=max_categories)


def ordinal(*columns: str, categories: Sequence[str | int] | None = None, unknown_value: int | None = None) -> Ordinal:
    """Number the values of texts, whole numbers or booleans from 0. Missing stays missing.

    Args:
        columns: The columns, by name or pattern.
        categories: All values in their order; those found, sorted, when absent.
        unknown_value: What any other value becomes; missing when absent.

    Example:
        >>> ordinal("size", categories=["small", "large"]).categories
        ('small', 'large')
    """
    _check_columns("ordinal", columns)
    known = None if categories is None else tuple(categories)
    if known is not None and (not known or len(set(known)) < len(known)):
        raise InvalidArgument(f"categories={list(known)}", expected="different values, at least one")
    if unknown_value is not None and unknown_value >= 0:
        raise InvalidArgument(f"unknown_value={unknown_value} is the number of a value", expected="a negative number")
    return Ordinal(columns=columns, categories=known, unknown_value=unknown_value)


def target_encode(*columns: str, smooth: float = 20.0, folds: int = 5) -> TargetEncode:
    """Replace texts, whole numbers or booleans by the mean label of the rows that have the value.

    A value seen n times becomes `(sum of its labels + smooth * mean label) / (n + smooth)`; missing counts as a value, and one
    never seen before becomes the mean label. The rows it is fitted on see means of the other folds only: a row's own label is
    never in its features.

    Args:
        columns: The columns, by name or pattern.
        smooth: How many rows of the mean label are added to each value.
        folds: In how many parts the fitted rows are divided, row by row in turn.

    Example:
        >>> target_encode("dest", smooth=10).smooth
        10.0
    """
    _check_columns("target_encode", columns)
    _check_least("folds", folds, 2)
    if not (smooth >= 0 and math.isfinite(smooth)):
        raise InvalidArgument(f"smooth={smooth}", expected="a number of rows from 0")
    return TargetEncode(columns=columns, smooth=float(smooth), folds=folds)


def hash_encode(*columns: str, buckets: int = 64) -> HashEncode:
    """Number texts, whole numbers or booleans by a hash of the value. Nothing is learned, so a new value is nothing special.

    The same value has the same number on every machine. Missing stays missing.

    Args:
        columns: The columns, by name or pattern.
        buckets: How many numbers there are, from 0.

    Example:
        >>> hash_encode("tailnum", buckets=64).buckets
        64
    """
    _check_columns("hash_encode", columns)
    _check_least("buckets", buckets, 2)
    return HashEncode(columns=columns, buckets=buckets)


def dates(*columns: str, parts: Sequence[str] = ("hour", "weekday", "month"), time_zone: str = "UTC") -> Dates:
    """The parts of a time as whole numbers: `scheduled_at_hour`, `scheduled_at_weekday`, ...

    The prediction time itself, which is no feature, can be named too.

    Args:
        columns: The columns, by name or pattern.
        parts: Some of `DATE_PARTS`.
        time_zone: Where the clock is read, such as `America/New_York`.

    Example:
        >>> dates("scheduled_at", parts=["hour"]).parts
        ('hour',)
    """
    _check_columns("dates", columns)
    if not parts or len(set(parts)) < len(parts):
        raise InvalidArgument(f"parts={list(parts)}", expected="different parts, at least one", known=DATE_PARTS)
    for part in parts:
        _check_known("part", part, DATE_PARTS)
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidArgument(f"there is no time zone {time_zone!r}", expected="a name such as Europe/Berlin") from None
    return Dates(columns=columns, parts=tuple(parts), time_zone=time_zone)


def _check_columns(what: str, columns: tuple[str, ...]) -> None:
    if not columns or not all(columns):
        raise InvalidArgument(f"{what}({', '.join(map(repr, columns))}) names no columns",
                              expected=f'{what}("carrier") or a pattern such as "*__temp"')  # fmt: skip


def _check_known(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise InvalidArgument(f"{value!r} is no {what}", known=known)


def _check_least(what: str, value: int, least: int) -> None:
    if type(value) is not int or value < least:
        raise InvalidArgument(f"{what}={value!r}", expected=f"a whole number from {least}")
