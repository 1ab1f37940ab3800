"""A directed graph in layers from left to right: lineage, and what happens to a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from markupsafe import Markup

from tidemill.ui.charts.svg import drawing, element, titled

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _CHARS = 130, 40, 20, 12, 18


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """A node: `kind` above `label`; `title` when hovered; a link when `href` is given."""

    key: str
    kind: str
    label: str
    title: str = ""
    href: str | None = None
    root: bool = False


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes and who goes into whom, by key."""

    boxes: list[Box]
    edges: list[tuple[str, str]]


def graph(model: Graph, *, label: str) -> Markup:
    """Draw it, every node right of all that go into it."""
    places = _places(model)
    width = max((x for x, _ in places.values()), default=0) + _WIDTH + 2
    height = max((y for _, y in places.values()), default=0) + _HEIGHT + 2
    edges = [_edge(places[a], places[b]) for a, b in model.edges if a in places and b in places]
    boxes = [_box(box, *places[box.key]) for box in model.boxes]
    return drawing(width, height, *edges, *boxes, label=label, class_="graph", role="group")


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


def _places(model: Graph) -> Mapping[str, tuple[int, int]]:
    rank = layers([box.key for box in model.boxes], model.edges)
    order = {layer: index for index, layer in enumerate(sorted(set(rank.values())))}
    rows: dict[str, int] = {}
    for layer in order:
        keys = [box.key for box in model.boxes if rank[box.key] == layer]
        # Beside what goes into it, so that few edges cross.
        keys.sort(
            key=lambda key: _mean([rows[source] for source, target in model.edges if target == key and source in rows])
        )
        rows |= {key: row for row, key in enumerate(keys)}
    return {key: (1 + order[rank[key]] * (_WIDTH + _GAP_X), 1 + row * (_HEIGHT + _GAP_Y)) for key, row in rows.items()}


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def _edge(source: tuple[int, int], target: tuple[int, int]) -> Markup:
    x1, y1 = source[0] + _WIDTH, source[1] + _HEIGHT // 2
    x2, y2 = target[0] - 6, target[1] + _HEIGHT // 2
    middle = (x1 + x2) // 2
    line = element("path", d=f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}", class_="edge")
    return element("g", line, element("path", d=f"M{x2} {y2 - 4} l6 4 l-6 4 z", class_="arrow"))


def _box(box: Box, x: int, y: int) -> Markup:
    shown = box.label if len(box.label) <= _CHARS else f"{box.label[: _CHARS - 1]}…"
    parts = [
        element("rect", x=x, y=y, width=_WIDTH, height=_HEIGHT),
        element("text", box.kind, x=x + 8, y=y + 15, class_="kind"),
        element("text", shown, x=x + 8, y=y + 31),
    ]
    look = "node root" if box.root else "node"
    return titled(box.title or f"{box.kind} {box.label}", *parts, href=box.href, class_=look)
