"""The charts of a monitor: evidence against its budget, the heat map, performance with the versions in service."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from tidemill.ui.charts.heatmap import Cell
from tidemill.ui.charts.lines import Line, LineChart, Mark
from tidemill.ui.formats import day, number
from tidemill.ui.views.monitor_data import Definition, Series, number_of, version_of

EVIDENCE = "evidence"
NOT_PERFORMANCE = ("rows", "positive_rate", "label_coverage")
KNOWN_METRICS = (
    "roc_auc", "log_loss", "gap", "rmse", "mae", "r2", "accuracy", "brier", "f1",
)  # fmt: skip
"""The order in which metrics are shown; others follow by name."""
MOST_METRICS = 4

Href = Callable[[str], str]
"""The address of a feature; a window is added to it."""


class HeatMap(msgspec.Struct, frozen=True, kw_only=True):
    """Features by windows, the strongest first."""

    series: str
    columns: list[str]
    rows: list[tuple[str, list[Cell | None]]]


def heat_map(series: Series, name: str, href: Href, chosen: tuple[str, int] | None) -> HeatMap:
    """Lay out the effect sizes of one series."""
    features = sorted(series.features(name), key=lambda feature: _strength(series, name, feature))
    rows = [(feature, _cells(series, name, feature, href(feature), chosen)) for feature in features]
    return HeatMap(series=name, columns=[day(start) for start in series.starts], rows=rows)


def _strength(series: Series, name: str, feature: str) -> tuple[bool, float]:
    values = [value for value in series.values(name, feature) if value is not None]
    return feature != "prediction", -(sum(values) / len(values) if values else 0)


def _cells(series: Series, name: str, feature: str, address: str, chosen: tuple[str, int] | None) -> list[Cell | None]:
    measured, evidence = series.of(name, feature), series.of(EVIDENCE, feature)
    found: list[Cell | None] = []
    for start in series.starts:
        one, weighed = measured.get(start), evidence.get(start)
        alarm = weighed is not None and weighed.alarm
        title = f"{feature}, {day(start)}: {_said(name, number_of(one))}{', alarm' if alarm else ''}"
        href = f"{address}&window={start}#distribution"
        cell = Cell(value=number_of(one), alarm=alarm, title=title, href=href, chosen=chosen == (feature, start))
        found.append(None if one is None else cell)
    return found


def _said(name: str, value: float | None) -> str:
    return "too few rows to say" if value is None else f"{name} {number(value)}"


def evidence_chart(series: Series, definition: Definition) -> LineChart | None:
    """The evidence of each test over the windows, as a power of ten, with the level that spends the budget."""
    names = [name for name in series.names() if EVIDENCE in name and any(v is not None for v in series.values(name))]
    if not names:
        return None
    lines = [Line(name=_evidence_name(name), values=series.values(name)) for name in names]
    marks = [*alarm_marks(series, "drift"), *alarm_marks(series, "performance")]
    limit = math.log10(definition.limit)
    return LineChart(
        title="Evidence against the budget", times=series.starts, lines=lines, unit="log10", limit=limit,
        limit_name=f"budget: {definition.false_alarms}", marks=marks, low=_floor(lines),
    )  # fmt: skip


def _evidence_name(name: str) -> str:
    return "drift" if name == EVIDENCE else name.replace(EVIDENCE, "").strip("_") or name


def _floor(lines: list[Line]) -> float:
    # Evidence near nothing goes far below one; what matters is how near it is to the budget.
    return max(-2.0, min((value for line in lines for value in line.values if value is not None), default=-1.0) - 0.1)


def performance_charts(series: Series) -> list[LineChart]:
    """One chart per metric, the moments when another version took over marked."""
    marks = [*version_marks(series), *alarm_marks(series, "performance")]
    return [
        LineChart(title=name, times=series.starts, lines=[_line(series, name)], marks=marks)
        for name in metric_names(series)[:MOST_METRICS]
    ]


def metric_names(series: Series) -> list[str]:
    """The series that say how good the model is."""
    metrics = [name for name in series.names() if EVIDENCE not in name and name not in NOT_PERFORMANCE]
    useful = [name for name in metrics if any(value is not None for value in series.values(name))]
    return sorted(useful, key=lambda name: (KNOWN_METRICS.index(name) if name in KNOWN_METRICS else 99, name))


def _line(series: Series, name: str) -> Line:
    return Line(name=name, values=series.values(name), points=True)


def version_marks(series: Series) -> list[Mark]:
    """When another model version answered most of the rows."""
    marks: list[Mark] = []
    before: str | None = None
    for window in series.windows:
        version = version_of(window)
        if version is not None and version != before:
            marks.append(Mark(at=window.start_at, text=f"v{version}"))
            before = version
    return marks


def alarm_marks(series: Series, kind: str) -> list[Mark]:
    """The windows that gave alarm about `drift` or `performance`."""
    return [
        Mark(at=window.start_at, text=f"{kind} alarm", kind="alarm")
        for window in series.windows
        if any(alarm.get("kind") == kind for alarm in window.detail.get("alarms") or ())
    ]


def coverage_chart(series: Series) -> LineChart | None:
    """Which share of each window's rows has a label."""
    values = [window.labelled / window.rows if window.rows else None for window in series.windows]
    if not any(values):
        return None
    return LineChart(
        title="label coverage",
        times=series.starts,
        lines=[Line(name="labelled", values=list(values))],
        low=0.0,
        high=1.0,
    )
