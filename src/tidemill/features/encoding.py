"""Keys and rows of a view as the bytes of the online store, many at a time.

A key is a tuple of typed values, each with its kind and (for text) its length before it: (1, 11) is not (11, 1), and 1 is
not '1'. A row of numbers, booleans and times is a row of 64-bit words, nulls marked in the words before; any other row is
msgpack.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.core.errors import InvalidArgument

Words = NDArray[np.int64]

WORD = 8
_MARKS = 63
"""Columns whose nulls one word marks."""

# -- keys --------------------------------------------------------------------------------------------------------------

_INTEGER, _FLOAT, _TEXT, _BOOLEAN, _DATE, _TIME, _BYTES = b"ifsbdtx"
_length = struct.Struct(">I").pack
_integer = struct.Struct(">Bq").pack


def encode_keys(columns: Sequence[pl.Series]) -> list[bytes | None]:
    """The key of each row; None where a part is null, which matches nothing.

    Args:
        columns: The key columns, in the order of the view's keys.

    Raises:
        InvalidArgument: A column is of a type that keys cannot have.

    Example:
        >>> one, eleven = pl.Series([1, 11, None]), pl.Series([11, 1, 1])
        >>> keys = encode_keys([one, eleven])
        >>> keys[0] == keys[1], keys[2]
        (False, None)
    """
    first, *others = [_encode_part(column) for column in columns]
    for other in others:
        first = [None if a is None or b is None else a + b for a, b in zip(first, other, strict=True)]
    return first


def encode_key(values: Iterable[Any]) -> bytes | None:
    """The key of plain values: that of a row with these values.

    Example:
        >>> encode_key([1, "a"]) == encode_keys([pl.Series([1]), pl.Series(["a"])])[0]
        True
    """
    parts = []
    for value in values:
        if type(value) is int or type(value) is str:
            try:
                parts.append(_encode_plain(value))
            except struct.error:  # what does not fit is the key of no row
                return None
        else:
            part = _encode_part(pl.Series([value]))[0]
            if part is None:
                return None
            parts.append(part)
    return b"".join(parts)


def key_encoder(kinds: Sequence[type[int | str]]) -> Callable[[Sequence[Any]], bytes]:
    """`encode_key` for integers and texts, and quicker for the most usual ones: one of them.

    Args:
        kinds: The type of each value.

    Returns:
        Encodes such values; raises `struct.error` for an integer that does not fit into a key.

    Example:
        >>> key_encoder([int])([7]) == encode_key([7])
        True
    """
    if list(kinds) == [int]:
        return lambda values: _integer(_INTEGER, values[0])
    return lambda values: b"".join(map(_encode_plain, values))


def _encode_plain(value: int | str) -> bytes:
    if isinstance(value, int):
        return _integer(_INTEGER, value)
    raw = value.encode()
    return b"s" + _length(len(raw)) + raw


def _encode_part(column: pl.Series) -> list[bytes | None]:
    dtype = column.dtype
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Binary):
        kind = bytes([_BYTES if dtype == pl.Binary else _TEXT])
        texts = column if dtype in (pl.String, pl.Binary) else column.cast(pl.String)
        values = texts.cast(pl.Binary).to_list()
        return [None if value is None else kind + _length(len(value)) + value for value in values]
    kind_code, numbers = _numbers(column)
    parts = np.empty((len(numbers), 1 + WORD), np.uint8)
    parts[:, 0] = kind_code
    parts[:, 1:] = _filled(numbers).to_numpy().astype(_big(numbers)).view(np.uint8).reshape(-1, WORD)
    encoded: list[bytes | None] = parts.view(f"V{1 + WORD}").ravel().tolist()
    if numbers.null_count():
        return [part if present else None for part, present in zip(encoded, numbers.is_not_null(), strict=True)]
    return encoded


def _big(numbers: pl.Series) -> str:
    return ">f8" if numbers.dtype == pl.Float64 else ">i8"


def _numbers(column: pl.Series) -> tuple[int, pl.Series]:
    """A kind, and the values as Int64 or Float64, equal where the keys are equal."""
    dtype = column.dtype
    if dtype == pl.Int64:
        return _INTEGER, column
    if dtype.is_integer() or dtype == pl.Null:
        return _INTEGER, column.cast(pl.Int64, strict=False)  # what does not fit is the key of no row
    if dtype.is_float():
        plain = column.cast(pl.Float64) + 0.0  # no -0.0
        return _FLOAT, plain.fill_nan(float("nan"))
    if dtype == pl.Boolean:
        return _BOOLEAN, column.cast(pl.Int64)
    if dtype == pl.Date:
        return _DATE, column.cast(pl.Int64)
    if dtype == pl.Datetime:
        return _TIME, column.dt.cast_time_unit("us").cast(pl.Int64)
    raise InvalidArgument(f"key {column.name!r} is of type {dtype}", expected="text, a number, a boolean or a time",
                          hint="Cast it in the view's transform")  # fmt: skip


# -- rows --------------------------------------------------------------------------------------------------------------


class Codec(Protocol):
    """Turns the columns of a view into payloads and back."""

    schema: Mapping[str, pl.DataType]

    @property
    def width(self) -> int | None:
        """Bytes of each payload; None when they differ."""
        ...

    def encode(self, rows: pl.DataFrame) -> NDArray[np.uint8] | list[bytes]:
        """The payloads of some rows."""
        ...

    def record(self, payload: bytes, offset: int) -> list[Any]:
        """The values of one row; times as integers of their physical unit."""
        ...


class FixedCodec:
    """Rows of numbers, booleans and times: words with the marks of nulls, then one word per column."""

    def __init__(self, schema: Mapping[str, pl.DataType]) -> None:
        self.schema = dict(schema)
        self.marks = -(-len(self.schema) // _MARKS)
        floats = [dtype.is_float() for dtype in self.schema.values()]
        self._floats = np.array(floats, bool)
        self._struct = struct.Struct(f"<{self.marks}q" + "".join("d" if is_float else "q" for is_float in floats))
        self.pack = self._struct.pack
        """The payload of one row: the words that mark nulls, then the values."""
        self._booleans = [i for i, dtype in enumerate(self.schema.values()) if dtype == pl.Boolean]

    @property
    def width(self) -> int:
        return WORD * (self.marks + len(self.schema))

    def encode(self, rows: pl.DataFrame) -> NDArray[np.uint8]:
        words = np.zeros((rows.height, self.marks + len(self.schema)), np.int64)
        for place, name in enumerate(self.schema):
            column = rows[name]
            words[:, self.marks + place] = _word(column)
            if column.null_count():
                words[:, place // _MARKS] |= column.is_null().to_numpy().astype(np.int64) << (place % _MARKS)
        return words.view(np.uint8)

    def record(self, payload: bytes, offset: int) -> list[Any]:
        unpacked = self._struct.unpack_from(payload, offset)
        values = list(unpacked[self.marks :])
        for place in self._booleans:
            values[place] = bool(values[place])
        if any(unpacked[: self.marks]):
            for place in range(len(values)):
                if unpacked[place // _MARKS] >> (place % _MARKS) & 1:
                    values[place] = None
        return values

    def valid(self, words: Words, place: int) -> NDArray[np.bool_] | None:
        """Where a column of a matrix of payloads is not null; None when it is nowhere null."""
        marks = words[:, place // _MARKS]
        if not marks.any():
            return None
        valid: NDArray[np.bool_] = (marks >> (place % _MARKS)) & 1 == 0
        return valid

    def values(self, words: Words, place: int) -> NDArray[Any]:
        """A column of a matrix of payloads as int64 or float64, arbitrary where null."""
        column = words[:, self.marks + place]
        return column.view(np.float64) if self._floats[place] else column

    def series(self, words: Words, place: int, dtype: pl.DataType) -> pl.Series:
        """A column of a matrix of payloads, with its own type."""
        series = restored(pl.Series(np.ascontiguousarray(self.values(words, place))), dtype)
        valid = self.valid(words, place)
        return series if valid is None else series.scatter(np.flatnonzero(~valid), None)


class VariableCodec:
    """Rows with texts or lists: msgpack arrays."""

    def __init__(self, schema: Mapping[str, pl.DataType]) -> None:
        self.schema = dict(schema)
        self._encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
        self._decode: Callable[[Any], Any] = msgspec.msgpack.Decoder().decode

    @property
    def width(self) -> None:
        return None

    def encode(self, rows: pl.DataFrame) -> list[bytes]:
        plain = rows.select(_plain(rows[name]) for name in self.schema)
        return list(map(self._encode, plain.iter_rows()))

    def record(self, payload: bytes, offset: int) -> list[Any]:
        values: list[Any] = self._decode(memoryview(payload)[offset:])
        return values


def codec_of(schema: Mapping[str, pl.DataType], what: str) -> FixedCodec | VariableCodec:
    """The codec for some columns.

    Args:
        schema: The columns to keep.
        what: Whose they are, for messages.

    Raises:
        InvalidArgument: A column is of a type that cannot be kept.
    """
    for name, dtype in schema.items():
        inner = dtype
        while isinstance(inner, pl.List | pl.Array):
            inner = inner.inner  # type: ignore[assignment]
        if not (_fits_word(inner) or inner in (pl.String, pl.Categorical, pl.Enum, pl.Binary)):
            raise InvalidArgument(
                f"column {name!r} of {what} is {dtype}",
                expected="numbers, booleans, times, texts, or lists of them",
                hint="Cast it in the view's transform",
            )
    fixed = all(_fits_word(dtype) for dtype in schema.values())
    return FixedCodec(schema) if fixed else VariableCodec(schema)


def _fits_word(dtype: pl.DataType) -> bool:
    wide = dtype in (pl.Int128, pl.UInt128, pl.Decimal)
    return not wide and (dtype.is_numeric() or dtype.is_temporal() or dtype in (pl.Boolean, pl.Null))


def _word(column: pl.Series) -> Words:
    physical = column.to_physical() if column.dtype.is_temporal() else column
    if physical.dtype == pl.UInt64:
        return _filled(physical).to_numpy().view(np.int64)
    if physical.dtype.is_float():
        return (
            _filled(physical if physical.dtype == pl.Float64 else physical.cast(pl.Float64)).to_numpy().view(np.int64)
        )
    return _filled(physical if physical.dtype == pl.Int64 else physical.cast(pl.Int64)).to_numpy()


def _filled(numbers: pl.Series) -> pl.Series:
    """Numbers with zeros for nulls, at no cost when there are none."""
    return numbers.fill_null(0) if numbers.null_count() else numbers


def _plain(column: pl.Series) -> pl.Series:
    """A column whose values msgpack knows: times as integers, categories as texts."""
    return column.cast(_plain_type(column.dtype))


def _plain_type(dtype: pl.DataType) -> pl.DataType:
    if isinstance(dtype, pl.List | pl.Array):
        return pl.List(_plain_type(dtype.inner))  # type: ignore[arg-type]
    if dtype.is_temporal():
        return pl.Int64()
    return pl.String() if dtype in (pl.Categorical, pl.Enum) else dtype


def restored(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Values from words with the type they had."""
    if dtype == pl.UInt64:
        return pl.Series(series.name, series.to_numpy().view(np.uint64))
    return series if series.dtype == dtype else series.cast(dtype)


def column_of(values: Sequence[Any], dtype: pl.DataType, name: str) -> pl.Series:
    """Values from `Codec.record` as a column of the type they had."""
    plain = pl.UInt64() if dtype == pl.UInt64 else _plain_type(dtype)
    if dtype == pl.UInt64:
        values = [None if value is None else value % 2**64 for value in values]
    return pl.Series(name, values, plain).cast(dtype)
