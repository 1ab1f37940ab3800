"""The inventory: which features there are, who answers for them, how fresh they are, what uses them, what an apply changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tidemill.core.errors import TidemillError, unknown
from tidemill.core.records.events import DefinitionVersion
from tidemill.core.records.models import ModelVersion
from tidemill.core.schema import Column
from tidemill.core.scope import Scope
from tidemill.core.specs.definition import Definitions
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.features.catalog import ServiceInfo, ViewInfo
from tidemill.features.differences import FieldChange, differences
from tidemill.features.lineage import feature_lineage
from tidemill.features.meanings import meanings
from tidemill.features.online import Freshness
from tidemill.features.service import Features
from tidemill.features.statistics import FeatureStatistics
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.definitions import Catalog as Applied
from tidemill.tracking.definitions import Change, consumers_of
from tidemill.tracking.lineage import LineageGraph

VIEW, SERVICE = "feature_view", "feature_service"
KINDS = ("source", VIEW, "on_demand", SERVICE)
"""The kinds of definitions that features are made of."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A view or a service in the list."""

    kind: str
    """`feature_view` or `feature_service`."""
    name: str
    uses: tuple[str, ...]
    """The source of a view; the views and on-demand features of a service."""
    keys: tuple[str, ...] = ()
    features: int
    """How many; 0 before there are rows."""
    owner: str | None
    description: str | None
    tags: tuple[str, ...]
    version: int | None
    """The applied one; None before the first apply."""
    edited: bool
    """Whether the files say something else than what was applied."""
    freshness: Freshness | None = None
    """Of a view that a service uses."""
    problem: str | None = None
    """Why the definition does not fit the rows, if it does not."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a definition."""

    version: int
    digest: str
    applied_at: int
    applied_by: str
    current: bool
    changes: tuple[FieldChange, ...]
    """Against the version before."""


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """A view or a service with all that is known of it."""

    entry: Entry
    ttl: int | None = None
    """Microseconds; of a view of states."""
    columns: tuple[Column, ...]
    meanings: dict[str, str] = {}
    """Feature -> what it is, of those whose column the source's documentation describes."""
    request: tuple[Column, ...] = ()
    """What a caller of a service sends."""
    consumers: tuple[str, ...]
    """What uses it, directly or not, as `KIND/NAME`; models with the newest version."""
    versions: tuple[Version, ...]
    """Newest first."""
    statistics: tuple[FeatureStatistics, ...]
    code: str
    """The source of its functions, as applied."""


class FeatureChange(msgspec.Struct, frozen=True, kw_only=True):
    """What applying does to a definition that features are made of."""

    kind: str
    name: str
    action: str
    """`new`, `changed`, `same` or `removed`."""
    before: int | None
    """The version in force."""
    after: int | None
    """The version that would be."""
    changes: tuple[FieldChange, ...] = ()
    consumers: tuple[str, ...] = ()
    """What uses it, as `KIND/NAME`; models with the newest version."""
    backfill: int | None = None
    """Rows to read into the online store; None where that is not needed."""


class Inventory:
    """The features of a project, as its files define them.

    Args:
        scope: Project, principal and clock.
        definitions: The project's definitions.
        features: The project's features.
        metadata: Where versions and models are recorded.
    """

    def __init__(
        self, scope: Scope, *, definitions: Definitions, features: Features, metadata: MetadataStore
    ) -> None:  # fmt: skip
        self._scope = scope
        self._definitions = definitions
        self._features = features
        self._metadata = metadata
        self._applied = Applied(scope, metadata=metadata)

    def entries(self, text: str = "", tags: Sequence[str] = ()) -> list[Entry]:
        """Views, then services, by name.

        Args:
            text: Only those that have each of these words in their name, description, owner, tags, keys, features, what the
                features mean, or the names of what they use; upper and lower case are the same.
            tags: Only those that have all of these tags.
        """
        current = {(one.kind, one.name): one for one in self._applied.current()}
        fresh = {one.view: one for one in self._features.freshness()}
        views = ((self._view(one, current, fresh), one.features) for one in self._features.views())
        services = ((self._service(one, current), one.features) for one in self._features.services())
        words, wanted = text.casefold().split(), set(tags)
        return [
            entry for found in (views, services) for entry, columns in found
            if wanted <= set(entry.tags) and _says(entry, self._described(entry, columns), words)
        ]  # fmt: skip

    def _described(self, entry: Entry, columns: Iterable[Column]) -> list[str]:
        """The names of some features, and what is said of them."""
        names = [column.name for column in columns]
        return [*names, *meanings(self._definitions.get(entry.kind, entry.name), names).values()]

    def _view(
        self, info: ViewInfo, current: dict[tuple[str, str], DefinitionVersion], fresh: dict[str, Freshness]
    ) -> Entry:
        applied = current.get((VIEW, info.name))
        return Entry(
            kind=VIEW, name=info.name, uses=(info.source,), keys=info.keys, features=len(info.features), owner=info.owner,
            description=info.description, tags=info.tags, version=None if applied is None else applied.version,
            edited=applied is None or applied.digest != info.digest, freshness=fresh.get(info.name), problem=info.problem,
        )  # fmt: skip

    def _service(self, info: ServiceInfo, current: dict[tuple[str, str], DefinitionVersion]) -> Entry:
        applied, defined = current.get((SERVICE, info.name)), self._definitions.get(SERVICE, info.name)
        return Entry(
            kind=SERVICE, name=info.name, uses=(*info.views, *info.on_demand), features=len(info.features),
            owner=defined.owner, description=defined.description, tags=tuple(defined.tags),
            version=None if applied is None else applied.version,
            edited=applied is None or applied.digest != info.digest, problem=info.problem,
        )  # fmt: skip

    def show(self, name: str, kind: str | None = None) -> Detail:
        """One view or service; the view where both have the name and no kind is given.

        Raises:
            NotFound: There is none of that name; the message lists those that exist.
        """
        entries = {(one.kind, one.name): one for one in self.entries()}
        kinds = (VIEW, SERVICE) if kind is None else (kind,)
        entry = next((entries[one, name] for one in kinds if (one, name) in entries), None)
        if entry is None:
            known = [found for found_kind, found in entries if found_kind in kinds]
            raise unknown("feature view or service" if kind is None else kind.replace("_", " "), name, known)
        part: FeatureView | FeatureService = self._definitions.get(entry.kind, name)
        past = self._versions(entry.kind, name)
        columns, request = self._columns(entry)
        return Detail(
            entry=entry, ttl=(part.ttl_micros or None) if isinstance(part, FeatureView) else None, columns=columns,
            meanings=meanings(part, [one.name for one in columns]), request=request,
            consumers=self._consumers([(entry.kind, name)]), versions=versions_of(past),
            statistics=self._statistics(part), code=past[0].source if past else "",
        )  # fmt: skip

    def _columns(self, entry: Entry) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
        if entry.kind == SERVICE:
            service = next(one for one in self._features.services() if one.name == entry.name)
            return service.features, service.request
        return next(one for one in self._features.views() if one.name == entry.name).features, ()

    def _statistics(self, part: FeatureView | FeatureService) -> tuple[FeatureStatistics, ...]:
        try:
            return tuple(self._features.statistics(part))
        except TidemillError:
            return ()  # the entry's problem says why

    def _versions(self, kind: str, name: str) -> list[DefinitionVersion]:
        where = {"project": self._scope.project, "kind": kind, "name": name}
        with self._metadata.read() as reader:
            return reader.find(DefinitionVersion, where, order=["-version"])

    def _consumers(self, keys: Iterable[tuple[str, str]]) -> tuple[str, ...]:
        users = consumers_of(self._definitions.items.values())
        chosen = list(keys)
        found = {user for key in chosen for user in users.get(key, ())}
        services = {name for kind, name in {*found, *chosen} if kind == SERVICE}
        return (*(f"{kind}/{name}" for kind, name in sorted(found)), *self._models(services))

    def _models(self, services: set[str]) -> list[str]:
        if not services:
            return []
        with self._metadata.read() as reader:
            found = reader.find(
                ModelVersion, {"project": self._scope.project, "service": sorted(services)}, order=["model", "version"]
            )
        newest = {one.model: one.version for one in found}
        return [f"model/{model}/{version}" for model, version in newest.items()]

    def lineage(self, kind: str, name: str) -> LineageGraph:
        """From sources through tables, views and services to datasets, models and endpoints; see `feature_lineage`."""
        with self._metadata.read() as reader:
            return feature_lineage(reader, self._scope.project, self._definitions, kind, name)

    def plan(self) -> list[FeatureChange]:
        """What an apply would do to sources, views, on-demand features and services, without doing it."""
        missing = self._features.unmaterialized()
        changes = self._applied.plan(self._definitions)
        return [self._planned(change, missing) for change in changes if change.kind in KINDS]

    def _planned(self, change: Change, missing: dict[str, int]) -> FeatureChange:
        key = (change.kind, change.name)
        past = self._versions(*key)
        before = next((one for one in past if one.current), None)
        numbered = None if before is None else before.version
        after = numbered if change.action == "same" else (past[0].version if past else 0) + 1
        changes: tuple[FieldChange, ...] = ()
        if before is not None and change.action == "changed":
            changes = differences(before.body, self._definitions.get(*key).describe())
        return FeatureChange(
            kind=change.kind, name=change.name, action=change.action, before=numbered,
            after=None if change.action == "removed" else after, changes=changes,
            consumers=self._consumers([key]) if change.action != "removed" else (),
            backfill=missing.get(change.name) if change.kind == VIEW else None,
        )  # fmt: skip


def versions_of(past: Sequence[DefinitionVersion]) -> tuple[Version, ...]:
    """Versions of a definition as they are shown, newest first as given."""
    before = [*past[1:], None][: len(past)]
    return tuple(
        Version(
            version=one.version, digest=one.digest, applied_at=one.created_at, applied_by=one.principal,
            current=one.current, changes=() if older is None else differences(older.body, one.body),
        )
        for one, older in zip(past, before, strict=True)
    )  # fmt: skip


def _says(entry: Entry, features: Iterable[str], words: Iterable[str]) -> bool:
    said = [entry.name, entry.description or "", entry.owner or "", *entry.tags, *entry.keys, *entry.uses]
    text = "\n".join([*said, *features]).casefold()
    return all(word in text for word in words)
