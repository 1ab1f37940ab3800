"""What closing writes: records made of what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl
from msgspec import structs

from tidemill.core.records.monitoring import Measurement, MonitorState, MonitorWindow
from tidemill.core.reports import Alarm, WindowReport
from tidemill.core.scope import Scope
from tidemill.core.specs.monitoring import Monitor
from tidemill.monitoring.calibration import Judgement
from tidemill.monitoring.evidence import Evidence, log10
from tidemill.monitoring.references import Known
from tidemill.monitoring.windows import Performance, newest_version, status_of, versions_in


@dataclass(frozen=True)
class Records:
    """Makes the records of one monitor.

    Args:
        scope: Project, principal and clock.
        monitor: The monitor.
    """

    scope: Scope
    monitor: Monitor

    def window(
        self, start: int, rows: pl.DataFrame, known: Known | None, performance: Performance, *, revision: int
    ) -> MonitorWindow:
        """A window as measured, without alarms and profile yet."""
        detail: dict[str, Any] = {
            "status": status_of(rows.height),
            "version": newest_version(rows),
            "reference": None if known is None else known.digest,
            "trained_on": None if known is None else known.reference.profile.n_rows,
            "metrics": performance.metrics,
            "held": None if performance.held is None else msgspec.to_builtins(performance.held),
            "alarms": [],
        }
        return MonitorWindow(
            **self.scope.stamp(), monitor=self.monitor.name, start_at=start, end_at=start + self.monitor.every_micros,
            revision=revision, rows=rows.height, labelled=performance.labelled, models=versions_in(rows),
            detail=_as_read(detail),
        )  # fmt: skip

    def state(self, evidence: Evidence, known: Known | None, through: int) -> MonitorState:
        """The evidence after a window."""
        return MonitorState(
            **self.scope.stamp(), monitor=self.monitor.name, reference="" if known is None else known.digest,
            through=through, state=msgspec.to_builtins(evidence),
        )  # fmt: skip

    def report(self, record: MonitorWindow, alarms: tuple[Alarm, ...]) -> WindowReport:
        """What is told about a window."""
        return WindowReport(
            monitor=record.monitor, endpoint=self.monitor.graph.name, start=record.start_at, end=record.end_at,
            revision=record.revision, status=record.detail["status"], rows=record.rows, labelled=record.labelled,
            models=record.models, version=record.detail["version"],
            metrics=record.detail["metrics"], trained_on=record.detail["trained_on"],
            alarms=alarms,
        )  # fmt: skip

    def evidence(self, record: MonitorWindow, judged: Judgement) -> Measurement:
        """The evidence about performance, shown at a window."""
        return Measurement(
            **self.scope.stamp(), monitor=self.monitor.name, start_at=record.start_at, series="performance_evidence",
            value=log10(judged.log_sr), rows=judged.rows, alarm=judged.alarm is not None,
        )  # fmt: skip


def with_alarms(record: MonitorWindow, alarms: tuple[Alarm, ...]) -> MonitorWindow:
    """The record with other alarms."""
    return structs.replace(record, detail=_as_read({**record.detail, "alarms": alarms}))


def alarms_of(record: MonitorWindow) -> tuple[Alarm, ...]:
    """The alarms of a record."""
    return msgspec.convert(record.detail["alarms"], tuple[Alarm, ...])


def _as_read(detail: dict[str, Any]) -> dict[str, Any]:
    """The detail as it will be read back, so that one computed again compares equal."""
    read: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(detail))
    return read
