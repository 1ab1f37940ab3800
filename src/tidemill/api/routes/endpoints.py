"""`/endpoints`: addresses and what ran behind them."""

from __future__ import annotations

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from tidemill.api.paging import DEFAULT_LIMIT, Limit, Offset, Page, find_page
from tidemill.core.errors import unknown
from tidemill.core.records.serving import Endpoint, Generation
from tidemill.platform import Platform
from tidemill.serving.presence import present


@get("/endpoints", sync_to_thread=True, summary="Endpoints")
def endpoints(platform: NamedDependency[Platform], limit: Limit = DEFAULT_LIMIT, offset: Offset = 0) -> Page[Endpoint]:
    """Endpoints by name."""
    return find_page(platform, Endpoint, {}, ["name"], limit, offset)


@get("/endpoints/{name:str}", sync_to_thread=True, summary="One endpoint")
def endpoint(platform: NamedDependency[Platform], name: FromPath[str]) -> Endpoint:
    """An endpoint's graph."""
    with platform.metadata.read() as reader:
        known = {one.name: one for one in reader.find(Endpoint, {"project": platform.scope.project})}
    if name not in known:
        raise unknown("endpoint", name, known)
    return known[name]


@get("/endpoints/{name:str}/generations", sync_to_thread=True, summary="What ran behind an endpoint")
def generations(
    platform: NamedDependency[Platform], name: FromPath[str], limit: Limit = DEFAULT_LIMIT, offset: Offset = 0
) -> Page[Generation]:
    """Generations, newest first; one whose server was killed has the state `gone`."""
    page = find_page(platform, Generation, {"endpoint": name}, ["-number"], limit, offset)
    with platform.metadata.read() as reader:
        return msgspec.structs.replace(page, items=present(reader, page.items))


HANDLERS = [endpoints, endpoint, generations]
