"""The tables, derived from the records: one per kind, and the counters."""

from __future__ import annotations

import functools
import types
import typing
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.types import TypeEngine

from tidemill.core.records import alerting, data, events, models, monitoring, runs, serving, verifications
from tidemill.core.records.record import Record

_MODULES = (alerting, data, events, models, monitoring, runs, serving, verifications)

KEY_LENGTH = 191
"""Characters of a text in a key: what fits MariaDB's index of four utf8mb4 columns."""

MARIADB_COLLATION = "utf8mb4_nopad_bin"
"""Byte by byte; by utf8mb4_bin, texts would be equal that differ in spaces at their end."""


def _record_kinds() -> tuple[type[Record], ...]:
    found = (value for module in _MODULES for value in vars(module).values() if isinstance(value, type))
    kinds = {kind for kind in found if issubclass(kind, Record) and kind is not Record}
    return tuple(sorted(kinds, key=lambda kind: kind.TABLE))


KINDS: tuple[type[Record], ...] = _record_kinds()

metadata = MetaData()


def key_text() -> TypeEngine[str]:
    """Text in a key or index: bounded, and compared byte by byte everywhere as SQLite does."""
    plain: TypeEngine[str] = String(KEY_LENGTH)
    return plain.with_variant(String(KEY_LENGTH, collation="C"), "postgresql").with_variant(
        String(KEY_LENGTH, collation=MARIADB_COLLATION), "mariadb"
    )


def long_text() -> TypeEngine[str]:
    """Text of any length, compared byte by byte."""
    plain: TypeEngine[str] = Text()
    return plain.with_variant(Text(collation="C"), "postgresql").with_variant(
        LONGTEXT(collation=MARIADB_COLLATION), "mariadb"
    )


_SCALARS: dict[Any, type[TypeEngine[Any]]] = {int: BigInteger, float: Double, bool: Boolean}


class Field(msgspec.Struct, frozen=True):
    """How one field of a record is kept."""

    name: str
    scalar: type | None
    """`str`, `int`, `float` or `bool`; None: anything else, kept as JSON text."""
    nullable: bool
    key: bool
    """Whether it is part of the primary key or of an index."""


@functools.cache
def fields_of(kind: type[Record]) -> tuple[Field, ...]:
    """The fields of a kind of record, key fields first as in `KEY`, then in order of definition."""
    indexed = {name for group in (kind.KEY, *kind.INDEXES) for name in group}
    fields = [
        Field(field.name, *_scalar(field.type), key=field.name in indexed) for field in msgspec.structs.fields(kind)
    ]
    first = {name: position for position, name in enumerate(kind.KEY)}
    return tuple(sorted(fields, key=lambda field: first.get(field.name, len(first))))


def _scalar(annotation: Any) -> tuple[type | None, bool]:
    options = set(typing.get_args(annotation)) if isinstance(annotation, types.UnionType) else {annotation}
    nullable = types.NoneType in options
    options.discard(types.NoneType)
    only = options.pop() if len(options) == 1 else None
    return (only if only in (str, int, float, bool) else None), nullable


def _column(field: Field) -> Column[Any]:
    if field.scalar in _SCALARS:
        kind: TypeEngine[Any] = _SCALARS[field.scalar]()
    else:
        kind = key_text() if field.key and field.scalar is str else long_text()
    return Column(field.name, kind, nullable=field.nullable, autoincrement=False)


def _table(kind: type[Record]) -> Table:
    return Table(
        kind.TABLE,
        metadata,
        *map(_column, fields_of(kind)),
        PrimaryKeyConstraint(*kind.KEY, name=f"pk_{kind.TABLE}"),
        *(Index(f"ix_{kind.TABLE}_{'_'.join(names)}", *names) for names in kind.INDEXES),
    )


TABLES: dict[type[Record], Table] = {kind: _table(kind) for kind in KINDS}

COUNTERS = Table(
    "counters",
    metadata,
    Column("name", key_text(), nullable=False),
    Column("value", BigInteger(), nullable=False),
    PrimaryKeyConstraint("name", name="pk_counters"),
)
"""Named counters: the value the next call gets."""
