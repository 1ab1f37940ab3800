"""A hash of typed keys, equal in every process and on every machine, and the partition a key belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

Hashes: TypeAlias = NDArray[np.uint64]

_ROWS_AT_ONCE = 65_536
"""Texts are hashed so many at a time: their bytes take eight times their room meanwhile."""
_BASE = np.uint64(0x9E3779B97F4A7C15)


def key_hashes(frame: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """A hash of each row's key: UInt64, null where a part of the key is null.

    Equal keys have equal hashes whatever their width or encoding: integers of any size, text and categories, floats (with one
    NaN, and -0.0 like 0.0), naive times and those in a zone. Keys of a type that is none of these all get one hash. Numbers are
    mixed as in splitmix64 (Steele, Lea and Flood, OOPSLA 2014); a text is a polynomial of its UTF-8 bytes modulo 2^64.

    Args:
        frame: The rows.
        keys: Their key columns; columns after one another, so (1, 2) is not (2, 1).

    Example:
        >>> narrow = pl.DataFrame({"a": pl.Series([1, 2, None], dtype=pl.Int8), "b": ["x", "y", "z"]})
        >>> wide = narrow.cast({"a": pl.Int64, "b": pl.Categorical})
        >>> key_hashes(narrow, ["a", "b"]).equals(key_hashes(wide, ["a", "b"]))
        True
        >>> key_hashes(narrow, ["a", "b"])[0]
        6391211948792493894
    """
    hashes = np.zeros(frame.height, np.uint64)
    known = pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True)
    for name in keys:
        words = _words(frame[name])
        known &= words.is_not_null()
        hashes = _mixed(hashes * _BASE + _mixed(words.fill_null(0).to_numpy()))
    found = pl.Series("hash", hashes)
    return found.zip_with(known, pl.Series("hash", [None], dtype=pl.UInt64)) if not known.all() else found


def partition_numbers(frame: pl.DataFrame, keys: Sequence[str], partitions: int, *, again: int = 0) -> pl.Series:
    """The partition of each row, from 0; a row with a null in its key is in the first one.

    Args:
        frame: The rows.
        keys: Their key columns.
        partitions: How many partitions there are.
        again: How often the rows were divided before; each time keys fall apart differently.
    """
    hashes = key_hashes(frame, keys).fill_null(0)
    if again:
        hashes = pl.Series(_mixed(hashes.to_numpy() + np.uint64(again * int(_BASE) % 2**64)))
    return ((hashes // 2**32) % partitions).cast(pl.UInt32).alias("\0partition")


def split(frame: pl.DataFrame, keys: Sequence[str], partitions: int, *, again: int = 0) -> dict[int, pl.DataFrame]:
    """The rows of each partition that has any, in their order; see `partition_numbers`.

    Example:
        >>> parts = split(pl.DataFrame({"k": [5, 7, 5]}), ["k"], 4)
        >>> sorted(part["k"].to_list() for part in parts.values())
        [[5, 5], [7]]
    """
    if partitions == 1 or frame.is_empty():
        return {0: frame} if frame.height else {}
    numbered = frame.with_columns(partition_numbers(frame, keys, partitions, again=again))
    parts = numbered.partition_by("\0partition", maintain_order=True, include_key=False, as_dict=True)
    return {int(number): part for (number,), part in parts.items()}


def _words(values: pl.Series) -> pl.Series:
    """Each value as 64 bits, null where it has none."""
    dtype = values.dtype
    if dtype == pl.Null:
        return values.cast(pl.UInt64)
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return _text_words(values.cast(pl.String))
    if dtype == pl.Binary:
        return _text_words(values.bin.encode("hex"))
    if dtype.is_float() or dtype.is_decimal():
        return _float_words(values.cast(pl.Float64))
    if isinstance(dtype, pl.Datetime):
        values = values.dt.cast_time_unit("us")
    elif isinstance(dtype, pl.Duration):
        values = values.cast(pl.Duration("us"))
    if dtype.is_integer() or dtype.is_temporal() or dtype == pl.Boolean:
        whole = values.cast(pl.Int64, strict=False)
        return whole.reinterpret(signed=False)
    return pl.select(pl.when(values.is_not_null()).then(pl.lit(0, pl.UInt64))).to_series()


def _float_words(values: pl.Series) -> pl.Series:
    # Adding nothing makes 0.0 of -0.0 (NumPy does it, Polars leaves it out); one NaN stands for all there are.
    plain = values.fill_nan(float("nan")).fill_null(0.0).to_numpy() + 0.0
    bits = pl.Series(plain.view(np.uint64))
    return bits if not values.null_count() else _nulled(bits, values)


def _text_words(values: pl.Series) -> pl.Series:
    filled = values.fill_null("")
    parts = [_polynomials(filled[start : start + _ROWS_AT_ONCE]) for start in range(0, len(filled), _ROWS_AT_ONCE)]
    words = pl.Series(np.concatenate([np.empty(0, np.uint64), *parts]))
    return words if not values.null_count() else _nulled(words, values)


def _nulled(words: pl.Series, like: pl.Series) -> pl.Series:
    return words.zip_with(like.is_not_null(), pl.Series([None], dtype=pl.UInt64))


def _polynomials(texts: pl.Series) -> Hashes:
    lengths = texts.str.len_bytes().to_numpy().astype(np.int64)
    data = np.frombuffer(str(texts.str.join("")[0]).encode(), np.uint8)
    ends = np.cumsum(lengths)
    place = np.arange(len(data)) - np.repeat(ends - lengths, lengths)
    powers = np.cumprod(np.full(int(lengths.max(initial=0)), _BASE))
    terms = (data.astype(np.uint64) + np.uint64(1)) * powers[place]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms)])
    found: Hashes = sums[ends] - sums[ends - lengths]
    return found


def _mixed(words: Hashes) -> Hashes:
    """The finalizer of splitmix64."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
