"""Endpoints and their generations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from tidemill.core.ids import digest_text
from tidemill.core.records.record import Json, Record

LIVE = ("staged", "serving")
"""States of a generation that runs, or is about to."""


class Endpoint(Record, frozen=True, kw_only=True):
    """An address: a graph that is served."""

    TABLE: ClassVar[str] = "endpoints"
    KEY: ClassVar[tuple[str, ...]] = ("project", "name")

    name: str
    graph: Json
    digest: str


class Generation(Record, frozen=True, kw_only=True):
    """A running instance of an endpoint's graph with fixed model versions."""

    TABLE: ClassVar[str] = "generations"
    KEY: ClassVar[tuple[str, ...]] = ("project", "endpoint", "number")

    endpoint: str
    number: int
    models: Json
    """Model URI -> version."""
    digest: str
    """Of graph and model versions."""
    state: str
    """`staged`, `serving`, `retired` or `failed`."""
    detail: str = ""
    server: str = ""
    """The server process that runs it."""
    url: str = ""
    ended_at: int | None = None
    workers: Json = msgspec.field(default_factory=dict)


def generation_digest(graph: str, models: Mapping[str, int]) -> str:
    """The digest of a generation: that of its graph's definition, and the versions its models are."""
    return digest_text(graph, *(f"{uri}={version}" for uri, version in sorted(models.items())))
