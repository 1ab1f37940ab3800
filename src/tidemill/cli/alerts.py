"""`tidemill monitor` and `alerts`."""

from __future__ import annotations

import typer

from tidemill.cli.examples import examples
from tidemill.cli.opening import AsJson, Project, opened
from tidemill.cli.output import emit_rows, when


def add_to(app: typer.Typer) -> None:
    """Add the commands about monitors and alerts."""
    app.command(epilog=examples("tidemill monitor", "tidemill monitor --json"))(monitor)
    app.command(epilog=examples("tidemill alerts", "tidemill alerts --json | jq '.[0].summary'"))(alerts)
    app.command(epilog=examples("tidemill decisions"))(decisions)


def monitor(project: Project = None, as_json: AsJson = False) -> None:
    """Close the windows that are complete, and act on alarms."""
    from tidemill.daemon import Daemon

    with opened(project) as platform, Daemon(platform, every=None, wait=True) as daemon:
        done = daemon.tick()
    rows = [
        {
            "monitor": report.monitor, "start": when(report.start), "rows": report.rows, "labelled": report.labelled,
            "alarms": [alarm.summary for alarm in report.alarms],
        }
        for report in done.reports
    ]  # fmt: skip
    emit_rows(rows, title="Windows closed", empty="No window is complete yet.", as_json=as_json)


def alerts(project: Project = None, as_json: AsJson = False) -> None:
    """List alerts, newest first."""
    with opened(project) as platform:
        found = platform.alerting.alerts()
    rows = [
        {
            "at": when(one.created_at), "alert": one.name, "state": one.state, "severity": one.severity,
            "summary": one.summary,
        }
        for one in found
    ]  # fmt: skip
    emit_rows(rows, title="Alerts", empty="Nothing fired.", as_json=as_json)


def decisions(project: Project = None, as_json: AsJson = False) -> None:
    """List what was decided, and why, newest first."""
    with opened(project) as platform:
        found = platform.alerting.decisions()
    rows = [
        {"at": when(one.created_at), "subject": one.subject, "action": one.action, "reason": one.reason}
        for one in found
    ]
    emit_rows(rows, title="Decisions", empty="Nothing was decided yet.", as_json=as_json)
