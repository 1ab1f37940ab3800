"""Timing, and what was measured."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One figure of one subject.

    Args:
        case: What is measured, such as "point-in-time join".
        subject: Who does it; the first subject of a case is its baseline.
        value: The median.
        unit: Of the value; `.../s` means that more is better.
        spread: Smallest and largest repetition.
        note: What a reader has to know.
    """

    case: str
    subject: str
    value: float
    unit: str
    spread: tuple[float, float]
    note: str = ""


@dataclass(frozen=True)
class Size:
    """How much to do: everything, or just enough to see that it works."""

    share: float = 1.0

    def of(self, count: int, least: int = 20) -> int:
        """So many of `count`."""
        return max(int(count * self.share), least)

    @property
    def repetitions(self) -> int:
        return 5 if self.share == 1.0 else 1


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one call."""
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(subjects: dict[str, Callable[[], Any]], repetitions: int) -> dict[str, list[float]]:
    """Seconds of every subject, taken in turns, so that a busy moment of the machine meets all of them. One round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(repetitions + 1):
        for name, work in subjects.items():
            taken = timed(work)
            if number:
                seconds[name].append(taken)
    return seconds


def row(case: str, subject: str, values: Sequence[float], unit: str, note: str = "") -> Row:
    """The row of some repetitions."""
    return Row(case, subject, statistics.median(values), unit, (min(values), max(values)), note)


def durations(
    case: str, subjects: dict[str, Callable[[], Any]], size: Size, *, per: int = 1, unit: str = "ms"
) -> list[Row]:
    """Milliseconds (or microseconds) of each subject for one of `per` things a call does."""
    factor = {"s": 1.0, "ms": 1e3, "us": 1e6}[unit] / per
    seconds = in_turns(subjects, size.repetitions)
    return [row(case, name, [one * factor for one in taken], unit) for name, taken in seconds.items()]


def medians(case: str, subjects: dict[str, Callable[[T], object]], asked: Sequence[T], size: Size) -> list[Row]:
    """Microseconds of the median call of each subject (p50), one call with each of `asked`; subjects in turns."""
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(size.repetitions + 1):
        for name, call in subjects.items():
            gc.collect()
            taken = statistics.median(_each(call, asked))
            if number:
                found[name].append(taken)
    return [row(case, name, values, "us") for name, values in found.items()]


def _each(call: Callable[[T], object], asked: Sequence[T]) -> list[float]:
    taken = []
    for one in asked:
        began = time.perf_counter()
        call(one)
        taken.append((time.perf_counter() - began) * 1e6)
    return taken


def peer(name: str) -> Path | None:
    """The Python of a peer's environment, `$PEERS_HOME/NAME`, if it is installed."""
    python = Path(os.environ.get("PEERS_HOME", "~/.peers")).expanduser() / name / "bin" / "python"
    return python if python.exists() else None
