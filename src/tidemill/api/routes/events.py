"""`/events`: the event log, in commit order."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from tidemill.api.paging import DEFAULT_LIMIT, Limit
from tidemill.core.records.events import Event
from tidemill.platform import Platform

After = Annotated[int, QueryParameter(ge=0, description="Only events after this sequence number.")]


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """Events after a sequence number; ask again with `after=last`."""

    items: list[Event]
    last: int


@get("/events", sync_to_thread=True, summary="Events after a sequence number")
def events(
    platform: NamedDependency[Platform], after: After = 0, limit: Limit = DEFAULT_LIMIT,
    kind: FromQuery[str | None] = None, subject: FromQuery[str | None] = None,
) -> Events:  # fmt: skip
    """What happened, oldest first."""
    where = {"project": platform.scope.project, "seq": (">", after)}
    asked = {name: value for name, value in {"kind": kind, "subject": subject}.items() if value is not None}
    with platform.metadata.read() as reader:
        items = reader.find(Event, {**where, **asked}, order=["seq"], limit=limit)
    return Events(items=items, last=items[-1].seq if items else after)


HANDLERS = [events]
