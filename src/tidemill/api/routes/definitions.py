"""`/definitions`: what was applied, version by version."""

from __future__ import annotations

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from tidemill.core.records.events import DefinitionVersion
from tidemill.platform import Platform


@get("/definitions", sync_to_thread=True, summary="The definitions in force")
def definitions(platform: NamedDependency[Platform], kind: FromQuery[str | None] = None) -> list[DefinitionVersion]:
    """Sources, views, services, pipelines, graphs and monitors as they are now."""
    return platform.catalog.current(kind)


@get("/definitions/{kind:str}/{name:str}", sync_to_thread=True, summary="All versions of a definition")
def versions(platform: NamedDependency[Platform], kind: FromPath[str], name: FromPath[str]) -> list[DefinitionVersion]:
    """Newest first."""
    return platform.catalog.versions(kind, name)


HANDLERS = [definitions, versions]
