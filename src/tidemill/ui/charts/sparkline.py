"""A line the size of a word."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tidemill.ui.charts.scales import extent, linear
from tidemill.ui.charts.svg import drawing, element
from tidemill.ui.formats import number

_WIDTH, _HEIGHT = 96, 20


def sparkline(values: Sequence[float | None], *, label: str) -> Markup:
    """Draw the values in their order; the last one is marked.

    Args:
        values: None leaves a gap.
        label: What it shows; the last value is added.
    """
    low, high = extent(values, pad=0)
    across = linear(0, max(len(values) - 1, 1), 2, _WIDTH - 4)
    down = linear(low, high, _HEIGHT - 3, 3)
    places = [(across(index), down(value)) for index, value in enumerate(values) if value is not None]
    if not places:
        return drawing(_WIDTH, _HEIGHT, label=f"{label}: nothing yet", class_="sparkline")
    path = " ".join(f"{'M' if index == 0 else 'L'}{x:.1f} {y:.1f}" for index, (x, y) in enumerate(places))
    last = next(value for value in reversed(values) if value is not None)
    return drawing(
        _WIDTH, _HEIGHT, element("path", d=path, class_="line s0"),
        element("circle", cx=places[-1][0], cy=places[-1][1], r=2, class_="point s0"),
        label=f"{label}: {number(last)} at last", class_="sparkline",
    )  # fmt: skip
