"""`GET /metrics`: the platform about itself, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator

from litestar import Response, get
from litestar.di import NamedDependency
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidemill.api.health import heartbeat
from tidemill.core.records.alerting import Alert, Decision, Notification
from tidemill.core.records.events import Event
from tidemill.core.records.models import ModelVersion
from tidemill.core.records.runs import Run
from tidemill.platform import Platform
from tidemill.stores.metadata.protocol import Reader

RUN_STATES = ("running", "finished", "failed", "killed", "cached")
ALERT_STATES = ("pending", "firing", "resolved")
NOTIFICATION_STATES = ("waiting", "sent", "dead")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class PlatformCollector(Collector):
    """Reads the numbers when they are asked for."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def collect(self) -> Iterator[Metric]:
        project = self._platform.scope.project
        with self._platform.metadata.read() as reader:
            yield _events(reader, project)
            yield _by_state(reader, project, "tidemill_runs", "Runs by status", Run, "status", RUN_STATES)
            yield _by_state(reader, project, "tidemill_alerts", "Alerts by state", Alert, "state", ALERT_STATES)
            yield _by_state(
                reader, project, "tidemill_notifications", "Notifications by state", Notification, "state",
                NOTIFICATION_STATES,
            )  # fmt: skip
            yield _count(reader, project, "tidemill_model_versions", "Registered model versions", ModelVersion)
            yield _count(reader, project, "tidemill_decisions", "Decisions taken", Decision)
        yield self._heartbeat(project)

    def _heartbeat(self, project: str) -> Metric:
        family = GaugeMetricFamily(
            "tidemill_daemon_heartbeat_age_seconds", "Since the daemon's last sign of life", labels=["project"]
        )
        beat = heartbeat(self._platform)
        if beat is not None:
            family.add_metric([project], beat.age)
        return family


def _events(reader: Reader, project: str) -> Metric:
    family = CounterMetricFamily("tidemill_events", "Events in the log", labels=["project"])
    family.add_metric([project], reader.count(Event, {"project": project}))
    return family


def _by_state(
    reader: Reader, project: str, name: str, text: str, kind: type[Run | Alert | Notification], field: str,
    states: tuple[str, ...],
) -> Metric:  # fmt: skip
    family = GaugeMetricFamily(name, text, labels=["project", field])
    for state in states:
        family.add_metric([project, state], reader.count(kind, {"project": project, field: state}))
    return family


def _count(reader: Reader, project: str, name: str, text: str, kind: type[ModelVersion | Decision]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["project"])
    family.add_metric([project], reader.count(kind, {"project": project}))
    return family


@get("/metrics", sync_to_thread=True, summary="The platform's own metrics")
def metrics(platform: NamedDependency[Platform]) -> Response[bytes]:
    """Events, runs by status, alerts, notifications and the daemon's heartbeat, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PlatformCollector(platform))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE)
