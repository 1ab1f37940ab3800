"""The registry: models, versions, aliases and their history."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tidemill.core.records.record import Json, Record


class Model(Record, frozen=True, kw_only=True):
    """A registered model: a name for versions."""

    TABLE: ClassVar[str] = "models"
    KEY: ClassVar[tuple[str, ...]] = ("project", "name")

    name: str
    description: str = ""
    tags: Json = msgspec.field(default_factory=dict)


class ModelVersion(Record, frozen=True, kw_only=True):
    """An immutable version of a model."""

    TABLE: ClassVar[str] = "model_versions"
    KEY: ClassVar[tuple[str, ...]] = ("project", "model", "version")
    INDEXES: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "run_id"),)

    model: str
    version: int
    run_id: str | None
    format: str
    """How the file is written: `skops`, ..."""
    artifact: str
    """Digest of the model file."""
    signature: Json
    metrics: Json = msgspec.field(default_factory=dict)
    params: Json = msgspec.field(default_factory=dict)
    profile: str | None = None
    """Digest of the reference profile."""
    example: str | None = None
    """Digest of an input example with the answers given at registration."""
    dataset: str | None = None
    """Digest of the dataset it was fitted on."""
    trained_until: int | None = None
    """Time of the newest row it was fitted on; test rows must be later."""
    service: str | None = None
    """The feature service its inputs come from."""
    environment: Json = msgspec.field(default_factory=dict)


class Alias(Record, frozen=True, kw_only=True):
    """A movable name of a version, such as `champion`."""

    TABLE: ClassVar[str] = "aliases"
    KEY: ClassVar[tuple[str, ...]] = ("project", "model", "alias")

    model: str
    alias: str
    version: int


class AliasMove(Record, frozen=True, kw_only=True):
    """Who moved an alias, when and why: append-only."""

    TABLE: ClassVar[str] = "alias_moves"
    INDEXES: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "model", "alias", "created_at"),)

    id: str
    model: str
    alias: str
    before: int | None
    after: int | None
    """None: the alias was removed."""
    reason: str
