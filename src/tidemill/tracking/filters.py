"""The language runs are searched with: `metrics.roc_auc > 0.7 AND (params.depth IN (4, 6) OR tags.stage = 'final')`.

A superset of what MLflow's `search_runs` takes: clauses joined by AND, OR, NOT and parentheses. Parsed by hand into a tree;
nothing of it is ever evaluated as code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from tidemill.core.errors import InvalidArgument

Literal: TypeAlias = str | float | tuple[str | float, ...] | None

ENTITIES = {
    "metric": "metrics", "metrics": "metrics",
    "param": "params", "params": "params", "parameter": "params", "parameters": "params",
    "tag": "tags", "tags": "tags",
    "attribute": "attributes", "attributes": "attributes", "attr": "attributes", "run": "attributes",
}  # fmt: skip
"""What may stand before the dot of a name, and what it means."""

ATTRIBUTES = {
    "id": "id", "run_id": "id", "name": "name", "run_name": "name", "status": "status", "kind": "kind",
    "group": "run_group", "run_group": "run_group", "parent": "parent", "principal": "principal", "user_id": "principal",
    "created_at": "created_at", "created": "created_at", "started_at": "started_at", "start_time": "started_at",
    "ended_at": "ended_at", "end_time": "ended_at", "cache_key": "cache_key", "error": "error",
}  # fmt: skip
"""Attributes of a run by the names they go by."""

NUMERIC = frozenset({"created_at", "started_at", "ended_at"})
_ORDERING: tuple[str, ...] = ("=", "!=", "<", "<=", ">", ">=")
_TEXTUAL: tuple[str, ...] = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL")
_ALL: tuple[str, ...] = (*_TEXTUAL, "<", "<=", ">", ">=")
_WORDS = frozenset({"AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "ILIKE"})

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<name>(?:\w+|`[^`]*`)(?:\.(?:[\w./-]+|`[^`]*`|"[^"]*"))?)
    | (?P<symbol><=|>=|!=|==|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Clause:
    """One comparison."""

    entity: str
    key: str
    op: str
    value: Literal


@dataclass(frozen=True)
class Junction:
    """Several filters of which all, any, or none must hold."""

    op: str
    parts: tuple[Filter, ...]


Filter: TypeAlias = Clause | Junction


def _is_numeric(entity: str, key: str) -> bool:
    return entity == "metrics" or (entity == "attributes" and key in NUMERIC)


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parse_filter(text: str) -> Filter:
    """Read a filter.

    Raises:
        InvalidArgument: It is not one; the message says where and what was expected.

    Example:
        >>> parse_filter("metrics.roc_auc > 0.7")
        Clause(entity='metrics', key='roc_auc', op='>', value=0.7)
    """
    parser = _Parser(text)
    found = parser.either()
    parser.end()
    return found


def parse_name(text: str) -> tuple[str, str]:
    """Read the name of an attribute, metric, parameter or tag.

    Raises:
        InvalidArgument: There is no such entity or attribute.

    Example:
        >>> parse_name("metric.auc"), parse_name("start_time")
        (('metrics', 'auc'), ('attributes', 'started_at'))
    """
    head, dot, tail = _split(text)
    if not dot:
        return "attributes", _attribute(head)
    entity = ENTITIES.get(head)
    if entity is None:
        raise InvalidArgument(
            f"{head!r} in {text!r} is no part of a run", known=["metrics", "params", "tags", "attributes"]
        )
    return entity, _attribute(tail) if entity == "attributes" else tail


def _split(text: str) -> tuple[str, str, str]:
    match = re.fullmatch(r"(\w+|`[^`]*`)(?:(\.)(.+))?", text.strip())
    if match is None:
        raise InvalidArgument(f"{text!r} is no name", expected="such as metrics.roc_auc, params.depth or status")
    return match[1].strip("`"), match[2] or "", _unquoted(match[3] or "")


def _unquoted(key: str) -> str:
    return key[1:-1] if len(key) >= 2 and key[0] == key[-1] and key[0] in '`"' else key


def _attribute(key: str) -> str:
    if key not in ATTRIBUTES:
        raise InvalidArgument(f"a run has no attribute {key!r}", known=sorted(set(ATTRIBUTES)),
                              hint="Metrics, parameters and tags are written metrics.NAME, params.NAME, tags.NAME")  # fmt: skip
    return ATTRIBUTES[key]


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0

    def either(self) -> Filter:
        return self._joined("OR", self.both)

    def both(self) -> Filter:
        return self._joined("AND", self.one)

    def _joined(self, word: str, part: Callable[[], Filter]) -> Filter:
        parts = [part()]
        while self._take(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Junction(word, tuple(parts))

    def one(self) -> Filter:
        if self._take("NOT"):
            return Junction("NOT", (self.one(),))
        if self._take("("):
            inner = self.either()
            self._need(")")
            return inner
        return self._clause()

    def _clause(self) -> Clause:
        token = self._any("name", "a name such as metrics.roc_auc")
        if token.text.upper() in _WORDS:
            raise self._wrong(token, "a name such as metrics.roc_auc")
        entity, key = parse_name(token.text)
        op = self._operator()
        self._check(entity, key, op, token)
        value = None if op.startswith("IS") else self._value(entity, key, op)
        return Clause(entity, key, op, value)

    def _operator(self) -> str:
        for phrase in ("IS NOT NULL", "IS NULL", "NOT IN", "IN", "LIKE", "ILIKE"):
            if self._phrase(phrase):
                return phrase
        token = self._any("symbol", "a comparison")
        if token.text not in (*_ORDERING, "=="):
            raise self._wrong(token, "a comparison such as =, !=, <, LIKE or IN")
        return "=" if token.text == "==" else token.text

    def _check(self, entity: str, key: str, op: str, token: _Token) -> None:
        allowed = _ORDERING if _is_numeric(entity, key) else (_TEXTUAL if entity != "params" else _ALL)
        if op not in allowed:
            raise InvalidArgument(
                f"{token.text!r} cannot be compared with {op} in the filter {self._text!r}", known=allowed
            )

    def _value(self, entity: str, key: str, op: str) -> Literal:
        if op in ("IN", "NOT IN"):
            return self._list()
        value, numeric = self._literal(), _is_numeric(entity, key)
        textual = op in ("LIKE", "ILIKE") or (entity == "attributes" and not numeric)
        if isinstance(value, str) if numeric else (textual and not isinstance(value, str)):
            expected = "a number" if numeric else "text in quotes"
            raise InvalidArgument(f"{key!r} is compared with {value!r} in the filter {self._text!r}", expected=expected)
        return value

    def _list(self) -> tuple[str | float, ...]:
        self._need("(")
        values = [self._literal()]
        while self._take(","):
            values.append(self._literal())
        self._need(")")
        return tuple(values)

    def _literal(self) -> str | float:
        token = self._peek()
        if token is not None and token.kind in ("number", "text"):
            self._next += 1
            return float(token.text) if token.kind == "number" else _text(token.text)
        raise self._wrong(token, "a number, or text in quotes")

    def end(self) -> None:
        if (token := self._peek()) is not None:
            raise self._wrong(token, "AND, OR or the end")

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _phrase(self, phrase: str) -> bool:
        words = phrase.split()
        ahead = [token.text.upper() for token in self._tokens[self._next : self._next + len(words)]]
        if ahead == words:
            self._next += len(words)
        return ahead == words

    def _take(self, text: str) -> bool:
        return self._phrase(text)

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise self._wrong(self._peek(), repr(text))

    def _any(self, kind: str, expected: str) -> _Token:
        token = self._peek()
        if token is None or token.kind != kind:
            raise self._wrong(token, expected)
        self._next += 1
        return token

    def _wrong(self, token: _Token | None, expected: str) -> InvalidArgument:
        found = "the end" if token is None else f"{token.text!r} at position {token.at + 1}"
        return InvalidArgument(f"Invalid clause(s) in filter string {self._text!r}: found {found}", expected=expected)


def _text(quoted: str) -> str:
    mark = quoted[0]
    return quoted[1:-1].replace(mark * 2, mark)


def _tokens(text: str) -> Iterator[_Token]:
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise InvalidArgument(f"Invalid clause(s) in filter string {text!r}: cannot read {text[at:at + 20].strip()!r}",
                                  expected="clauses such as metrics.roc_auc > 0.7 AND params.depth = '6'")  # fmt: skip
        yield _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))
        at = match.end()
