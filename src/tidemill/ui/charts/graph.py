"""A directed graph in layers from left to right: lineage, and what happens to a request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from markupsafe import Markup

from tidemill.ui.charts.svg import drawing, element, titled

_LEAST_WIDTH, _PAD, _GAP_X, _GAP_Y = 72, 8, 20, 12
_CHAR, _LINE = 6.6, 14
"""Pixels of a character and of a line, in the widest of the usual fonts."""

_CHARS = 32
"""Characters of one line of a label; the rest of a longer one stands below."""

_WORD = re.compile(r"[^\W_]*[\W_]+|[^\W_]+")


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """A node: `kind` above `label`, which is never cut; `title` when hovered; a link when `href` is given."""

    key: str
    kind: str
    label: str
    title: str = ""
    href: str | None = None
    root: bool = False


class _Place(NamedTuple):
    """Where a box is drawn."""

    x: int
    y: int
    width: int
    height: int


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes and who goes into whom, by key."""

    boxes: list[Box]
    edges: list[tuple[str, str]]


def graph(model: Graph, *, label: str) -> Markup:
    """Draw it, every node right of all that go into it."""
    places = _places(model)
    width = max((place.x + place.width for place in places.values()), default=0) + 2
    height = max((place.y + place.height for place in places.values()), default=0) + 2
    edges = [_edge(places[a], places[b]) for a, b in model.edges if a in places and b in places]
    boxes = [_box(box, places[box.key]) for box in model.boxes]
    return drawing(width, height, *edges, *boxes, label=label, class_="graph", role="group")


def lines(label: str) -> list[str]:
    """A label in lines, broken where its words end if they are short enough.

    Example:
        >>> lines("late-flight@challenger")
        ['late-flight@challenger']
        >>> lines("deliveries_of_the_last_day_by_courier_and_district")
        ['deliveries_of_the_last_day_by_', 'courier_and_district']
    """
    found = [""]
    for word in _WORD.findall(label):
        for part in (word[start : start + _CHARS] for start in range(0, len(word), _CHARS)):
            if len(found[-1]) + len(part) > _CHARS:
                found.append("")
            found[-1] += part
    return found


def layers(keys: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The layer of each node: one more than the greatest of those that go into it.

    Example:
        >>> layers(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")])
        {'a': 0, 'b': 1, 'c': 2}
    """
    found = dict.fromkeys(keys, 0)
    for _ in keys:  # as many rounds as the longest path could need; a cycle just ends with them
        changed = False
        for source, target in edges:
            if source in found and target in found and found[target] < found[source] + 1 < len(keys) + 1:
                found[target] = found[source] + 1
                changed = True
        if not changed:
            break
    return _late(found, edges)


def _late(rank: dict[str, int], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Nodes nothing goes into move to just before what they go into, so that their edges are short."""
    fed = {target for _, target in edges}
    targets: dict[str, list[int]] = {}
    for source, target in edges:
        if source in rank and target in rank and source not in fed:
            targets.setdefault(source, []).append(rank[target])
    return {key: max(0, min(targets[key]) - 1) if key in targets else layer for key, layer in rank.items()}


def reduced(edges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The edges without those that only shorten a longer way.

    Example:
        >>> reduced([("a", "b"), ("b", "c"), ("a", "c")])
        [('a', 'b'), ('b', 'c')]
    """
    after: dict[str, set[str]] = {}
    for source, target in edges:
        after.setdefault(source, set()).add(target)
    return [(a, b) for a, b in edges if not any(b in _reached(c, after, {a}) for c in after[a] - {b})]


def _reached(start: str, after: Mapping[str, set[str]], seen: set[str]) -> set[str]:
    seen, queue = seen | {start}, [start]
    while queue:
        fresh = after.get(queue.pop(), set()) - seen
        seen |= fresh
        queue.extend(fresh)
    return seen


def _places(model: Graph) -> dict[str, _Place]:
    """Each layer as wide as its longest line, each row as high as its longest label."""
    rank = layers([box.key for box in model.boxes], model.edges)
    rows = _rows(model, rank)
    widths = {layer: max(_width(box) for box in model.boxes if rank[box.key] == layer) for layer in set(rank.values())}
    heights = {row: max(_height(box) for box in model.boxes if rows[box.key] == row) for row in set(rows.values())}
    lefts, tops = _starts(widths, _GAP_X), _starts(heights, _GAP_Y)
    return {
        key: _Place(lefts[rank[key]], tops[row], widths[rank[key]], heights[row]) for key, row in rows.items()
    }  # fmt: skip


def _rows(model: Graph, rank: Mapping[str, int]) -> dict[str, int]:
    """The row of each node in its layer: beside what goes into it, so that few edges cross."""
    rows: dict[str, int] = {}
    for layer in sorted(set(rank.values())):
        keys = [box.key for box in model.boxes if rank[box.key] == layer]
        keys.sort(
            key=lambda key: _mean([rows[source] for source, target in model.edges if target == key and source in rows])
        )
        rows |= {key: row for row, key in enumerate(keys)}
    return rows


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def _width(box: Box) -> int:
    return max(_LEAST_WIDTH, round(max(len(line) for line in (box.kind, *lines(box.label))) * _CHAR) + 2 * _PAD)


def _height(box: Box) -> int:
    return 26 + _LINE * len(lines(box.label))


def _starts(sizes: Mapping[int, int], gap: int) -> dict[int, int]:
    """Where each begins when they follow one another."""
    found, at = {}, 1
    for key in sorted(sizes):
        found[key] = at
        at += sizes[key] + gap
    return found


def _edge(source: _Place, target: _Place) -> Markup:
    x1, y1 = source.x + source.width, source.y + source.height // 2
    x2, y2 = target.x - 6, target.y + target.height // 2
    middle = (x1 + x2) // 2
    line = element("path", d=f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}", class_="edge")
    return element("g", line, element("path", d=f"M{x2} {y2 - 4} l6 4 l-6 4 z", class_="arrow"))


def _box(box: Box, place: _Place) -> Markup:
    parts = [
        element("rect", x=place.x, y=place.y, width=place.width, height=place.height),
        element("text", box.kind, x=place.x + _PAD, y=place.y + 15, class_="kind"),
        *(
            element("text", line, x=place.x + _PAD, y=place.y + 31 + _LINE * number)
            for number, line in enumerate(lines(box.label))
        ),
    ]
    look = "node root" if box.root else "node"
    return titled(box.title or f"{box.kind} {box.label}", *parts, href=box.href, class_=look)
