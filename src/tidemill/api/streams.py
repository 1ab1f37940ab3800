"""`/health` and `/metrics` of the process that reads brokers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import uvicorn
from litestar import Litestar, Response, get
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidemill.api.metrics import CONTENT_TYPE
from tidemill.api.server import bind
from tidemill.platform import Platform
from tidemill.streaming.service import StreamService
from tidemill.streaming.status import Status

HOST = "127.0.0.1"


class StreamHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How the service is.

    Attributes:
        status: `ok` or `attention`.
        project: The project.
        now: The platform's clock, microseconds UTC.
        streams: How each stream stands.
    """

    status: str
    project: str
    now: int
    streams: list[Status]


@get("/health", sync_to_thread=True, summary="Whether the streams are read")
def health(platform: NamedDependency[Platform], service: NamedDependency[StreamService]) -> Response[StreamHealth]:
    """200 when all streams are read and their views follow, 503 when not; the reasons beside it."""
    streams = service.status()
    well = all(status.well for status in streams)
    found = StreamHealth(
        status="ok" if well else "attention", project=platform.scope.project, now=platform.scope.now(), streams=streams
    )
    return Response(found, status_code=200 if well else 503, headers={"Cache-Control": "no-store"})


class StreamCollector(Collector):
    """The numbers of all streams.

    Args:
        platform: The platform.
        service: The service.
    """

    def __init__(self, platform: Platform, service: StreamService) -> None:
        self._platform = platform
        self._service = service

    def collect(self) -> Iterator[Metric]:
        statuses, project = self._service.status(), self._platform.scope.project
        events = CounterMetricFamily(
            "tidemill_stream_events", "Events taken, by what became of them", labels=["project", "source", "outcome"]
        )
        lag = GaugeMetricFamily("tidemill_stream_lag", "Events not read yet", labels=["project", "source", "partition"])
        age = GaugeMetricFamily(
            "tidemill_stream_checkpoint_age_seconds", "Since the last batch became durable",
            labels=["project", "source"],
        )  # fmt: skip
        up = GaugeMetricFamily("tidemill_stream_up", "Whether the broker is read", labels=["project", "source"])
        behind = GaugeMetricFamily(
            "tidemill_stream_views_behind", "Views that do not follow the table", labels=["project", "source"]
        )
        for status in statuses:
            name = [project, status.source]
            for outcome in ("rows", "quarantined", "duplicates", "dead", "redelivered"):
                events.add_metric([*name, outcome], getattr(status.taken, outcome))
            for partition, count in status.lag.items():
                lag.add_metric([*name, partition], count)
            if status.checkpoint is not None:
                age.add_metric(name, max(0, self._platform.scope.now() - status.checkpoint) / 1e6)
            up.add_metric(name, status.state == "reading")
            behind.add_metric(name, len(status.behind))
        yield from (events, lag, age, up, behind)


@get("/metrics", sync_to_thread=True, summary="The streams in numbers")
def metrics(platform: NamedDependency[Platform], service: NamedDependency[StreamService]) -> Response[bytes]:
    """Events by outcome, lag, age of the checkpoint, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StreamCollector(platform, service))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE)


def create_stream_app(platform: Platform, service: StreamService) -> Litestar:
    """The application that answers for a service."""
    given: dict[str, Any] = {"platform": platform, "service": service}
    return Litestar(
        [health, metrics],
        dependencies={
            "platform": Provide(lambda: platform, sync_to_thread=False),
            "service": Provide(lambda: service, sync_to_thread=False),
        },
        openapi_config=None, logging_config=None, state=State(given),
    )  # fmt: skip


@contextlib.contextmanager
def answering(platform: Platform, service: StreamService, port: int) -> Iterator[str]:
    """Answer on a port of this machine while the block runs; gives the address.

    Raises:
        Unavailable: The port is taken.
    """
    config = uvicorn.Config(
        create_stream_app(platform, service), log_config=None, access_log=False, lifespan="off", ws="none",
        server_header=False,
    )  # fmt: skip
    with bind(HOST, port) as listener:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=[[listener]], name="tidemill-stream-health", daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
