"""The base of all records."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

Json = dict[str, Any]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the metadata store.

    Subclasses set `TABLE`, `KEY` (the primary key's columns) and `INDEXES`.
    """

    TABLE: ClassVar[str]
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    INDEXES: ClassVar[tuple[tuple[str, ...], ...]] = ()

    project: str
    principal: str
    created_at: int
    """Microseconds UTC."""
