"""Records to rows and back. What does not fit a column is refused here, so that every database keeps the same."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from tidemill.core.errors import InvalidArgument, InvalidData
from tidemill.core.records.record import Record
from tidemill.stores.metadata.tables import KEY_LENGTH, Field, fields_of

R = TypeVar("R", bound=Record)
Row = dict[str, Any]

_BIGGEST = 2**63


class _Unfit(Exception):
    """A value that does not fit; the message says what would."""


def encode(record: Record) -> Row:
    """A record as column values.

    Raises:
        InvalidArgument: A field holds what its column cannot; the message names it.
    """
    return {name: encoder(getattr(record, name)) for name, encoder in encoders(type(record)).items()}


def decode(kind: type[R], rows: Iterable[Sequence[Any]]) -> list[R]:
    """Rows in the order of `fields_of(kind)` as records.

    Raises:
        InvalidData: A row is not what this program would have written.
    """
    fields = fields_of(kind)
    names = [field.name for field in fields]
    json = [field.name for field in fields if field.scalar is None]
    found = [dict(zip(names, row, strict=True)) for row in rows]
    for name in json:
        for row in found:
            if row[name] is not None:
                row[name] = msgspec.json.decode(row[name])
    try:
        return msgspec.convert(found, list[kind])  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        raise InvalidData(f"a row of {kind.TABLE} is not a {kind.__name__}: {error}") from None


@functools.cache
def encoders(kind: type[Record]) -> dict[str, Callable[[Any], Any]]:
    """By field name, the function that turns a value into what its column takes."""
    return {field.name: _encoder(kind, field) for field in fields_of(kind)}


def _encoder(kind: type[Record], field: Field) -> Callable[[Any], Any]:
    convert = _CONVERTERS[field.scalar]
    longest = KEY_LENGTH if field.key else None

    def encoder(value: Any) -> Any:
        try:
            if value is None and field.nullable:
                return None
            value = convert(value)
            if longest is not None and field.scalar is str and len(value) > longest:
                raise _Unfit(f"at most {longest} characters")
            return value
        except (_Unfit, TypeError, OverflowError, UnicodeEncodeError) as error:
            raise _refused(kind, field, value, error) from None

    return encoder


def _refused(kind: type[Record], field: Field, value: Any, error: Exception) -> InvalidArgument:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return InvalidArgument(f"{kind.__name__}.{field.name} cannot be {shown}", expected=str(error))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Unfit("a text")
    if "\0" in value:
        raise _Unfit("a text without the character NUL, which PostgreSQL cannot keep")
    if not value.isascii():
        value.encode()  # half a surrogate pair cannot be kept
    # A text enumeration is kept as its text: drivers would write its name.
    return value if type(value) is str else str.__str__(value)


def _integer(value: Any) -> int:
    number = operator.index(value)
    if not -_BIGGEST <= number < _BIGGEST:
        raise _Unfit("an integer of 64 bits")
    return number


def _number(value: Any) -> float:
    if isinstance(value, str | bytes):
        raise _Unfit("a number")
    number = float(value) + 0.0  # SQLite would drop the sign of -0.0: it goes everywhere
    if not math.isfinite(number):
        raise _Unfit("a finite number, or null and a kind beside it")
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Unfit("true or false")
    return value


_json = msgspec.json.Encoder()


def _json_text(value: Any) -> str:
    if value is None:
        raise _Unfit("not null")
    return _json.encode(value).decode()


_CONVERTERS: dict[type | None, Callable[[Any], Any]] = {
    str: _text,
    int: _integer,
    float: _number,
    bool: _boolean,
    None: _json_text,
}
