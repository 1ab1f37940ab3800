"""Lines over time: what the script-drawn chart shows, without scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from tidemill.ui.charts.scales import Scale, extent, linear, ticks
from tidemill.ui.charts.svg import drawing, element, titled
from tidemill.ui.formats import day, number, tick

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 18, 20
_LABEL = 66
"""Width of a day's label."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line: a value per time, None where there is none."""

    name: str
    values: list[float | None]
    points: bool = False


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A moment worth naming, such as a new champion."""

    at: int
    text: str
    kind: str = "mark"
    """`mark` or `alarm`."""


class LineChart(msgspec.Struct, frozen=True, kw_only=True):
    """Lines over common times, with what they are to be held against.

    Attributes:
        title: What it shows.
        times: Microseconds UTC, ascending.
        lines: The lines.
        unit: Of the values.
        limit: A level to compare with; `limit_name` says which.
        marks: Moments.
        low: Least value of the axis; `high` its greatest. From the values when absent.
    """

    title: str
    times: list[int]
    lines: list[Line]
    unit: str = ""
    limit: float | None = None
    limit_name: str = ""
    marks: list[Mark] = msgspec.field(default_factory=list)
    low: float | None = None
    high: float | None = None


def line_chart(chart: LineChart, *, width: int = 1120, height: int = 180) -> Markup:
    """Draw it."""
    low, high = _bounds(chart)
    times = chart.times or [0]
    across = linear(times[0], times[-1], _LEFT, width - _RIGHT)
    down = linear(low, high, height - _BOTTOM, _TOP)
    parts = [*_grid(low, high, down, width), *_days(times, across, height), *_limit(chart, down, width)]
    parts += [_mark(mark, across(mark.at), height) for mark in chart.marks if times[0] <= mark.at <= times[-1]]
    for index, line in enumerate(chart.lines):
        parts += _line(line, index, times, across, down)
    return drawing(width, height, *parts, label=chart.title, class_="lines")


def _bounds(chart: LineChart) -> tuple[float, float]:
    values = [value for line in chart.lines for value in line.values]
    low, high = extent(values, include=[] if chart.limit is None else [chart.limit])
    return (low if chart.low is None else chart.low), (high if chart.high is None else chart.high)


def _grid(low: float, high: float, down: Scale, width: int) -> list[Markup]:
    found: list[Markup] = []
    for value in ticks(low, high, 4):
        y = down(value)
        found.append(element("line", x1=_LEFT, x2=width - _RIGHT, y1=y, y2=y, class_="grid"))
        found.append(element("text", tick(value), x=_LEFT - 6, y=y + 4, text_anchor="end", class_="axis"))
    return found


def _days(times: Sequence[int], across: Scale, height: int) -> list[Markup]:
    """Labels of days, none of which touches the next: the last is written to the left of its day if there is no room."""
    right = across(times[-1])
    found: list[Markup] = []
    taken = -math.inf
    for at in times:
        x = across(at)
        if x - taken >= 2 * _LABEL:
            taken = x
            anchor = "end" if found and x + _LABEL > right else "start"
            found.append(element("text", day(at), x=x, y=height - 5, class_="axis", text_anchor=anchor))
    return found


def _limit(chart: LineChart, down: Scale, width: int) -> list[Markup]:
    if chart.limit is None:
        return []
    y = down(chart.limit)
    return [
        element("line", x1=_LEFT, x2=width - _RIGHT, y1=y, y2=y, class_="limit"),
        element("text", chart.limit_name, x=width - _RIGHT, y=y - 4, text_anchor="end", class_="limit-name"),
    ]


def _mark(mark: Mark, x: float, height: int) -> Markup:
    line = element("line", x1=x, x2=x, y1=_TOP, y2=height - _BOTTOM, class_=mark.kind)
    return titled(f"{mark.text}, {day(mark.at)}", line, element("text", mark.text, x=x + 3, y=12, class_="mark-name"))


def _line(line: Line, index: int, times: Sequence[int], across: Scale, down: Scale) -> list[Markup]:
    places = [
        (across(at), None if value is None else down(value)) for at, value in zip(times, line.values, strict=True)
    ]
    parts = [element("path", element("title", line.name), d=_path(places), class_=f"line s{index % 5}")]
    if line.points:
        parts += [
            element(
                "circle", element("title", f"{day(at)}: {number(value)}"), cx=x, cy=y, r=2, class_=f"point s{index % 5}"
            )
            for (x, y), at, value in zip(places, times, line.values, strict=True)
            if y is not None
        ]
    return parts


def _path(places: Sequence[tuple[float, float | None]]) -> str:
    steps: list[str] = []
    pen = "M"
    for x, y in places:
        if y is None:
            pen = "M"  # a gap in the values is a gap in the line
            continue
        steps.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    return " ".join(steps) or "M0 0"
