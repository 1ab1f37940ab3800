"""The event log and what the platform keeps about itself."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tidemill.core.records.record import Json, Record


class Event(Record, frozen=True, kw_only=True):
    """Something that happened, written in the same transaction as the change it tells of.

    Kinds: `data.arrived`, `dataset.created`, `definition.applied`, `run.started`, `run.ended`, `version.created`,
    `alias.moved`, `generation.changed`, `window.closed`, `alert.pending`, `alert.firing`, `alert.resolved`,
    `decision.made`.
    """

    TABLE: ClassVar[str] = "events"
    KEY: ClassVar[tuple[str, ...]] = ("seq",)
    INDEXES: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "kind", "seq"), ("project", "subject", "seq"))

    seq: int = 0
    """Given by the store: 1, 2, 3 ... in commit order."""
    kind: str
    subject: str
    """What it is about, such as `model/late-flight`."""
    body: Json = msgspec.field(default_factory=dict)


class DefinitionVersion(Record, frozen=True, kw_only=True):
    """One version of an applied definition."""

    TABLE: ClassVar[str] = "definitions"
    KEY: ClassVar[tuple[str, ...]] = ("project", "kind", "name", "version")

    kind: str
    name: str
    version: int
    digest: str
    body: Json
    source: str = ""
    """The source code, for people to read."""
    current: bool = True


class Lease(Record, frozen=True, kw_only=True):
    """Who does a job only one process may do, and until when."""

    TABLE: ClassVar[str] = "leases"
    KEY: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    holder: str
    expires_at: int
    beat_at: int
    """When the holder last showed that it lives."""


class Position(Record, frozen=True, kw_only=True):
    """How far a consumer has read a feed."""

    TABLE: ClassVar[str] = "positions"
    KEY: ClassVar[tuple[str, ...]] = ("consumer", "feed")

    consumer: str
    feed: str
    position: int


class Pin(Record, frozen=True, kw_only=True):
    """Keeps an artifact or a table version from retention as long as its owner exists."""

    TABLE: ClassVar[str] = "pins"
    KEY: ClassVar[tuple[str, ...]] = ("target", "owner")

    target: str
    """`artifact/DIGEST` or `table/NAME@VERSION`."""
    owner: str
    """What needs it, such as `dataset/DIGEST`."""
