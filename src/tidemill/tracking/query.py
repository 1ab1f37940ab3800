"""Which runs match a filter, and in what order."""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from tidemill.core.errors import InvalidArgument
from tidemill.core.records.runs import Run
from tidemill.tracking.filters import NUMERIC, Clause, Filter, parse_name
from tidemill.tracking.values import canonical

Metrics: TypeAlias = Mapping[str, float]
"""A run's latest value of each metric."""


@functools.lru_cache(maxsize=256)
def _pattern(like: str, ignore_case: bool) -> re.Pattern[str]:
    text = "".join({"%": ".*", "_": "."}.get(char, re.escape(char)) for char in like)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "LIKE": lambda text, like: _pattern(like, False).fullmatch(text) is not None,
    "ILIKE": lambda text, like: _pattern(like, True).fullmatch(text) is not None,
}


def matches(run: Run, metrics: Metrics, wanted: Filter) -> bool:
    """Whether a run satisfies a filter. A run that lacks what a clause names does not match it, not even by `!=`."""
    if isinstance(wanted, Clause):
        return _holds(_value(run, metrics, wanted.entity, wanted.key), wanted)
    if wanted.op == "NOT":
        return not matches(run, metrics, wanted.parts[0])
    whole = all if wanted.op == "AND" else any
    return whole(matches(run, metrics, part) for part in wanted.parts)


def named_metrics(wanted: Filter) -> set[str]:
    """The metrics a filter looks at."""
    if isinstance(wanted, Clause):
        return {wanted.key} if wanted.entity == "metrics" else set()
    return {name for part in wanted.parts for name in named_metrics(part)}


def _value(run: Run, metrics: Metrics, entity: str, key: str) -> Any:
    if entity == "metrics":
        return metrics.get(key)
    return getattr(run, key) if entity == "attributes" else getattr(run, entity).get(key)


def _holds(value: Any, clause: Clause) -> bool:
    if clause.op.startswith("IS"):
        return (value is None) == (clause.op == "IS NULL")
    if value is None:
        return False
    if clause.entity == "metrics" or (clause.entity == "attributes" and clause.key in NUMERIC):
        return _COMPARE[clause.op](value, clause.value)
    return _holds_loosely(value, clause)


def _holds_loosely(value: Any, clause: Clause) -> bool:
    """Parameters and tags: as a number against a number, else as the text they are shown as."""
    if clause.op in ("IN", "NOT IN") and isinstance(clause.value, tuple):
        found = any(_equal(value, item) for item in clause.value)
        return found == (clause.op == "IN")
    if isinstance(clause.value, float):
        number = _number(value)
        return (clause.op == "!=") if number is None else _COMPARE[clause.op](number, clause.value)
    return _COMPARE[clause.op](shown(value), clause.value)


def _equal(value: Any, literal: str | float) -> bool:
    return _number(value) == literal if isinstance(literal, float) else shown(value) == literal


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def shown(value: Any) -> str:
    """A parameter or tag as text: a text as it is, anything else as JSON.

    Example:
        >>> shown("LR"), shown(0.1)
        ('LR', '0.1')
    """
    return value if isinstance(value, str) else canonical(value).decode()


def parse_order(order: str | Sequence[str]) -> list[tuple[str, str, bool]]:
    """Read what to sort by: `"metrics.roc_auc DESC"`, or several; gives (entity, key, downwards).

    Raises:
        InvalidArgument: It is not `NAME [ASC|DESC]`.

    Example:
        >>> parse_order("metrics.roc_auc DESC")
        [('metrics', 'roc_auc', True)]
    """
    return [_order(item) for item in ([order] if isinstance(order, str) else order)]


def _order(text: str) -> tuple[str, str, bool]:
    match = re.fullmatch(r"\s*(.+?)(?:\s+(asc|desc))?\s*", text, re.IGNORECASE)
    if match is None:
        raise InvalidArgument(f"cannot sort by {text!r}", expected="such as 'metrics.roc_auc DESC'")
    entity, key = parse_name(match[1])
    return entity, key, (match[2] or "").lower() == "desc"


def ordered(runs: Sequence[Run], metrics: Mapping[str, Metrics], order: Sequence[tuple[str, str, bool]]) -> list[Run]:
    """Runs in order; NaN comes after all numbers and missing values last, both ways; ties: newest first, then by id."""
    result = sorted(runs, key=lambda run: (-run.started_at, run.id))
    for entity, key, down in reversed(order):
        values = {run.id: _value(run, metrics.get(run.id, {}), entity, key) for run in result}
        result = _sorted_by(result, values, down)
    return result


def _sorted_by(runs: Sequence[Run], values: Mapping[str, Any], down: bool) -> list[Run]:
    missing = [run for run in runs if values[run.id] is None]
    nan = [run for run in runs if _is_nan(values[run.id])]
    rest = [run for run in runs if values[run.id] is not None and not _is_nan(values[run.id])]
    rest.sort(key=lambda run: _rank(values[run.id]), reverse=down)
    return [*rest, *nan, *missing]


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _rank(value: Any) -> tuple[int, float, str]:
    # Numbers before texts, so that a parameter that was once a text can still be sorted by.
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, shown(value))
