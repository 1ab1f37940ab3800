"""When the parts of something ran, one bar each."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from tidemill.ui.charts.scales import linear
from tidemill.ui.charts.svg import drawing, element, titled
from tidemill.ui.formats import duration

_ROW, _RIGHT, _INDENT = 20, 84, 12
_CHAR, _MOST_CHARS = 6.4, 64
"""Pixels of a character of a name, and how many of a name are shown."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One part: from when to when, in microseconds, and how it ended."""

    name: str
    status: str
    start: int
    end: int
    depth: int = 0
    href: str | None = None


def gantt(spans: Sequence[Span], *, label: str, width: int = 960) -> Markup:
    """Draw the parts in their order."""
    left = max((_length(one) for one in spans), default=0.0) + 12
    begin = min((one.start for one in spans), default=0)
    last = max((one.end for one in spans), default=1)
    across = linear(begin, max(last, begin + 1), left, width - _RIGHT)
    parts = []
    for index, one in enumerate(spans):
        y, x = index * _ROW, across(one.start)
        size = max(across(one.end) - x, 2.0)
        name = element("text", _short(one), x=one.depth * _INDENT, y=y + 14)
        bar = element("rect", x=x, y=y + 4, width=size, height=_ROW - 8, class_=one.status)
        took = element("text", duration(one.end - one.start), x=x + size + 6, y=y + 14, class_="axis")
        parts.append(
            titled(f"{one.name}: {one.status}, {duration(one.end - one.start)}", name, bar, took, href=one.href)
        )
    return drawing(width, max(len(spans), 1) * _ROW, *parts, label=label, class_="gantt", role="group")


def _short(one: Span) -> str:
    return one.name if len(one.name) <= _MOST_CHARS else f"{one.name[: _MOST_CHARS - 1]}…"


def _length(one: Span) -> float:
    return one.depth * _INDENT + len(_short(one)) * _CHAR
