"""What a run records by name: what it is called on pages, and how its value is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidemill.ui.formats import brief, duration, number, size

LONG = 160
"""Characters of a text from which on a page shows its beginning first."""


def seconds(value: float | None) -> str:
    """A length of time given in seconds.

    Example:
        >>> seconds(11.54), seconds(None)
        ('11.5 s', '–')
    """
    return duration(None if value is None else value * 1e6)


UNITS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "test_span": ("test span", duration),
    "seconds": ("wall time", seconds),
    "processor_seconds": ("processor time", seconds),
    "peak_memory_bytes": ("peak memory", size),
}
"""The names the platform itself gives to values with a unit: what each is called, and how it is written."""


def label(name: str) -> str:
    """What a recorded value is called on a page.

    Example:
        >>> label("peak_memory_bytes"), label("candidate_version")
        ('peak memory', 'candidate version')
    """
    return UNITS[name][0] if name in UNITS else name.replace("_", " ")


def written(name: str, value: Any) -> str:
    """A recorded value as it is written on a page; what belongs together is written in one line.

    Example:
        >>> written("test_span", 2_419_200_000_000), written("rows", 6073), written("best", {"depth": 6, "rate": 0.25})
        ('28 d', '6,073', 'depth 6, rate 0.2500')
    """
    if name in UNITS and isinstance(value, int | float):
        return UNITS[name][1](value)
    if isinstance(value, dict):
        return ", ".join(f"{label(key)} {written(key, item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(written("", item) for item in value)
    return brief(value) if isinstance(value, str) else number(value)
