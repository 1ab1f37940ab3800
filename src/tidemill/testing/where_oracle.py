"""Conditions of the metadata store, evaluated slowly in Python."""

from __future__ import annotations

import operator
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tidemill.core.records.record import Record
from tidemill.core.records.runs import MetricPoint

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_NAMES = ["loss", "Loss", "auc", "a_c", "a%c", "", "é", "z", "Z", "a\\c"]
_PATTERNS = ["%", "l%", "%s", "a_c", "a\\_c", "a\\%c", "%\\%%", "", "L%", "a\\\\c", "_"]


def matches(row: Record, where: Mapping[str, Any]) -> bool:
    """Whether a record fulfils a condition."""
    return all(_fulfils(getattr(row, field), wanted) for field, wanted in where.items())


def _fulfils(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return value in wanted
    if not isinstance(wanted, tuple):
        return bool(value == wanted)
    name, other = wanted
    if name == "!=":
        return bool(value != other)
    if value is None:
        return False
    return _like(value, other) if name == "like" else _COMPARISONS[name](value, other)


def _like(text: str, pattern: str) -> bool:
    parts = {"%": ".*", "_": "."}
    tokens: list[str] = re.findall(r"\\.|.", pattern, re.DOTALL)
    expression = "".join(parts.get(token) or re.escape(token.removeprefix("\\") or token) for token in tokens)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def sort_rows(rows: Iterable[MetricPoint], order: Sequence[str]) -> list[MetricPoint]:
    """The rows in an order, ties by primary key; null is smallest, text is compared by code point."""
    ordered = sorted(rows, key=lambda row: [getattr(row, name) for name in row.KEY])
    for name in reversed(order):
        ordered.sort(key=lambda row, name=name: _rank(getattr(row, name.removeprefix("-"))), reverse=name[0] == "-")  # type: ignore[misc]
    return ordered


def _rank(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else 0)


def random_rows(chance: random.Random, count: int) -> list[MetricPoint]:
    """Rows of few different values, so that conditions match some and not others."""
    return [
        MetricPoint(
            project=chance.choice(["p", "q"]),
            principal="tester",
            created_at=chance.randrange(5),
            run_id=chance.choice(["r1", "r2", "R1"]),
            name=chance.choice(_NAMES),
            step=chance.randrange(-3, 4),
            at=chance.randrange(3),
            seq=number,
            value=chance.choice([None, -1.5, 0.0, 0.5, 2.0]),
            kind=chance.choice(["finite", "nan"]),
        )
        for number in range(count)
    ]


def random_where(chance: random.Random) -> dict[str, Any]:
    """A condition on one to three fields of such rows."""
    choices: dict[str, list[Any]] = {
        "name": _NAMES,
        "step": [-3, -1, 0, 2, 9],
        "value": [-1.5, 0.0, 0.5],
        "run_id": ["r1"],
    }
    fields = chance.sample(sorted(choices), chance.randint(1, 3))
    return {field: _random_condition(chance, field, choices[field]) for field in fields}


def _random_condition(chance: random.Random, field: str, values: list[Any]) -> Any:
    forms = ["equal", "one of", "compare", "different"] + (["like"] if field == "name" else [])
    forms += ["null", "not null", "one of or null"] if field == "value" else []
    form = chance.choice(forms)
    some = chance.sample(values, chance.randint(0, len(values)))
    made: dict[str, Any] = {
        "equal": chance.choice(values),
        "one of": some,
        "compare": (chance.choice(list(_COMPARISONS)), chance.choice(values)),
        "different": ("!=", chance.choice(values)),
        "like": ("like", chance.choice(_PATTERNS)),
        "null": None,
        "not null": ("!=", None),
        "one of or null": [*some, None],
    }
    return made[form]
