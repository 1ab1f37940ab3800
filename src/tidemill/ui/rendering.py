"""From what a page shows to HTML."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from tidemill.core.times import format_time
from tidemill.ui import facts, formats
from tidemill.ui.charts.distribution import distribution
from tidemill.ui.charts.gantt import gantt
from tidemill.ui.charts.graph import graph
from tidemill.ui.charts.heatmap import LEVELS, heatmap
from tidemill.ui.charts.lines import line_chart
from tidemill.ui.charts.sparkline import sparkline
from tidemill.ui.charts.steps import step_chart
from tidemill.ui.charts.svg import element

TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"

STATIONS = (
    ("Overview", "/"),
    ("Features", "/features"),
    ("Runs", "/runs"),
    ("Endpoints", "/endpoints"),
    ("Monitoring", "/monitoring"),
)  # fmt: skip
"""The left rail: the stations that have a page, in the order of the loop."""


@cache
def environment() -> Environment:
    """Templates with what they may call; a misspelled name is an error."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    env.filters.update(
        number=number, share=formats.share, size=formats.size, duration=formats.duration, day=formats.day,
        short=formats.short_id, exact=formats.exact, brief=formats.brief, json=_json,
    )  # fmt: skip
    env.globals.update(
        stations=STATIONS, count_of=formats.count_of, sparkline=sparkline, heatmap=heatmap, line_chart=line_chart,
        distribution=distribution, heat_levels=LEVELS, nothing=formats.NOTHING, gantt=gantt, graph=graph, step_chart=step_chart,
        label_of=facts.label, written=facts.written, long_text=facts.LONG,
    )  # fmt: skip
    return env


def render(template: str, page: Any, *, path: str, **more: Any) -> str:
    """A page, or a part of one, as HTML.

    Args:
        template: Name of the template.
        page: What it shows; its `now` is the platform's clock.
        path: The page's address, to mark it in the rail.
        more: What else the template needs.
    """
    now = page.now

    def when(micros: int | None) -> Markup:
        return moment(micros, now)

    return environment().get_template(template).render(page=page, when=when, path=path, **more)


def moment(micros: int | None, now: int) -> Markup:
    """A time against the platform's clock, the exact one when hovered.

    Example:
        >>> moment(0, 60_000_000)
        Markup('<time datetime="1970-01-01T00:00:00Z" title="1970-01-01 00:00:00 UTC">1 minute ago</time>')
    """
    if micros is None:
        return Markup(formats.NOTHING)
    return element("time", formats.relative(micros, now), datetime=format_time(micros), title=formats.exact(micros))


def number(value: Any) -> Markup | str:
    """A number as it is written, its exact value when hovered."""
    text = formats.number(value)
    if isinstance(value, float) and text not in (formats.NOTHING, repr(value)):
        return element("span", text, title=repr(value))
    return text


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
