"""`/projects`: what this home holds."""

from __future__ import annotations

import msgspec
from litestar import get
from litestar.di import NamedDependency

from tidemill.platform import Platform


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project; `now` is its clock in microseconds UTC."""

    name: str
    principal: str
    now: int


@get("/projects", sync_to_thread=True, summary="The projects")
def projects(platform: NamedDependency[Platform]) -> list[Project]:
    """The project this server was opened for."""
    scope = platform.scope
    return [Project(name=scope.project, principal=scope.principal, now=scope.now())]


HANDLERS = [projects]
