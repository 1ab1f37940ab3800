"""CSV files: what is wrong with them is said in words."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tidemill.core.errors import InvalidData

_OTHER_SEPARATORS = {";": "semicolon", "\t": "tab", "|": "bar", ",": "comma"}
_MOSTLY = 0.9
"""From this share of numbers on, a column of texts is taken for numbers with a few mistakes among them."""


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Args:
        origin: What to call the file in messages.
        separator: What divides columns.
        null_values: Texts that mean "no value".
    """

    origin: str
    separator: str = ","
    null_values: Sequence[str] = ("", "NA")


def read_csv(data: bytes, dialect: Dialect, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Read a CSV file; the types of columns not in `types` are inferred from all rows.

    A column with a known type comes as text when some of its values do not fit, for `columns.fit` to sort out.

    Raises:
        InvalidData: It is empty, its columns are divided by something else, two have the same name, rows have too many
            fields, it is not UTF-8, or a column mixes numbers and texts.
    """
    header = _header(data, dialect)
    known = {name: dtype for name, dtype in types.items() if name in header}
    try:
        frame = _parse(data, dialect, known)
    except pl.exceptions.ComputeError as error:
        if "could not parse" not in str(error).lower() or not known:
            raise _unreadable(error, dialect) from None
        frame = _parse_or_explain(data, dialect, dict.fromkeys(known, pl.String()))
    if not frame.height:
        raise InvalidData(f"{dialect.origin} has a header and no rows", expected="at least one row")
    _check_unmixed(frame, set(known), dialect)
    return _without_types_of_nothing(frame, set(known))


def _header(data: bytes, dialect: Dialect) -> list[str]:
    try:
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
        names = next(csv.reader(text, delimiter=dialect.separator), [])
    except UnicodeDecodeError as error:
        raise _not_utf8(error, dialect) from None
    if not any(names):
        raise InvalidData(f"{dialect.origin} is empty", expected="a header and at least one row")
    _check_separator(names, dialect)
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InvalidData(f"{dialect.origin} has several columns named {', '.join(map(repr, doubled))}",
                          expected="every column name once", hint="Rename or remove them")  # fmt: skip
    return names


def _check_separator(names: list[str], dialect: Dialect) -> None:
    if len(names) > 1:
        return
    for separator, word in _OTHER_SEPARATORS.items():
        if separator in names[0] and separator != dialect.separator:
            raise InvalidData(
                f"{dialect.origin} has one column named {names[0][:80]!r}; its columns seem to be divided by a {word}",
                expected=f"columns divided by a {_OTHER_SEPARATORS[dialect.separator]}",
                hint=f"Save it that way, or pass the rows: frame=pl.read_csv(..., separator={separator!r})",
            )


def _parse(data: bytes, dialect: Dialect, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return pl.read_csv(
        data,
        separator=dialect.separator,
        null_values=[text for text in dialect.null_values if text],
        empty_string_is_null="" in dialect.null_values,
        schema_overrides=dict(types),
        infer_schema_length=None,
    )


def _parse_or_explain(data: bytes, dialect: Dialect, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    try:
        return _parse(data, dialect, types)
    except pl.exceptions.ComputeError as error:
        raise _unreadable(error, dialect) from None


def _unreadable(error: Exception, dialect: Dialect) -> InvalidData:
    text = str(error).splitlines()[0]
    if "utf-8" in text.lower() or "utf8" in text.lower():
        return _not_utf8(error, dialect)
    if "fields" in text:
        return InvalidData(
            f"{dialect.origin} has rows with more fields than its header: {text}",
            expected="as many fields in every row as names in the first",
            hint="Quote texts that hold the separator",
        )
    return InvalidData(f"{dialect.origin} cannot be read as CSV: {text}")


def _not_utf8(error: Exception, dialect: Dialect) -> InvalidData:
    return InvalidData(
        f"{dialect.origin} is not UTF-8 text ({error})", expected="UTF-8", hint="Convert it: iconv -f latin1 -t utf-8"
    )


def _check_unmixed(frame: pl.DataFrame, known: set[str], dialect: Dialect) -> None:
    for column in frame.iter_columns():
        if column.dtype != pl.String() or column.name in known:
            continue
        texts = column.is_not_null() & column.cast(pl.Float64, strict=False).is_null()
        values = column.len() - column.null_count()
        if 0 < texts.sum() <= values * (1 - _MOSTLY):
            row = texts.arg_max() or 0
            raise InvalidData(
                f"column {column.name!r} of {dialect.origin} mixes numbers and texts: {texts.sum()} of {values} values are "
                f"no numbers, the first is {column[row]!r} in row {row + 1}",
                expected="one type in a column",
                hint=f"Name the type: types={{{column.name!r}: 'float64'}} quarantines such rows, 'string' keeps them as "
                f"texts; or add the text to null_values=",
            )


def _without_types_of_nothing(frame: pl.DataFrame, known: set[str]) -> pl.DataFrame:
    # A column without a single value would be inferred as text, and then clash with the numbers of a later file.
    empty = [c.name for c in frame.iter_columns() if c.name not in known and c.null_count() == frame.height]
    return frame.with_columns(pl.lit(None).alias(name) for name in empty)
