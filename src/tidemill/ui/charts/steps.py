"""A metric over the steps of a run."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tidemill.ui.charts.scales import extent, linear, ticks
from tidemill.ui.charts.svg import drawing, element
from tidemill.ui.formats import tick

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 8, 20


def step_chart(
    steps: Sequence[int], values: Sequence[float | None], name: str, *, width: int = 480, height: int = 150
) -> Markup:
    """Draw it.

    Args:
        steps: Ascending.
        values: One per step, None where there is none.
        name: Of the metric.
        width: Pixels.
        height: Pixels.
    """
    low, high = extent(values)
    across = linear(steps[0], steps[-1], _LEFT, width - _RIGHT)
    down = linear(low, high, height - _BOTTOM, _TOP)
    parts = [
        part
        for value in ticks(low, high, 4)
        for part in (
            element("line", x1=_LEFT, x2=width - _RIGHT, y1=down(value), y2=down(value), class_="grid"),
            element("text", tick(value), x=_LEFT - 6, y=down(value) + 4, text_anchor="end", class_="axis"),
        )
    ]
    parts += [
        element("text", tick(step), x=across(step), y=height - 5, text_anchor="middle", class_="axis")
        for step in ticks(steps[0], steps[-1], 5)
        if step == int(step)
    ]
    places = [
        f"{across(step):.1f} {down(value):.1f}" for step, value in zip(steps, values, strict=True) if value is not None
    ]
    parts.append(element("path", element("title", name), d="M" + " L".join(places), class_="line s0"))
    return drawing(width, height, *parts, label=f"{name} by step", class_="lines")
