"""Monitoring: is the model still right, and if not, which input moved?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec

from tidemill.core.errors import InvalidArgument
from tidemill.core.records.alerting import Alert, Decision
from tidemill.core.records.monitoring import Measurement, MonitorWindow
from tidemill.core.records.serving import Endpoint
from tidemill.core.uris import parse_model_uri
from tidemill.platform import Platform
from tidemill.stores.metadata.protocol import Reader
from tidemill.ui.charts.lines import LineChart
from tidemill.ui.views.drift_detail import DriftDetail, drift_detail
from tidemill.ui.views.happenings import Happening, of_decision
from tidemill.ui.views.monitor_charts import (
    EVIDENCE,
    HeatMap,
    coverage_chart,
    evidence_chart,
    heat_map,
    metric_names,
    performance_charts,
)
from tidemill.ui.views.monitor_data import (
    EFFECTS,
    Definition,
    definition,
    definitions,
    read_series,
    read_windows,
    version_of,
)

RANGES = {"30": 30, "90": 90, "all": 400}
"""How many windows to show; never more than fit on a screen."""
DEFAULT_RANGE = "90"
RECENT_WINDOWS = 30
MOST_DECISIONS = 50


class MonitorRow(msgspec.Struct, frozen=True, kw_only=True):
    """A monitor in the list.

    Attributes:
        evidence: Latest evidence of drift as a share of what alarms, in powers of ten; an alarm needs 1 or more.
        metric: The name of the metric in `metrics`.
        metrics: That metric in the latest windows, oldest first.
    """

    definition: Definition
    windows: int
    last: MonitorWindow | None
    version: str | None
    firing: int
    evidence: float | None
    metric: str | None
    metrics: list[float | None]


class MonitoringPage(msgspec.Struct, frozen=True, kw_only=True):
    """All monitors."""

    project: str
    now: int
    monitors: list[MonitorRow]


class MonitorNow(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a monitor's page that is replaced while one looks at it."""

    project: str
    now: int
    definition: Definition
    range: str
    windows: int
    last: MonitorWindow | None
    version: str | None
    firing: list[Alert]


class MonitorPage(MonitorNow, frozen=True, kw_only=True):
    """One monitor."""

    effect: str
    effects: list[str]
    evidence: LineChart | None
    heat: HeatMap
    detail: DriftDetail | None
    performance: list[LineChart]
    coverage: LineChart | None
    decisions: list[Happening]


def monitoring(platform: Platform) -> MonitoringPage:
    """Read the list."""
    project = platform.scope.project
    with platform.metadata.read() as reader:
        rows = [_row(reader, project, one) for one in definitions(reader, project).values()]
    return MonitoringPage(project=project, now=platform.scope.now(), monitors=rows)


def _row(reader: Reader, project: str, found: Definition) -> MonitorRow:
    series = read_series(reader, project, found.name, read_windows(reader, project, found.name, most=RECENT_WINDOWS))
    metrics = metric_names(series)
    last = series.windows[-1] if series.windows else None
    latest = [value for value in series.values(EVIDENCE) if value is not None][-1:]
    return MonitorRow(
        definition=found, windows=reader.count(MonitorWindow, {"project": project, "monitor": found.name}), last=last,
        version=version_of(last) if last else None, firing=len(_firing(reader, project, found.name)),
        evidence=latest[0] / math.log10(found.limit) if latest and found.limit > 1 else None,
        metric=metrics[0] if metrics else None, metrics=series.values(metrics[0]) if metrics else [],
    )  # fmt: skip


def monitor_now(platform: Platform, name: str, *, range: str = DEFAULT_RANGE) -> MonitorNow:
    """Read how a monitor is.

    Raises:
        NotFound: There is no such monitor.
        InvalidArgument: The range is none.
    """
    if range not in RANGES:
        raise InvalidArgument(f"range={range!r} is no range", known=RANGES)
    project = platform.scope.project
    with platform.metadata.read() as reader:
        found = definition(reader, project, name)
        where = {"project": project, "monitor": name}
        last = reader.find(MonitorWindow, where, order=["-start_at"], limit=1)
        return MonitorNow(
            project=project, now=platform.scope.now(), definition=found, range=range,
            windows=reader.count(MonitorWindow, where), last=last[0] if last else None,
            version=version_of(last[0]) if last else None, firing=_firing(reader, project, name),
        )  # fmt: skip


def monitor(
    platform: Platform, name: str, *, range: str = DEFAULT_RANGE, effect: str | None = None,
    feature: str | None = None, window: int | None = None,
) -> MonitorPage:  # fmt: skip
    """Read one monitor.

    Args:
        platform: The platform.
        name: Which monitor.
        range: How many windows: `30`, `90` or `all`.
        effect: Which series shades the heat map.
        feature: Show this feature's distribution,
        window: in the window that starts here, microseconds UTC; the newest when absent.

    Raises:
        NotFound: There is no such monitor or window.
        InvalidArgument: A choice is none of those there are.
    """
    now = monitor_now(platform, name, range=range)
    project = platform.scope.project
    with platform.metadata.read() as reader:
        windows = read_windows(reader, project, name, most=RANGES[range])
        effects = _effects(reader, project, name, windows)
        shown = _effect(effects, effect)
        series = read_series(reader, project, name, windows, [shown, EVIDENCE])
        decisions = _decisions(reader, project, name)
        model = _model(reader, project, now.definition.endpoint)
    chosen = _chosen(windows, feature, window)
    return MonitorPage(
        **msgspec.structs.asdict(now), effect=shown, effects=effects, evidence=evidence_chart(series, now.definition),
        heat=heat_map(series, shown, lambda one: cell_address(name, range, shown, one), chosen),
        detail=drift_detail(platform, name, windows, model, *chosen) if chosen else None,
        performance=performance_charts(series), coverage=coverage_chart(series), decisions=decisions,
    )  # fmt: skip


def cell_address(monitor: str, range: str, effect: str, feature: str) -> str:
    """Where the cells of a feature lead; the window is added to it."""
    return f"/monitoring/{monitor}?{urlencode({'range': range, 'effect': effect, 'feature': feature})}"


def _effects(reader: Reader, project: str, monitor: str, windows: Sequence[MonitorWindow]) -> list[str]:
    """The effect sizes there are, by the newest window that has any."""
    where = {"project": project, "monitor": monitor, "series": list(EFFECTS)}
    newest = reader.find(Measurement, where, order=["-start_at"], limit=1) if windows else []
    if not newest:
        return []
    found = {one.series for one in reader.find(Measurement, {**where, "start_at": newest[0].start_at})}
    return [one for one in EFFECTS if one in found]


def _effect(effects: Sequence[str], asked: str | None) -> str:
    if asked is None:
        return next(iter(effects), EFFECTS[0])
    if asked not in EFFECTS:
        raise InvalidArgument(f"effect={asked!r} is no effect size", known=EFFECTS)
    return asked


def _chosen(windows: Sequence[MonitorWindow], feature: str | None, window: int | None) -> tuple[str, int] | None:
    if feature is None or not windows:
        return None
    return feature, windows[-1].start_at if window is None else window


def _firing(reader: Reader, project: str, monitor: str) -> list[Alert]:
    found = reader.find(Alert, {"project": project, "state": "firing"}, order=["-created_at"])
    return [alert for alert in found if alert.labels.get("monitor") == monitor]


def _decisions(reader: Reader, project: str, monitor: str) -> list[Happening]:
    # Promotions are about the model, retrains about the monitor; together they are the story.
    model_decisions = reader.find(
        Decision, {"project": project, "subject": ("like", "model/%")}, order=["-created_at"], limit=MOST_DECISIONS
    )
    own = reader.find(
        Decision, {"project": project, "subject": f"monitor/{monitor}"}, order=["-created_at"], limit=MOST_DECISIONS
    )
    return sorted(map(of_decision, [*own, *model_decisions]), key=lambda one: -one.at)[:MOST_DECISIONS]


def _model(reader: Reader, project: str, endpoint: str) -> str | None:
    """The model behind an endpoint."""
    found = reader.get(Endpoint, project=project, name=endpoint)
    steps = found.graph.get("steps", []) if found else []
    uris = [step[1] for step in steps if step and step[0] == "model"]
    return parse_model_uri(uris[0]).name if uris else None
