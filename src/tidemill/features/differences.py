"""What makes two versions of a definition differ, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tidemill.core.times import format_duration

_DURATIONS = ("ttl", "target", "delay")
_CODE = ("transform", "clean")


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """A field of a definition that is not what it was. Of code there are digests, of durations microseconds."""

    field: str
    before: Any
    after: Any

    @property
    def text(self) -> str:
        """As people read it.

        Example:
            >>> FieldChange(field="ttl", before=3_600_000_000, after=7_200_000_000).text
            'ttl 1h → 2h'
            >>> FieldChange(field="keys", before=["origin"], after=["origin", "carrier"]).text
            'keys + carrier'
        """
        if self.field in _CODE:
            return self.field
        if isinstance(self.before, list) and isinstance(self.after, list):
            return f"{self.field} {_items(self.field, self.before, self.after)}"
        return f"{self.field} {_value(self.field, self.before)} → {_value(self.field, self.after)}"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """The fields of two descriptions that differ, in the order of the later one.

    Example:
        >>> [change.field for change in differences({"ttl": 1, "keys": ["a"]}, {"ttl": 2, "keys": ["a"]})]
        ['ttl']
    """
    # One was read from JSON, the other was not written yet: tuples are lists there.
    was, now = (msgspec.json.decode(msgspec.json.encode(one)) for one in (before, after))
    return tuple(
        FieldChange(field=name, before=was.get(name), after=now.get(name))
        for name in dict.fromkeys([*now, *was])
        if was.get(name) != now.get(name)
    )


def _value(field: str, value: Any) -> str:
    if field in _DURATIONS and isinstance(value, int):
        return format_duration(value) if value else "none"
    return "none" if value is None else str(value)


def _items(field: str, before: list[Any], after: list[Any]) -> str:
    gone = [_name(field, one) for one in before if one not in after]
    added = [_name(field, one) for one in after if one not in before]
    both = [name for name in added if name in gone]
    groups = (
        ("−", [name for name in gone if name not in both]), ("+", [name for name in added if name not in both]),
        ("changed", both),
    )  # fmt: skip
    return "; ".join(f"{sign} {', '.join(names)}" for sign, names in groups if names) or "in another order"


def _name(field: str, item: Any) -> str:
    """An item of a list as people call it."""
    if field == "aggregates":
        operation, column, windows, *_ = item
        return " ".join(filter(None, [operation, column, *(_window(one) for one in windows)]))
    if field == "parts":
        return str(item[1])
    if field == "checks":
        return f"{item[0]}.{item[1]}({', '.join(map(str, item[2]))})"
    if isinstance(item, Mapping):
        return str(item.get("type", item))
    return str(item)


def _window(window: list[Any]) -> str:
    size = window[0]
    return format_duration(size) if isinstance(size, int) else " ".join(str(one) for one in window if one)
