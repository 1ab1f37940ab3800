"""Records of every kind, made up from their definitions."""

from __future__ import annotations

import types
import typing
from typing import Any

import msgspec

from tidemill.core.records.record import Record

R = typing.TypeVar("R", bound=msgspec.Struct)

JSON = {
    "text": 'Ünïcødé 🌊 "quoted" \\ % _ \'',
    "zero": 0,
    "big": 2**63 - 1,
    "small": 5e-324,
    "third": 1 / 3,
    "yes": True,
    "nothing": None,
    "nested": {"list": [1, 2.5, "three", [], {}], "": "empty key"},
}
"""A JSON value with what is easily lost on the way."""


def full_record(kind: type[Record], number: int) -> Record:
    """A record with a value in every field; records of different numbers have different keys.

    Example:
        >>> from tidemill.core.records.events import Pin
        >>> full_record(Pin, 1).target
        'target-1'
    """
    return _record(kind, number, absent=False)


def bare_record(kind: type[Record], number: int) -> Record:
    """A record with null in every field that may be null."""
    return _record(kind, number, absent=True)


def key_of(record: Record) -> dict[str, Any]:
    """The primary key of a record, as `Reader.get` takes it."""
    return {name: getattr(record, name) for name in record.KEY}


def _record(kind: type[R], number: int, *, absent: bool) -> R:
    values = {
        field.name: _value(field.type, field.name, number, absent=absent) for field in msgspec.structs.fields(kind)
    }
    return kind(**values)


def _value(annotation: Any, name: str, number: int, *, absent: bool) -> Any:
    options = list(typing.get_args(annotation)) if isinstance(annotation, types.UnionType) else [annotation]
    if types.NoneType in options:
        if absent:
            return None
        options.remove(types.NoneType)
    simple: dict[Any, Any] = {str: f"{name}-{number}", int: number, float: number / 3, bool: number % 2 == 0}
    if options[0] in simple:
        return simple[options[0]]
    return _nested(options[0], name, number, absent=absent)


def _nested(annotation: Any, name: str, number: int, *, absent: bool) -> Any:
    """What is kept as JSON: one of some words, structs and several of them, a JSON object or a list of them."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return arguments[0]
    if origin is tuple:
        return () if absent else (_value(arguments[0], name, number, absent=absent),)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return _record(annotation, number, absent=absent)
    return [JSON, {}] if origin is list else JSON
