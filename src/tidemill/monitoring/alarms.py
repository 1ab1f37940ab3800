"""Alarms in words."""

from __future__ import annotations

import math

from tidemill.core.records.monitoring import MonitorWindow
from tidemill.core.reports import Alarm
from tidemill.core.specs.monitoring import Monitor
from tidemill.core.times import format_time
from tidemill.monitoring.calibration import Judgement
from tidemill.monitoring.evidence import Crossing, alarm_threshold, effect_size, log10

NAMED = 3
"""Features a sentence names; the alarm holds all."""


def drift_alarm(
    monitor: Monitor, record: MonitorWindow, crossing: Crossing, *, since: int, harm: float | None, labelled: int
) -> Alarm:
    """The alarm about features that left the range of the reference's windows.

    Args:
        monitor: The monitor.
        record: The window that raised it.
        crossing: The evidence, with the responsible features.
        since: Start of the evidence.
        harm: The effect on the labels since then as a share of what is tolerated, None without labels.
        labelled: Rows with a label since then.
    """
    shown = ", ".join(f"{name} ({effect_size(crossing.effects[name]):.2f})" for name in crossing.responsible[:NAMED])
    more = len(crossing.responsible) - NAMED
    return Alarm(
        kind="drift",
        window=record.start_at,
        summary=f"{shown}{f' and {more} more' if more > 0 else ''} drifted since {format_time(since)}: "
        f"distance to the rows version {record.detail['version']} was trained on, {monitor.effect:g} matters",
        features=crossing.responsible,
        evidence=log10(crossing.verdict.log_sr) or 0.0,
        threshold=math.log10(alarm_threshold(monitor)),
        effect=max(effect_size(crossing.effects[name]) for name in crossing.responsible),
        since=since,
        model_version=record.detail["version"],
        labelled=labelled,
        harm=harm,
    )


def performance_alarm(monitor: Monitor, record: MonitorWindow, judged: Judgement) -> Alarm:
    """The alarm about a model that does not keep its promises, or whose loss rose."""
    since = record.start_at if judged.since is None else judged.since
    what = _what(monitor, record, judged)
    return Alarm(
        kind="performance",
        window=record.start_at,
        summary=f"{what} over {judged.rows} labelled rows since {format_time(since)}",
        evidence=log10(judged.log_sr) or 0.0,
        threshold=math.log10(alarm_threshold(monitor)),
        effect=judged.effect,
        since=since,
        model_version=record.detail["version"],
        labelled=judged.rows,
        harm=judged.harm,
    )


def _what(monitor: Monitor, record: MonitorWindow, judged: Judgement) -> str:
    version = record.detail["version"]
    if "gap" in record.detail["held"]["effect"]:
        side = "less" if judged.effect > 0 else "more"
        return (
            f"version {version} promises {abs(judged.effect):.1%} {side} than comes true "
            f"({monitor.tolerance:.1%} is tolerated)"
        )
    return f"the loss of version {version} is {judged.effect:.4g}, {judged.harm:.0%} of what is tolerated"
