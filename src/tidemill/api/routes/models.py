"""`/models`: the registry."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from tidemill.api.paging import DEFAULT_LIMIT, Limit, Offset, Page, cut
from tidemill.core.records.models import AliasMove, Model, ModelVersion
from tidemill.platform import Platform


class ModelDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A model with its versions, newest first, and where its aliases point."""

    name: str
    aliases: dict[str, int]
    versions: list[ModelVersion]


class NewAlias(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an alias shall point, and why."""

    version: int
    reason: str


@get("/models", sync_to_thread=True, summary="Registered models")
def models(platform: NamedDependency[Platform], limit: Limit = DEFAULT_LIMIT, offset: Offset = 0) -> Page[Model]:
    """Models by name."""
    return cut(platform.registry.models(), limit, offset)


@get("/models/{name:str}", sync_to_thread=True, summary="One model")
def model(platform: NamedDependency[Platform], name: FromPath[str]) -> ModelDetail:
    """A model's versions and aliases."""
    versions = sorted(platform.registry.versions(name), key=lambda one: -one.version)
    return ModelDetail(name=name, aliases=platform.registry.aliases(name), versions=versions)


@get("/models/{name:str}/versions/{version:int}", sync_to_thread=True, summary="One version")
def model_version(platform: NamedDependency[Platform], name: FromPath[str], version: FromPath[int]) -> ModelVersion:
    """An immutable version of a model."""
    return platform.registry.get(name, version)


@get("/models/{name:str}/aliases", sync_to_thread=True, summary="Where aliases point, and their history")
def alias_history(
    platform: NamedDependency[Platform], name: FromPath[str], limit: Limit = DEFAULT_LIMIT, offset: Offset = 0
) -> Page[AliasMove]:
    """Who moved an alias, when and why, newest first."""
    platform.registry.versions(name)  # a model that does not exist is an error, not an empty list
    return cut(platform.registry.history(name)[::-1], limit, offset)


@put("/models/{name:str}/aliases/{alias:str}", sync_to_thread=True, summary="Move an alias")
def set_alias(
    platform: NamedDependency[Platform], name: FromPath[str], alias: FromPath[str], data: JSONBody[NewAlias]
) -> dict[str, int]:
    """Point an alias at a version; endpoints that follow it swap. Answers with all aliases."""
    platform.registry.set_alias(name, alias, data.version, reason=data.reason)
    return platform.registry.aliases(name)


HANDLERS: list[Any] = [models, model, model_version, alias_history, set_alias]
