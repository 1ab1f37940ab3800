"""The one cast between Polars' dtypes and what Delta Lake can store.

A Delta table knows fewer types than Polars. Each column is stored in the nearest type every Delta reader understands, and
the dtype it was appended with stands in the metadata of its field, so that it comes back exactly:

| appended | stored |
|---|---|
| UInt8, UInt16, UInt32, UInt64 | short, integer, long, decimal(20, 0) |
| Int128, UInt128 | string |
| Float16 | float |
| Datetime(ms or us), naive or of any zone | timestamp (UTC) |
| Datetime(ns), Duration, Time | long, in the unit of the dtype |
| Categorical, Enum | string |
| Array | array |
| Null | boolean, all null |
"""

from __future__ import annotations

from typing import Any

import arro3.core as arro3
import msgspec
import polars as pl
from deltalake import Field, Schema

from tidemill.core.errors import InvalidData

METADATA_KEY = "tidemill.dtype"
"""Field metadata: the dtype a column was appended with, as `encode` writes it."""

_STORED_AS: dict[Any, pl.DataType] = {
    pl.UInt8: pl.Int16(),
    pl.UInt16: pl.Int32(),
    pl.UInt32: pl.Int64(),
    pl.UInt64: pl.Decimal(20, 0),
    pl.Int128: pl.String(),
    pl.UInt128: pl.String(),
    pl.Float16: pl.Float32(),
    pl.Duration: pl.Int64(),
    pl.Time: pl.Int64(),
    pl.Categorical: pl.String(),
    pl.Enum: pl.String(),
    pl.Null: pl.Boolean(),
}
_STORED_AS_IS = (
    pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Decimal,
)  # fmt: skip
_PLAIN = {
    kind.__name__: kind for kind in (*_STORED_AS_IS, *_STORED_AS) if kind not in (pl.Decimal, pl.Enum, pl.Categorical)
}


def stored(dtype: pl.DataType) -> pl.DataType:
    """The dtype a column of `dtype` has in the table's files.

    Raises:
        InvalidData: The dtype cannot be stored.

    Example:
        >>> stored(pl.List(pl.UInt8))
        List(Int16)
    """
    if isinstance(dtype, pl.List | pl.Array):
        return pl.List(stored(_instance(dtype.inner)))
    if isinstance(dtype, pl.Struct) and dtype.fields:
        return pl.Struct({field.name: stored(_instance(field.dtype)) for field in dtype.fields})
    if isinstance(dtype, pl.Datetime):
        return pl.Int64() if dtype.time_unit == "ns" else pl.Datetime("us", "UTC")
    if isinstance(dtype, _STORED_AS_IS):
        return dtype
    if type(dtype) in _STORED_AS:
        return _STORED_AS[type(dtype)]
    raise InvalidData(
        f"values of dtype {dtype} cannot be kept in a table",
        expected="numbers, texts, bytes, times, and lists or structs of them",
        hint="Cast the column first",
    )


def stored_schema(schema: pl.Schema) -> pl.Schema:
    """The dtypes of a table's files, by column.

    Raises:
        InvalidData: A column cannot be stored; the message names it.
    """
    result = {}
    for name, dtype in schema.items():
        try:
            result[name] = stored(dtype)
        except InvalidData as error:
            raise InvalidData(f"column {name!r}: {error.found}", expected=error.expected, hint=error.hint) from None
    return pl.Schema(result)


def encode(dtype: pl.DataType) -> str:
    """A dtype as JSON text.

    Example:
        >>> encode(pl.List(pl.Datetime("ms", "UTC")))
        '["List",["Datetime","ms","UTC"]]'
    """
    return msgspec.json.encode(_parts(dtype)).decode()


def _parts(dtype: pl.DataType) -> list[Any]:
    name = type(dtype).__name__
    match dtype:
        case pl.List():
            return [name, _parts(_instance(dtype.inner))]
        case pl.Array():
            return [name, _parts(_instance(dtype.inner)), dtype.size]
        case pl.Struct():
            return [name, [[field.name, _parts(_instance(field.dtype))] for field in dtype.fields]]
        case pl.Datetime():
            return [name, dtype.time_unit, dtype.time_zone]
        case pl.Duration():
            return [name, dtype.time_unit]
        case pl.Decimal():
            return [name, dtype.precision, dtype.scale]
        case pl.Enum():
            return [name, dtype.categories.to_list()]
        case pl.Categorical():
            known = dtype.categories
            return [name, known.name(), known.namespace(), _instance(known.physical()).__class__.__name__]
    return [name]


def decode(text: str) -> pl.DataType:
    """The dtype `encode` wrote.

    Example:
        >>> decode('["Array",["UInt8"],2]')
        Array(UInt8, shape=(2,))
    """
    return _dtype(msgspec.json.decode(text))


def _dtype(parts: list[Any]) -> pl.DataType:
    match parts:
        case ["List", inner]:
            return pl.List(_dtype(inner))
        case ["Array", inner, size]:
            return pl.Array(_dtype(inner), size)
        case ["Struct", fields]:
            return pl.Struct({name: _dtype(inner) for name, inner in fields})
        case ["Datetime", unit, zone]:
            return pl.Datetime(unit, zone)
        case ["Duration", unit]:
            return pl.Duration(unit)
        case ["Decimal", precision, scale]:
            return pl.Decimal(precision, scale)
        case ["Enum", categories]:
            return pl.Enum(categories)
        case ["Categorical", str() as name, namespace, physical] if name:
            return pl.Categorical(pl.Categories(name, namespace, getattr(pl, physical)))
        case ["Categorical", *_]:
            return pl.Categorical()
    plain: pl.DataType = _PLAIN[parts[0]]()
    return plain


def _instance(dtype: Any) -> pl.DataType:
    """Inner dtypes may be classes (`pl.Int64`) where an instance is meant."""
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return instance


def delta_schema(schema: pl.Schema) -> Schema:
    """The Delta schema of some columns, which remembers their dtypes."""
    plain = Schema.from_arrow(_arrow_schema(stored_schema(schema)))
    fields = [
        Field(field.name, field.type, nullable=True, metadata={METADATA_KEY: encode(schema[field.name])})
        for field in plain.fields
    ]
    return Schema(fields)


def arrow_table(frame: pl.DataFrame) -> arro3.Table:
    """A frame as an Arrow table in stored types, with the dtypes in the metadata of its fields."""
    table = arro3.Table.from_arrow(to_stored(frame))
    fields = [
        field.with_metadata({METADATA_KEY: encode(frame.schema[field.name])})
        for field in map(table.schema.field, table.column_names)
    ]
    return table.with_schema(arro3.Schema(fields))


def _arrow_schema(schema: pl.Schema) -> arro3.Schema:
    return arro3.Table.from_arrow(pl.DataFrame(schema=schema)).schema


def dtypes(schema: Schema) -> tuple[pl.Schema, pl.Schema]:
    """The dtypes of a table's columns: as appended, and as stored in its files.

    A column another program added has no dtype in its metadata; it is given as it is stored.
    """
    found = pl.DataFrame(arro3.Table.from_batches([], schema=arro3.Schema.from_arrow(schema.to_arrow()))).schema
    appended = {
        field.name: decode(field.metadata[METADATA_KEY]) if METADATA_KEY in field.metadata else found[field.name]
        for field in schema.fields
    }
    files = {
        field.name: stored(appended[field.name]) if METADATA_KEY in field.metadata else found[field.name]
        for field in schema.fields
    }
    return pl.Schema(appended), pl.Schema(files)


def to_stored(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame in the dtypes of the table's files."""
    return _cast(frame.lazy(), frame.schema, stored_schema(frame.schema)).collect()


def from_stored(rows: pl.LazyFrame, appended: pl.Schema, files: pl.Schema) -> pl.LazyFrame:
    """Rows read from the table's files in the dtypes they were appended with."""
    return _cast(rows, files, appended)


def _cast(rows: pl.LazyFrame, before: pl.Schema, after: pl.Schema) -> pl.LazyFrame:
    casts = [_column_cast(name, before[name], after[name]) for name in after if before[name] != after[name]]
    return rows.with_columns(casts) if casts else rows


def _column_cast(name: str, before: pl.DataType, after: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if after == pl.Null():  # there is no cast to Null, but there is only one value
        return pl.lit(None).alias(name)
    if has_untyped(after):
        return column.map_batches(lambda values: pl.Series(name, values.to_list(), dtype=after), return_dtype=after)
    return column.cast(after)


def has_untyped(dtype: pl.DataType) -> bool:
    """Whether a dtype is or holds Null: the dtype of values nobody has seen yet, such as those of empty lists."""
    if isinstance(dtype, pl.List | pl.Array):
        return has_untyped(_instance(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return any(has_untyped(_instance(field.dtype)) for field in dtype.fields)
    return dtype == pl.Null()


def refines(fine: pl.DataType, coarse: pl.DataType) -> bool:
    """Whether two dtypes are equal but for what is Null in the coarse one.

    Example:
        >>> refines(pl.List(pl.Int64), pl.List(pl.Null))
        True
    """
    match fine, coarse:
        case _, pl.Null():
            return True
        case pl.List(), pl.List():
            return refines(_instance(fine.inner), _instance(coarse.inner))
        case pl.Struct(), pl.Struct() if len(fine.fields) == len(coarse.fields):
            pairs = zip(fine.fields, coarse.fields, strict=True)
            return all(a.name == b.name and refines(_instance(a.dtype), _instance(b.dtype)) for a, b in pairs)
    return fine == coarse
