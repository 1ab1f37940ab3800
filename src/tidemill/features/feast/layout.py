"""Python as a formatter leaves it: one line where it fits, else one item a line."""

from __future__ import annotations

import io
import keyword
import re
import textwrap
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

WIDTH = 88
"""Columns of a line, as formatters have it by default."""
_STEP = " " * 4
_OPENING, _CLOSING = "([{", ")]}"
_LEVELS = (("<", "<=", ">", ">=", "==", "!="), ("|",), ("&",), ("+", "-"), ("*", "/"))
"""Operators, those first that bind the least."""


@dataclass(frozen=True)
class Group:
    """Something in brackets: a call, a list or a mapping.

    Args:
        opening: What stands before the items, with the bracket.
        closing: The bracket at the end.
        items: Each with what stands before it, such as `keys=`.
    """

    opening: str
    closing: str
    items: Sequence[tuple[str, Node]] = field(default_factory=tuple)


Node = str | Group


def call(name: str, /, *positional: Node, **keywords: Node | None) -> Group:
    """A call; keywords that are None are left out.

    Example:
        >>> render(call("f", "1", b=quoted("x"), c=None))
        'f(1, b="x")'
    """
    named = [(f"{key}=", value) for key, value in keywords.items() if value is not None]
    return Group(f"{name}(", ")", (*(("", one) for one in positional), *named))


def listing(items: Iterable[Node]) -> Group:
    """A list."""
    return Group("[", "]", tuple(("", one) for one in items))


def mapping(items: Mapping[str, Node]) -> Group:
    """A mapping from texts."""
    return Group("{", "}", tuple((f"{quoted(key)}: ", value) for key, value in items.items()))


def texts(items: Sequence[str]) -> Node:
    """One text, or a list of several."""
    return quoted(items[0]) if len(items) == 1 else listing(map(quoted, items))


def quoted(text: str) -> str:
    r"""A text as a formatter writes it: in double quotes, unless that takes more backslashes.

    Example:
        >>> print(quoted("a 'b'"), quoted('say "b"'))
        "a 'b'" 'say "b"'
    """
    plain = repr(text)
    if '"' in text:
        return plain
    return '"' + plain[1:-1].replace("\\'", "'") + '"'


def render(node: Node, before: str = "", indent: str = "", after: str = "") -> str:
    """The text of a node.

    Args:
        node: What to write.
        before: What stands before it on its first line, and counts for the width; it is not part of the result.
        indent: The indent of that line.
        after: What follows on its last line.
    """
    line = one_line(node)
    if len(indent + before + line + after) <= WIDTH:
        return line
    if isinstance(node, str):
        return _chained(node, before, indent, after)
    if not node.items:
        return line
    inner = indent + _STEP
    lines = [f"{inner}{name}{render(value, name, inner, ',')},\n" for name, value in node.items]
    return f"{node.opening}\n{''.join(lines)}{indent}{node.closing}"


def _chained(text: str, before: str, indent: str, after: str) -> str:
    """One choice, a line for each of its calls, or what operators join, a line for each part; no call is divided further."""
    if not text.startswith("pl.when("):
        return _divided(text, before, indent, after)
    if text.count(".then(") > 1:
        return text
    return text.replace(".then(", f"\n{indent}.then(").replace(".otherwise(", f"\n{indent}.otherwise(")


def _divided(text: str, before: str, indent: str, after: str) -> str:
    if len(indent + before + text + after) <= WIDTH:
        return text
    found = [(token.string, token.start[1]) for token in _operators(text)]
    level = next((one for one in _LEVELS if any(operator in one for operator, _ in found)), ())
    if not level:  # a long text, say: there is no place to divide it at
        return text
    begin, joined, divided = 0, before, ""
    for operator, place in [*((one, place) for one, place in found if one in level), ("", len(text) + 1)]:
        divided += _divided(text[begin : place - 1], joined, indent, "" if operator else after)
        divided += f"\n{indent}{operator} " if operator else ""
        begin, joined = place + len(operator) + 1, f"{operator} "
    return divided


def _operators(text: str) -> Iterator[tokenize.TokenInfo]:
    """Those between two values that stand in no brackets."""
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.OP:
            depth += (token.string in _OPENING) - (token.string in _CLOSING)
            if depth == 0 and text[token.start[1] - 1 : token.end[1] + 1] == f" {token.string} ":
                yield token


def one_line(node: Node) -> str:
    """The text of a node on one line."""
    if isinstance(node, str):
        return node
    items = ", ".join(f"{name}{one_line(value)}" for name, value in node.items)
    return f"{node.opening}{items}{node.closing}"


def assign(variable: str, node: Node) -> str:
    """`variable = node`."""
    before = f"{variable} = "
    return before + render(node, before) + "\n"


def comment(text: str) -> str:
    """Lines as a comment, empty ones too."""
    return "".join(f"# {line}".rstrip() + "\n" for line in text.rstrip().splitlines())


def prose(text: str) -> str:
    """Sentences as a comment."""
    return comment(textwrap.fill(" ".join(text.split()), WIDTH - 2))


class Names:
    """Variables of a module, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def variable(self, wanted: str, other: str = "") -> str:
        """A free variable.

        Args:
            wanted: What it is for, in words of a user.
            other: What to add where that is taken.
        """
        base = re.sub(r"\W+", "_", snake(wanted)).strip("_") or "it"
        if base[0].isdigit() or keyword.iskeyword(base):
            base = f"_{base}" if base[0].isdigit() else f"{base}_"
        found, number = base, 2
        if found in self._taken and other:
            base = found = f"{base}_{other}"
        while found in self._taken:
            found, number = f"{base}_{number}", number + 1
        self._taken.add(found)
        return found


def snake(text: str) -> str:
    """A name in Tidemill's grammar.

    Example:
        >>> snake("DriverStats v2")
        'driver_stats_v2'
    """
    low = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()
    return re.sub(r"[^a-z0-9_-]+", "_", low).strip("_-")[:128] or "it"
