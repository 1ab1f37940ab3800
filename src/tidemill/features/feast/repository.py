"""What a Feast repository defines, as the probe tells it: plain data, without Feast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A feature, or a column of a request.

    Attributes:
        name: Its name.
        type: Feast's name of its type, such as `INT64` or `UNIX_TIMESTAMP`.
        description: What it is.
    """

    name: str
    type: str = "UNKNOWN"
    description: str = ""


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What everything in a repository has."""

    name: str
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = {}

    @property
    def labels(self) -> list[str]:
        """The tags as words: `team:drivers`."""
        return [f"{key}:{value}" if value else key for key, value in self.tags.items()]


class Entity(Described, frozen=True, kw_only=True):
    """An entity: one key column."""

    key: str
    type: str = "UNKNOWN"


class DataSource(Described, frozen=True, kw_only=True):
    """Where rows come from.

    Attributes:
        kind: The class, such as `FileSource`.
        time: The event time column.
        created: The column of the time a row was made.
        mapping: Column -> the name it goes by in views.
        batch: Of a stream: the source of its past.
        options: What the kind has besides: path, format, table, query, servers, topic.
        columns: Of a request source: its columns.
    """

    kind: str
    time: str = ""
    created: str = ""
    mapping: Mapping[str, str] = {}
    batch: str | None = None
    options: Mapping[str, str] = {}
    columns: Sequence[Field] = ()


class Aggregation(msgspec.Struct, frozen=True, kw_only=True):
    """An aggregate of a view over a window; times in microseconds."""

    column: str
    function: str
    window: int | None = None
    slide: int | None = None
    name: str = ""


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """A transformation.

    Attributes:
        mode: `pandas`, `python`, `spark`, ...
        text: The source of the function; empty where there is none.
        singleton: Whether it takes one row instead of columns.
    """

    mode: str
    text: str = ""
    singleton: bool = False


class View(Described, frozen=True, kw_only=True):
    """A feature view.

    Attributes:
        kind: The class: `FeatureView`, `BatchFeatureView`, `StreamFeatureView`.
        keys: Its join keys.
        ttl: In microseconds; 0 means for ever.
        source: Its batch source.
        stream: Its stream source.
        views: The views it is derived from.
        features: Its columns; empty where Feast finds them out at apply.
        code: Its transformation.
        aggregations: Its aggregates.
    """

    kind: str = "FeatureView"
    keys: Sequence[str] = ()
    ttl: int = 0
    source: str | None = None
    stream: str | None = None
    views: Sequence[str] = ()
    features: Sequence[Field] = ()
    code: Code | None = None
    aggregations: Sequence[Aggregation] = ()


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """A view as a service, or an on-demand view, uses it.

    Attributes:
        view: The view.
        alias: What it is called there.
        features: Those wanted; empty means all.
        keys: Join key -> the column it is looked up by.
        version: The version it is pinned to.
    """

    view: str
    alias: str = ""
    features: Sequence[str] = ()
    keys: Mapping[str, str] = {}
    version: str = ""


class OnDemandView(Described, frozen=True, kw_only=True):
    """Features computed when they are asked for."""

    code: Code | None = None
    uses: Sequence[Use] = ()
    request: Sequence[Field] = ()
    features: Sequence[Field] = ()
    aggregations: Sequence[Aggregation] = ()


class Service(Described, frozen=True, kw_only=True):
    """A feature service."""

    uses: Sequence[Use] = ()


class Other(msgspec.Struct, frozen=True, kw_only=True):
    """Something of a kind that is told by name only."""

    kind: str
    name: str


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """All of a repository.

    Attributes:
        feast: The version of Feast that read it.
        project: Feast's project.
        offline: The offline store: its type, and where it is.
        online: The online store: its type.
    """

    feast: str
    project: str
    offline: Mapping[str, str] = {}
    online: str = ""
    entities: Sequence[Entity] = ()
    sources: Sequence[DataSource] = ()
    views: Sequence[View] = ()
    on_demand: Sequence[OnDemandView] = ()
    services: Sequence[Service] = ()
    others: Sequence[Other] = ()
