"""Two distributions over the same cells, side by side, the cells that differ most in words and colour."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from tidemill.ui.charts.scales import Scale, linear, ticks
from tidemill.ui.charts.svg import drawing, element, titled
from tidemill.ui.formats import share

_LEFT, _TOP, _BOTTOM = 44, 8, 22


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """One cell: the share of the reference's rows and of the window's in it.

    Attributes:
        name: What falls into it.
        reference: Share of the reference, 0 to 1.
        window: Share of the window.
        share_of_effect: How much of the whole difference is in this cell, 0 to 1.
        responsible: Whether it is one of those that make up most of the difference.
    """

    name: str
    reference: float
    window: float
    share_of_effect: float = 0.0
    responsible: bool = False
    edge: str | None = None
    """Where the cell ends; None for a category, which has its name below it."""


def distribution(bins: Sequence[Bin], *, label: str, width: int = 720, height: int = 200) -> Markup:
    """Draw it."""
    top = max((max(one.reference, one.window) for one in bins), default=1.0) or 1.0
    down = linear(0, top, height - _BOTTOM, _TOP)
    step = (width - _LEFT) / max(len(bins), 1)
    parts = _grid(top, down, width)
    for index, one in enumerate(bins):
        parts.append(_bars(one, _LEFT + index * step, step, down, height - _BOTTOM))
    return drawing(width, height, *parts, label=label, class_="distribution", role="group")


def _grid(top: float, down: Scale, width: int) -> list[Markup]:
    found: list[Markup] = []
    for value in ticks(0, top, 3):
        y = down(value)
        found.append(element("line", x1=_LEFT, x2=width, y1=y, y2=y, class_="grid"))
        found.append(element("text", share(value), x=_LEFT - 6, y=y + 4, text_anchor="end", class_="axis"))
    return found


def _bars(one: Bin, x: float, step: float, down: Scale, floor: float) -> Markup:
    width = max(step / 2 - 2, 1.0)
    look = " responsible" if one.responsible else ""
    bars = [
        element("rect", x=x + 1, y=down(one.reference), width=width, height=floor - down(one.reference), class_="reference"),
        element("rect", x=x + 1 + width, y=down(one.window), width=width, height=floor - down(one.window),
                class_=f"window{look}"),
    ]  # fmt: skip
    return titled(
        f"{one.name}: {share(one.reference)} before, {share(one.window)} now", *bars, _name(one, x, step, floor)
    )


def _name(one: Bin, x: float, step: float, floor: float) -> Markup:
    if one.edge is not None:
        return element("text", one.edge, x=x + step, y=floor + 14, text_anchor="middle", class_="axis")
    room = max(int(step / 7.5), 2)
    shown = one.name if len(one.name) <= room else f"{one.name[: room - 1]}…"
    look = "axis responsible" if one.responsible else "axis"
    return element("text", shown, x=x + step / 2, y=floor + 14, text_anchor="middle", class_=look)
