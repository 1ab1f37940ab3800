"""What was worked out once for rows of some columns and types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")

MOST = 512

Kind = tuple[tuple[str, ...], tuple[type, ...]]
"""The columns of a row, and the types of its values."""


def kind_of(row: Mapping[str, Any]) -> Kind:
    """What must be the same for rows to be treated alike.

    Example:
        >>> kind_of({"carrier": "UA", "delay": 3.0})
        (('carrier', 'delay'), (<class 'str'>, <class 'float'>))
    """
    return tuple(row), tuple(map(type, row.values()))


class Memo(dict[K, V]):
    """A dictionary that begins anew when it is large: rows with nulls here and there come in very many kinds."""

    def __setitem__(self, key: K, value: V) -> None:
        if len(self) >= MOST and key not in self:
            self.clear()
        super().__setitem__(key, value)
