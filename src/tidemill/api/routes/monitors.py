"""`/monitors`: windows and the series measured in them."""

from __future__ import annotations

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from tidemill.api.paging import DEFAULT_LIMIT, Limit, Offset, Page, find_page
from tidemill.core.records.events import DefinitionVersion
from tidemill.core.records.monitoring import Measurement, MonitorState, MonitorWindow
from tidemill.platform import Platform


@get("/monitors", sync_to_thread=True, summary="Monitors")
def monitors(platform: NamedDependency[Platform]) -> list[DefinitionVersion]:
    """The monitors in force, as they were defined."""
    return platform.catalog.current("monitor")


@get("/monitors/{name:str}/windows", sync_to_thread=True, summary="The windows of a monitor")
def windows(
    platform: NamedDependency[Platform], name: FromPath[str], limit: Limit = DEFAULT_LIMIT, offset: Offset = 0
) -> Page[MonitorWindow]:
    """Windows, newest first."""
    return find_page(platform, MonitorWindow, {"monitor": name}, ["-start_at"], limit, offset)


@get("/monitors/{name:str}/series", sync_to_thread=True, summary="What was measured")
def series(
    platform: NamedDependency[Platform], name: FromPath[str], series: FromQuery[str | None] = None,
    feature: FromQuery[str | None] = None, limit: Limit = 1000, offset: Offset = 0,
) -> Page[Measurement]:  # fmt: skip
    """Numbers per window, newest window first."""
    where = {"monitor": name, "series": series, "feature": feature}
    return find_page(platform, Measurement, where, ["-start_at", "series", "feature"], limit, offset)


@get("/monitors/{name:str}/evidence", sync_to_thread=True, summary="The evidence gathered so far")
def evidence(platform: NamedDependency[Platform], name: FromPath[str]) -> list[MonitorState]:
    """What a monitor knows against each reference."""
    with platform.metadata.read() as reader:
        return reader.find(MonitorState, {"project": platform.scope.project, "monitor": name}, order=["-through"])


HANDLERS = [monitors, windows, series, evidence]
