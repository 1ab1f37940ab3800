"""Quality of one window in one pass: every violation named, no cell raises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

CellType = Literal["int", "float", "str", "bool", "any"]


class ColumnRule(Struct, frozen=True):
    """What a column promises.

    Attributes:
        type: Type of its cells; "any" is not checked.
        unique: Whether no value may come twice.
        low: Least allowed value; `high` the greatest, both included.
        domain: Allowed values, None = all.
        max_missing: Largest allowed share of missing cells.
    """

    type: CellType = "any"
    unique: bool = False
    low: float | None = None
    high: float | None = None
    domain: frozenset[Any] | None = None
    max_missing: float = 0.0


class ColumnQuality(Struct, frozen=True):
    """What a column holds; counts are of cells.

    Attributes:
        duplicates: Values that come more than once, in order of appearance.
        out_of_range: Well-typed numbers outside the range.
        type_errors: Cells of the wrong type.
        unseen: Well-typed values outside the domain, and how often each comes.
        missing_rate: Share of missing cells, None without rows.
        violations: Names of the broken rules: "unique", "range", "type", "domain", "missing".
    """

    duplicates: tuple[Any, ...]
    out_of_range: int
    type_errors: int
    unseen: dict[Any, int]
    missing_rate: float | None
    violations: tuple[str, ...]


class Quality(Struct, frozen=True):
    """What a window holds: rows, columns, and every violation as `<column>.<rule>`."""

    row_count: int
    columns: dict[str, ColumnQuality]
    violations: tuple[str, ...]


def judge(rules: Mapping[str, ColumnRule], rows: Sequence[Sequence[Any]]) -> Quality:
    """Judge every column of a window, whatever its cells hold.

    Args:
        rules: By column name, in the order of the cells.
        rows: Rows of cells; None and NaN are missing, and so are cells a short row lacks.

    Example:
        >>> judge({"age": ColumnRule("int", low=0, high=120)}, [[30], [-1], ["x"]]).violations
        ('age.range', 'age.type')
    """
    columns = {
        name: _judge_column(rule, [row[i] if i < len(row) else None for row in rows])
        for i, (name, rule) in enumerate(rules.items())
    }
    names = tuple(f"{name}.{rule}" for name, column in columns.items() for rule in column.violations)
    return Quality(len(rows), columns, names)


def _judge_column(rule: ColumnRule, cells: list[Any]) -> ColumnQuality:
    present = [cell for cell in cells if cell is not None and cell == cell]
    typed = [cell for cell in present if _is_type(cell, rule.type)]
    missing = 1 - len(present) / len(cells) if cells else None
    duplicates = _repeated(present) if rule.unique else ()
    outside = sum(_outside(cell, rule) for cell in typed)
    unseen = Counter(k for k in map(_key, typed) if rule.domain is not None and k not in rule.domain)
    broken = {
        "unique": bool(duplicates),
        "range": outside > 0,
        "type": len(typed) < len(present),
        "domain": bool(unseen),
        "missing": missing is not None and missing > rule.max_missing,
    }
    return ColumnQuality(
        duplicates=duplicates,
        out_of_range=outside,
        type_errors=len(present) - len(typed),
        unseen=dict(unseen),
        missing_rate=missing,
        violations=tuple(name for name, is_broken in broken.items() if is_broken),
    )


def _is_type(cell: Any, kind: CellType) -> bool:
    if kind == "any":
        return True
    if isinstance(cell, bool):
        return kind == "bool"
    if kind == "int":
        return isinstance(cell, int) or (isinstance(cell, float) and cell.is_integer())
    return isinstance(cell, (int, float) if kind == "float" else str if kind == "str" else bool)


def _outside(cell: Any, rule: ColumnRule) -> bool:
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return False
    return (rule.low is not None and cell < rule.low) or (rule.high is not None and cell > rule.high)


def _repeated(cells: list[Any]) -> tuple[Any, ...]:
    keys = Counter(_key(cell) for cell in cells)
    return tuple(key for key, times in keys.items() if times > 1)


def _key(cell: Any) -> Any:
    """Something hashable that stands for the cell."""
    try:
        hash(cell)
    except TypeError:
        return repr(cell)
    return cell
