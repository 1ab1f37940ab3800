"""The small notations of the case files: ranges, repetitions, rules per position. Parsed, never evaluated."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

_RANGE = re.compile(r"\s*(-?\d+)\s*\.\.\s*(-?\d+)\s+step\s+(\d+)\s*")
_BINARY: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def expand(values: Any) -> list[Any]:
    """The values a notation stands for; a list stands for itself.

    Example:
        >>> expand("0..3 step 1"), expand("0.5*2+1.0*1"), expand("i<2: i%2; else 5")
        ([0, 1, 2, 3], [0.5, 0.5, 1.0], [0, 1, 5, 5])
    """
    if not isinstance(values, str):
        return list(values)
    if found := _RANGE.fullmatch(values):
        first, last, step = (int(group) for group in found.groups())
        return list(range(first, last + 1, step))
    if ":" in values:
        return _by_rules(values)
    return _repeated(values)


def _repeated(notation: str) -> list[float]:
    stream: list[float] = []
    for part in re.split(r"(?<=\d)\s*\+\s*", notation):
        value, _, times = part.partition("*")
        stream += [float(value)] * int(times or 1)
    return stream


def _by_rules(notation: str) -> list[Any]:
    """Clauses `condition: value` and a last `else value`; the stream is twice as long as its last boundary."""
    clauses = [clause.strip() for clause in notation.split(";")]
    bounds = [int(number) for clause in clauses for number in re.findall(r"i\s*<=?\s*(\d+)", clause)]
    parsed = [_clause(clause) for clause in clauses]
    return [_value_at(parsed, i) for i in range(2 * max(bounds))]


def _clause(clause: str) -> tuple[ast.expr | None, ast.expr]:
    if clause.startswith("else"):
        return None, _expression(clause.removeprefix("else").lstrip(" :"))
    condition, _, value = clause.partition(":")
    return _expression(condition), _expression(value)


def _expression(text: str) -> ast.expr:
    return ast.parse(text.strip(), mode="eval").body


def _value_at(clauses: list[tuple[ast.expr | None, ast.expr]], i: int) -> Any:
    for condition, value in clauses:
        if condition is None or _compute(condition, i):
            found = _compute(value, i)
            return int(found) if isinstance(found, bool) else found
    raise ValueError(f"no clause covers position {i}")


def _compute(node: ast.expr, i: int) -> Any:
    """Arithmetic on numbers and the position `i`; anything else is refused."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return node.value
    if isinstance(node, ast.Name) and node.id == "i":
        return i
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_compute(node.left, i), _compute(node.right, i))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _BINARY:
        return _BINARY[type(node.ops[0])](_compute(node.left, i), _compute(node.comparators[0], i))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_compute(node.operand, i)
    raise ValueError(f"not part of the notation: {ast.unparse(node)}")
