"""Every component of the pages in every state: what the style sheet is looked at with."""

from __future__ import annotations

import msgspec

from tidemill.platform import Platform
from tidemill.ui.charts.distribution import Bin
from tidemill.ui.charts.gantt import Span
from tidemill.ui.charts.graph import Box, Graph
from tidemill.ui.charts.heatmap import LEVELS, Cell
from tidemill.ui.charts.lines import Line, LineChart, Mark
from tidemill.ui.views.failure import Failure
from tidemill.ui.views.happenings import Happening
from tidemill.ui.views.loop import Station

DAY = 86_400_000_000
STATES = ("good", "attention", "broken", "running", "idle")
LONG = "a_feature_with_a_name_that_is_much_longer_than_anybody_would_like_it_to_be__mean_24h"
NUMBERS = (0, 1, 1234567, 0.5, 0.0123456, 12345.678, 1e-7, -3.25, 1e12, float("inf"), float("nan"), None, True, "text")


class PatternsPage(msgspec.Struct, frozen=True, kw_only=True):
    """The components, each with what it shows."""

    project: str
    now: int
    states: list[str]
    numbers: list[float | int | bool | str | None]
    times: list[int]
    stations: list[Station]
    entries: list[Happening]
    chart: LineChart
    heat: list[tuple[str, list[Cell | None]]]
    days: list[str]
    bins: list[Bin]
    graph: Graph
    spans: list[Span]
    spark: list[float | None]
    error: Failure


def patterns(platform: Platform) -> PatternsPage:
    """All of them."""
    now = platform.scope.now()
    return PatternsPage(
        project=platform.scope.project, now=now, states=list(STATES), numbers=list(NUMBERS),
        times=[now, now - 90_000_000, now - 5 * DAY, now - 4000 * DAY, now + 3 * DAY],
        stations=_stations(now), entries=_entries(now), chart=_chart(now), heat=_heat(),
        days=[f"day {index}" for index in range(9)], bins=_bins(), graph=_graph(), spans=_spans(now),
        spark=[1.0, 2.0, None, 1.5, 3.0, 2.5],
        error=Failure(
            code="not_found", message="There is no monitor 'wach'", known=("watch",), hint="Did you mean 'watch'?"
        ),
    )  # fmt: skip


def _stations(now: int) -> list[Station]:
    return [
        Station(name=state.capitalize(), count=1234 * index, noun="thing", detail="a detail", at=now - DAY, state=state,
                word=state, hint="tidemill apply" if state == "idle" else None)
        for index, state in enumerate((*STATES, "good"))
    ]  # fmt: skip


def _entries(now: int) -> list[Happening]:
    return [
        Happening(at=now - index * DAY, word=state, state=state, subject=LONG if index == 2 else f"model/{state}",
                  text="why it was done, in a sentence", href="/runs" if index % 2 else None)
        for index, state in enumerate(STATES)
    ]  # fmt: skip


def _chart(now: int) -> LineChart:
    times = [now - (30 - index) * DAY for index in range(30)]
    lines = [
        Line(
            name=f"line {number}",
            values=[None if index == 12 else number + (index * 7 % 11) / 10 for index in range(30)],
        )
        for number in range(5)
    ]
    marks = [Mark(at=times[10], text="v2"), Mark(at=times[20], text="alarm", kind="alarm")]
    return LineChart(title="Five lines with a gap, a limit and marks", times=times, lines=lines, unit="things",
                     limit=4.0, limit_name="budget", marks=marks)  # fmt: skip


def _heat() -> list[tuple[str, list[Cell | None]]]:
    shades: list[Cell | None] = [
        Cell(value=bound - 0.001, title=f"below {bound}", href="/_patterns") for bound in LEVELS
    ]
    more = [
        Cell(value=0.9, title="alarm", href="/_patterns", alarm=True, chosen=True),
        Cell(value=None, title="too few rows"),
        None,
    ]
    return [(LONG, [*shades, *more]), ("short", [*reversed(shades), *more])]


def _bins() -> list[Bin]:
    return [
        Bin(name="UA", reference=0.3, window=0.1, responsible=True, share_of_effect=0.5),
        Bin(name="B6", reference=0.4, window=0.4),
        Bin(name="a very long category", reference=0.3, window=0.2),
        Bin(name="not seen before", reference=0.0, window=0.3, responsible=True, share_of_effect=0.5),
    ]


def _graph() -> Graph:
    boxes = [
        Box(key="a", kind="table", label="flights@3"), Box(key="b", kind="run", label=LONG, root=True),
        Box(key="c", kind="model", label="late-flight/3", href="/runs"),
    ]  # fmt: skip
    return Graph(boxes=boxes, edges=[("a", "b"), ("b", "c")])


def _spans(now: int) -> list[Span]:
    kinds = ("finished", "cached", "running", "failed", "killed")
    return [
        Span(name=f"{kind} step", status=kind, start=now + index * 1_000_000, end=now + (index + 2) * 1_000_000,
             depth=min(index, 2))
        for index, kind in enumerate(kinds)
    ]  # fmt: skip
