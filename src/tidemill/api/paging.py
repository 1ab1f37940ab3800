"""One page of a list: how it is asked for and how it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from tidemill.core.records.record import Record
from tidemill.platform import Platform

T = TypeVar("T")
R = TypeVar("R", bound=Record)

MAX_LIMIT = 1000
DEFAULT_LIMIT = 50

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="At most so many items.")]
Offset = Annotated[int, QueryParameter(ge=0, description="Leave out the first so many items.")]


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Some items of a list.

    Attributes:
        items: The items.
        total: How many there are in all.
        next_offset: What to ask for next; null after the last page.
    """

    items: list[T]
    total: int
    next_offset: int | None = None


def cut(items: Sequence[T], limit: int, offset: int) -> Page[T]:
    """A page of a list that is at hand whole.

    Example:
        >>> cut(["a", "b", "c"], limit=2, offset=0).next_offset
        2
    """
    return paged(list(items[offset : offset + limit]), len(items), offset)


def paged(items: list[T], total: int, offset: int) -> Page[T]:
    """A page of items already cut from a longer list."""
    end = offset + len(items)
    return Page(items=items, total=total, next_offset=end if items and end < total else None)


def find_page(
    platform: Platform, kind: type[R], where: dict[str, Any], order: Sequence[str], limit: int, offset: int
) -> Page[R]:
    """A page of the project's records.

    Args:
        platform: The platform.
        kind: The kind of record.
        where: Field -> value; fields whose value is None are not asked for.
        order: Fields, `-` before those that sort downwards.
        limit: At most so many.
        offset: Leave out the first so many.
    """
    asked = {"project": platform.scope.project, **{field: value for field, value in where.items() if value is not None}}
    with platform.metadata.read() as reader:
        items = reader.find(kind, asked, order=order, limit=limit, offset=offset)
        return paged(items, reader.count(kind, asked), offset)
