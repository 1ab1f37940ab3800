"""Conditions and orders as SQL. Statements are built once per shape, and executed with the values."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Delete, Select, Update, bindparam, delete, func, or_, select, update

from tidemill.core.errors import InvalidArgument, unknown
from tidemill.core.records.record import Record
from tidemill.stores.metadata.rows import encoders
from tidemill.stores.metadata.tables import TABLES, fields_of

Shape = tuple[tuple[str, str], ...]
"""(field, operator) in the order of the conditions; the value of the n-th is the parameter `wn`."""

OPERATORS = ("<", "<=", ">", ">=", "!=", "like")

MOST_CHOICES = 30_000
"""Values in one list: below what SQLite (32,766) and PostgreSQL (65,535) take as parameters."""


def parse(kind: type[Record], where: Mapping[str, Any] | None) -> tuple[Shape, dict[str, Any]]:
    """The shape of a condition and its parameters.

    Raises:
        NotFound: A field does not exist.
        InvalidArgument: A value or operator is wrong.
    """
    shape: list[tuple[str, str]] = []
    parameters: dict[str, Any] = {}
    for number, (field, wanted) in enumerate((where or {}).items()):
        operator, value = _condition(kind, check_field(kind, field), wanted)
        shape.append((field, operator))
        if value is not None:
            parameters[f"w{number}"] = value
    return tuple(shape), parameters


def check_field(kind: type[Record], name: str) -> str:
    """The name, if the kind has such a field kept in a column of its own.

    Raises:
        NotFound: It does not exist.
        InvalidArgument: It is kept as JSON, which cannot be compared.
    """
    scalars = _scalars(kind)
    if name not in scalars:
        raise unknown(f"field of {kind.__name__}", name, scalars)
    if not scalars[name]:
        known = [field for field, plain in scalars.items() if plain]
        raise InvalidArgument(f"{kind.__name__}.{name} is kept as JSON and cannot be compared", known=known)
    return name


@functools.cache
def _scalars(kind: type[Record]) -> dict[str, bool]:
    return {field.name: field.scalar is not None for field in fields_of(kind)}


def _condition(kind: type[Record], field: str, wanted: Any) -> tuple[str, Any]:
    if wanted is None:
        return "null", None
    if isinstance(wanted, tuple):
        return _pair(kind, field, wanted)
    if isinstance(wanted, list | set | frozenset):
        return _choice(kind, field, list(wanted))
    return "=", encoders(kind)[field](wanted)


def _pair(kind: type[Record], field: str, pair: tuple[Any, ...]) -> tuple[str, Any]:
    if len(pair) != 2 or pair[0] not in OPERATORS:
        raise InvalidArgument(
            f"{pair!r} is no condition on {field}", expected="(operator, value), or a list of values", known=OPERATORS
        )
    operator, value = pair
    if value is None and operator == "!=":
        return "not null", None
    if value is None:
        raise InvalidArgument(f"{field} {operator} null is never true", expected="a value, or None or ('!=', None)")
    return operator, encoders(kind)[field](value)


def _choice(kind: type[Record], field: str, values: list[Any]) -> tuple[str, Any]:
    if len(values) > MOST_CHOICES:
        raise InvalidArgument(f"{len(values)} values for {field}", expected=f"at most {MOST_CHOICES} in one question")
    encode = encoders(kind)[field]
    return ("in or null" if None in values else "in"), [encode(value) for value in values if value is not None]


def _clause(column: ColumnElement[Any], operator: str, parameter: str) -> ColumnElement[bool]:
    if operator == "null":
        return column.is_(None)
    if operator == "not null":
        return column.is_not(None)
    if operator in ("in", "in or null"):
        inside = column.in_(bindparam(parameter, expanding=True))
        return inside if operator == "in" else or_(inside, column.is_(None))
    value = bindparam(parameter, type_=column.type)
    if operator == "!=":
        return column.is_distinct_from(value)  # a null differs from every value
    if operator == "like":
        return column.like(value, escape="\\")
    return column.op(operator, is_comparison=True)(value)


def _clauses(kind: type[Record], shape: Shape) -> list[ColumnElement[bool]]:
    columns = TABLES[kind].c
    return [_clause(columns[field], operator, f"w{number}") for number, (field, operator) in enumerate(shape)]


@functools.lru_cache(maxsize=1024)
def selection(kind: type[Record], shape: Shape, order: tuple[str, ...], limited: bool, shifted: bool) -> Select[Any]:
    """The rows that match, in order; `limited` and `shifted` take the parameters `row_limit` and `row_offset`."""
    statement = select(*TABLES[kind].c).where(*_clauses(kind, shape)).order_by(*_order(kind, order))
    if limited:
        statement = statement.limit(bindparam("row_limit"))
    return statement.offset(bindparam("row_offset")) if shifted else statement


@functools.lru_cache(maxsize=512)
def counting(kind: type[Record], shape: Shape) -> Select[Any]:
    """How many rows match."""
    return select(func.count()).select_from(TABLES[kind]).where(*_clauses(kind, shape))


@functools.lru_cache(maxsize=512)
def changing(kind: type[Record], shape: Shape, fields: tuple[str, ...]) -> Update:
    """Set fields of the rows that match; the value of field `f` is the parameter `set_f`."""
    values: dict[str, Any] = {field: bindparam(f"set_{field}") for field in fields}
    return update(TABLES[kind]).where(*_clauses(kind, shape)).values(values)


@functools.lru_cache(maxsize=512)
def removing(kind: type[Record], shape: Shape) -> Delete:
    """Delete the rows that match."""
    return delete(TABLES[kind]).where(*_clauses(kind, shape))


def _order(kind: type[Record], order: Sequence[str]) -> list[ColumnElement[Any]]:
    # The primary key at the end makes the order total, so that pages never overlap.
    named = [name.removeprefix("-") for name in order]
    return [_ordered(kind, name) for name in (*order, *(key for key in kind.KEY if key not in named))]


def _ordered(kind: type[Record], name: str) -> ColumnElement[Any]:
    column = TABLES[kind].c[check_field(kind, name.removeprefix("-"))]
    ordered = column.desc() if name.startswith("-") else column.asc()
    if not column.nullable:
        return ordered
    # Nulls are the smallest everywhere, as in SQLite.
    return ordered.nulls_last() if name.startswith("-") else ordered.nulls_first()
