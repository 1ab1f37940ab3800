"""What the records say about one monitor: its windows and series, laid out by window."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tidemill.core.errors import unknown
from tidemill.core.records.events import DefinitionVersion
from tidemill.core.records.monitoring import Measurement, MonitorWindow
from tidemill.stores.metadata.protocol import Reader

EFFECTS = ("effect", "js", "psi", "hellinger", "ks", "missing", "unseen", "out_of_range")
"""Series that can shade the heat map, the first by default."""

DAY = 86_400_000_000
_BUDGET = re.compile(r"(\d+(?:\.\d+)?) per (day|week|month|year)")
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A monitor as it was defined.

    Attributes:
        name: Its name.
        endpoint: What it watches.
        label: Where the truth comes from, null without.
        every: Length of a window in microseconds.
        false_alarms: The budget in words.
        limit: Evidence (a ratio) beyond which it alarms.
        effect: The smallest effect size that may alarm.
        tolerance: How far performance may fall before it alarms.
        actions: What it does on an alarm, in words.
    """

    name: str
    endpoint: str
    label: str | None
    every: int
    false_alarms: str
    limit: float
    effect: float | None
    tolerance: float | None
    actions: list[str]


def definitions(reader: Reader, project: str) -> dict[str, Definition]:
    """The monitors of a project by name: those in force, and those that left windows behind."""
    where = {"project": project, "kind": "monitor"}
    found: dict[str, Definition] = {}
    for one in reader.find(DefinitionVersion, where, order=["name", "version"]):
        found[one.name] = _definition(one.name, one.body)
    return found


def definition(reader: Reader, project: str, name: str) -> Definition:
    """One monitor.

    Raises:
        NotFound: There is none of that name.
    """
    known = definitions(reader, project)
    if name not in known:
        raise unknown("monitor", name, known)
    return known[name]


def _definition(name: str, body: dict[str, Any]) -> Definition:
    every, budget = int(body.get("every") or DAY), str(body.get("false_alarms") or "1 per month")
    return Definition(
        name=name, endpoint=str(body.get("graph") or ""), label=body.get("label"), every=every, false_alarms=budget,
        limit=windows_per_false_alarm(budget, every), effect=body.get("effect"), tolerance=body.get("tolerance"),
        actions=[_action(one) for one in body.get("on_alarm") or ()],
    )  # fmt: skip


def windows_per_false_alarm(budget: str, every: int) -> float:
    """How many windows one false alarm may take: the evidence at which to alarm.

    Example:
        >>> windows_per_false_alarm("1 per month", DAY)
        30.0
    """
    match = _BUDGET.fullmatch(budget)
    per_day = float(match[1]) / _DAYS[match[2]] if match else 1 / 30
    return max(1.0, DAY / every / per_day)


def _action(described: Sequence[Any]) -> str:
    kind, *rest = described
    return " ".join([str(kind), str(rest[0])]) if rest else str(kind)


class Series:
    """Windows in order, and what was measured in them.

    Args:
        windows: Oldest first.
        measured: Their measurements, each once.
    """

    def __init__(self, windows: Sequence[MonitorWindow], measured: Iterable[Measurement]) -> None:
        self.windows = list(windows)
        self.starts = [window.start_at for window in self.windows]
        self._measured: dict[str, dict[str, dict[int, Measurement]]] = {}
        for one in measured:
            self._measured.setdefault(one.series, {}).setdefault(one.feature, {})[one.start_at] = one

    def of(self, series: str, feature: str = "") -> Mapping[int, Measurement]:
        """The measurements of one series by the start of their window."""
        return self._measured.get(series, {}).get(feature, {})

    def values(self, series: str, feature: str = "") -> list[float | None]:
        """One series over all windows, None where there is no number."""
        found = self.of(series, feature)
        return [number_of(found.get(start)) for start in self.starts]

    def names(self) -> list[str]:
        """The series of whole windows."""
        return sorted(name for name, features in self._measured.items() if "" in features)

    def features(self, series: str) -> list[str]:
        """The features a series was measured for."""
        return [feature for feature in self._measured.get(series, {}) if feature]


def number_of(measured: Measurement | None) -> float | None:
    """The number of a measurement, None where there is none."""
    return None if measured is None or measured.value is None or not math.isfinite(measured.value) else measured.value


def read_windows(reader: Reader, project: str, monitor: str, *, most: int) -> list[MonitorWindow]:
    """The newest windows, oldest first."""
    where = {"project": project, "monitor": monitor}
    return reader.find(MonitorWindow, where, order=["-start_at"], limit=most)[::-1]


def read_series(
    reader: Reader, project: str, monitor: str, windows: Sequence[MonitorWindow], names: Sequence[str] = ()
) -> Series:
    """What was measured in some windows: every series of whole windows, and the named ones of features.

    Args:
        reader: Where from.
        project: Whose.
        monitor: Which.
        windows: Oldest first.
        names: Series of features to read as well; all of them would be many rows.
    """
    if not windows:
        return Series([], [])
    asked = {"project": project, "monitor": monitor, "start_at": (">=", windows[0].start_at)}
    found = reader.find(Measurement, {**asked, "feature": ""})
    if names:
        found += reader.find(Measurement, {**asked, "series": list(names), "feature": ("!=", "")})
    return Series(windows, found)


def version_of(window: MonitorWindow) -> str | None:
    """The model version a window is held against: the newest that answered, else the one that answered most."""
    if window.detail.get("version") is not None:
        return str(window.detail["version"])
    counts = {version: rows for version, rows in window.models.items() if isinstance(rows, int | float)}
    return max(counts, key=lambda version: counts[version]) if counts else None
