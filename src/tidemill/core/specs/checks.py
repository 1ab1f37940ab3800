"""Checks on rows. A failing row goes to quarantine with the reason; it never stops the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidemill.core.errors import InvalidArgument


@dataclass(frozen=True)
class Check:
    """One rule on one column. Nulls pass every rule but `not_null`."""

    column: str
    rule: str
    arguments: tuple[Any, ...] = ()

    @property
    def label(self) -> str:
        """The name shown in reports, such as `visib.between(0, 10)`."""
        return f"{self.column}.{self.rule}({', '.join(map(repr, self.arguments))})"

    def describe(self) -> list[Any]:
        return [self.column, self.rule, list(self.arguments)]


@dataclass(frozen=True)
class CheckBuilder:
    """What `tm.check(column)` gives; each method is one rule."""

    column: str

    def between(self, low: float, high: float) -> Check:
        """The value is in [low, high]; NaN is not."""
        if low > high:
            raise InvalidArgument(f"between({low}, {high}) on {self.column!r} holds no value")
        return Check(self.column, "between", (low, high))

    def not_null(self) -> Check:
        """There is a value."""
        return Check(self.column, "not_null")

    def one_of(self, *values: Any) -> Check:
        """The value is one of these."""
        return Check(self.column, "one_of", values)

    def matches(self, pattern: str) -> Check:
        """The text contains a match of a regular expression (Rust syntax)."""
        return Check(self.column, "matches", (pattern,))

    def unique(self) -> Check:
        """No earlier row of the same delivery has the value; the first one passes."""
        return Check(self.column, "unique")

    def not_after(self, column: str) -> Check:
        """The value is at most that of another column."""
        return Check(self.column, "not_after", (column,))


def check(column: str) -> CheckBuilder:
    """Start a check on a column.

    Example:
        >>> check("visib").between(0, 10).label
        'visib.between(0, 10)'
    """
    return CheckBuilder(column)
