"""The heat map: features by windows, the effect size as shade, a dot where evidence fired."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from tidemill.ui.charts.svg import drawing, element, titled

LEVELS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
"""Where one shade ends and the next begins: Jensen-Shannon distances people use as small, medium and large."""

_ROW, _TOP, _CHAR = 16, 22, 6.6
_MAX_LABEL = 30


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One feature in one window.

    Attributes:
        value: Effect size; None where the window had too few rows to say.
        alarm: Whether evidence fired here.
        title: What it says when hovered.
        href: Where a click leads.
        chosen: Whether it is the one shown below.
    """

    value: float | None
    title: str
    href: str | None = None
    alarm: bool = False
    chosen: bool = False


def level(value: float) -> int:
    """The shade of an effect size, 0 to 6.

    Example:
        >>> level(0.01), level(0.12), level(0.9)
        (0, 3, 6)
    """
    return sum(value >= bound for bound in LEVELS)


def heatmap(
    rows: Sequence[tuple[str, Sequence[Cell | None]]], columns: Sequence[str], *, label: str, width: int = 1120
) -> Markup:
    """Draw it.

    Args:
        rows: Name and cells of each feature, in the order of the columns; None where nothing was measured.
        columns: What each window is called, oldest first.
        label: What it shows, for those who cannot see it.
        width: Pixels.
    """
    left = min(max((len(name) for name, _ in rows), default=0), _MAX_LABEL) * _CHAR + 12
    step = min(24.0, (width - left) / max(len(columns), 1))
    height = _TOP + _ROW * len(rows) + 4
    parts = [*_column_names(columns, left, step)]
    for index, (name, cells) in enumerate(rows):
        y = _TOP + index * _ROW
        parts.append(_row_name(name, left, y))
        parts += [
            _cell(cell, left + column * step, y, step, (index, column))
            for column, cell in enumerate(cells)
            if cell is not None
        ]
    return drawing(left + step * len(columns) + 2, height, *parts, label=label, class_="heatmap", role="group")


def _row_name(name: str, left: float, y: float) -> Markup:
    shown = name if len(name) <= _MAX_LABEL else f"{name[: _MAX_LABEL - 1]}…"
    text = element("text", shown, x=left - 8, y=y + _ROW - 4.5, class_="row-name", text_anchor="end")
    return titled(name, text)


def _column_names(columns: Sequence[str], left: float, step: float) -> list[Markup]:
    every = max(1, round(84 / step))
    return [
        element("text", name, x=left + index * step, y=14, class_="axis")
        for index, name in enumerate(columns)
        if index % every == 0 and (index + 1) * step + 56 <= step * len(columns)
    ]


def _cell(cell: Cell, x: float, y: float, step: float, place: tuple[int, int]) -> Markup:
    width = max(step - (1 if step > 5 else 0), 1.0)
    shade = "none" if cell.value is None else f"h{level(cell.value)}"
    chosen = " chosen" if cell.chosen else ""
    parts = [element("rect", x=x, y=y, width=width, height=_ROW - 1, class_=f"cell {shade}{chosen}")]
    if cell.alarm:
        parts.append(element("circle", cx=x + width / 2, cy=y + (_ROW - 1) / 2, r=min(3.0, step / 3), class_="alarm"))
    # The script turns the cells into one stop of the tab key, with arrows between them.
    return titled(
        cell.title, *parts, href=cell.href, class_=f"cell-link{chosen}", data_row=place[0], data_column=place[1]
    )
