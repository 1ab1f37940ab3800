"""Feature views, on-demand features, feature services and labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast, overload

import msgspec

from tidemill.core.code import code_digest
from tidemill.core.context import run_operation
from tidemill.core.errors import InvalidArgument
from tidemill.core.specs.aggregates import Aggregate
from tidemill.core.specs.checks import Check
from tidemill.core.specs.definition import Definition
from tidemill.core.specs.preparation import Prepare, Recipe
from tidemill.core.specs.sources import Source
from tidemill.core.specs.sql import Sql
from tidemill.core.times import NOW, Duration, Time, parse_duration

if TYPE_CHECKING:
    import polars as pl

Transform = Callable[[Any], Any]
"""Takes and returns Polars rows, row by row: no sort, filter, shift or aggregate over rows."""


@dataclass(frozen=True, eq=False)
class FeatureView(Definition):
    """A row transform, plus optional windowed aggregates, over one source, keyed by entity keys.

    A view without aggregates exposes the columns its transform returns (state: the latest row at or before t, within the
    ttl). A view with aggregates exposes only those, over `[t - W, t)`.

    Args:
        transform: A function from rows to rows, `tm.sql("SELECT ... FROM rows")`, or None to take the source's columns as
            they are.
        source: The source; it must have a time column.
        keys: Entity key column or columns.
        ttl: How long a state stays valid; None means for ever. Only for views without aggregates.
        aggregates: Windowed aggregates over the transformed rows.
        checks: Rules on the rows of the source for this view; failing rows are left out and counted.
        known_at: Whether a row counts only once its created time has passed (R3).
        target: Freshness target: how old the newest row may be before the view counts as stale.
        name: Its name; the variable's or function's when absent.
    """

    kind: ClassVar[str] = "feature_view"

    transform: Transform | None
    source: Source
    keys: str | Sequence[str]
    ttl: Duration | None = None
    aggregates: Sequence[Aggregate] = ()
    checks: Sequence[Check] = ()
    known_at: bool = False
    target: Duration | None = None
    label: str | None = None
    owner: str | None = None
    description: str | None = None
    tags: Sequence[str] = ()

    def __init__(self, transform: Transform | None = None, *, source: Source, keys: str | Sequence[str],
                 ttl: Duration | None = None, aggregates: Sequence[Aggregate] = (), checks: Sequence[Check] = (),
                 known_at: bool = False, target: Duration | None = None, name: str | None = None,
                 owner: str | None = None, description: str | None = None, tags: Sequence[str] = ()) -> None:  # fmt: skip
        values = {
            "transform": transform, "source": source, "keys": keys, "ttl": ttl, "aggregates": _each(aggregates),
            "checks": tuple(checks), "known_at": known_at, "target": target, "label": name, "owner": owner,
            "description": description, "tags": tuple(tags),
        }  # fmt: skip
        for key, value in values.items():
            object.__setattr__(self, key, value)
        self._validate()
        if name is not None:
            self.bind(name)

    def _validate(self) -> None:
        if not isinstance(self.source, Source):
            raise InvalidArgument(f"source={self.source!r} is not a source", expected='source=tm.Source("name", ...)')
        if self.source.time is None:
            raise InvalidArgument(
                f"source {self.source.name!r} has no time column",
                hint="Give tm.Source(..., time=...) the event time, or join it as reference data: tm.lookup(...)",
            )
        if not self.key_columns:
            raise InvalidArgument("a feature view needs at least one key", expected='keys="carrier" or a list')
        for aggregate in self.aggregates:
            if not isinstance(aggregate, Aggregate):
                raise InvalidArgument(f"{aggregate!r} is not an aggregate", expected='tm.mean("late", over="24h")')
        if self.aggregates and self.ttl is not None:
            raise InvalidArgument("a view with aggregates has windows, not a ttl", hint="Remove ttl=")

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The key columns."""
        return (self.keys,) if isinstance(self.keys, str) else tuple(self.keys)

    @property
    def ttl_micros(self) -> int:
        """The ttl in microseconds; 0 means for ever."""
        return 0 if self.ttl is None else parse_duration(self.ttl)

    @property
    def is_as_known(self) -> bool:
        """Whether a row counts only once it was known: as asked for, and always for a change log (R10)."""
        return self.known_at or self.source.changes is not None

    @property
    def is_windowed(self) -> bool:
        """Whether the view exposes aggregates."""
        return bool(self.aggregates)

    def __call__(self, rows: Any) -> Any:
        """The transform, as the plain function it is."""
        return rows if self.transform is None else self.transform(rows)

    @property
    def __wrapped__(self) -> Transform | None:
        return self.transform

    def on(self, **keys: str) -> ViewUse:
        """Use the view under other spine columns: `airport_weather.on(origin="dest")` looks up the destination."""
        missing = set(keys) - set(self.key_columns)
        if missing:
            raise InvalidArgument(f"{sorted(missing)} are no keys of the view", known=self.key_columns)
        return ViewUse(self, {key: keys.get(key, key) for key in self.key_columns})

    def prefix(self, text: str) -> ViewUse:
        """Use the view with a prefix before its feature names."""
        return ViewUse(self, {key: key for key in self.key_columns}).prefix(text)

    def select(self, *features: str) -> ViewUse:
        """Use only some features of the view, in this order: `airport_weather.select("temp", "visib")`."""
        return ViewUse(self, {key: key for key in self.key_columns}).select(*features)

    def describe(self) -> dict[str, Any]:
        return {
            "transform": _described(self.transform),
            "source": self.source.name,
            "keys": list(self.key_columns),
            "ttl": self.ttl_micros,
            "aggregates": [aggregate.describe() for aggregate in self.aggregates],
            "checks": [check.describe() for check in self.checks],
            "known_at": self.known_at,
            "target": None if self.target is None else parse_duration(self.target),
        }


def _each(aggregates: Sequence[Any]) -> tuple[Any, ...]:
    """Aggregates by category one by one; what is no aggregate is left for the check."""
    split = [item.split() if isinstance(item, Aggregate) else (item,) for item in aggregates]
    return tuple(part for parts in split for part in parts)


def _described(transform: Transform | None) -> str | None:
    if transform is None:
        return None
    return f"sql: {transform.text}" if isinstance(transform, Sql) else code_digest(transform)


@dataclass(frozen=True)
class ViewUse:
    """A view as a service uses it: which spine column holds each key, and what its features are called."""

    view: FeatureView
    keys: Mapping[str, str]
    """Key of the view -> column of the spine."""
    text: str = ""
    only: tuple[str, ...] | None = None
    """The features wanted, in order; None means all."""

    def on(self, **keys: str) -> ViewUse:
        """See `FeatureView.on`."""
        return replace(self, keys=self.view.on(**keys).keys)

    def prefix(self, text: str) -> ViewUse:
        """See `FeatureView.prefix`."""
        return replace(self, text=text)

    def select(self, *features: str) -> ViewUse:
        """See `FeatureView.select`."""
        if not features or len(set(features)) < len(features):
            raise InvalidArgument(
                f"select{features!r}", expected='names of features, each once: select("temp", "visib")'
            )
        return replace(self, only=features)

    def full_name(self, feature: str) -> str:
        """`airport_weather__temp`, with the prefix before it."""
        return f"{self.text}{self.view.name}__{feature}"


@overload
def feature_view(transform: Transform, /) -> FeatureView: ...
@overload
def feature_view(
    *, source: Source, keys: str | Sequence[str], **options: Any
) -> Callable[[Transform], FeatureView]: ...
def feature_view(transform: Transform | None = None, /, **options: Any) -> Any:
    """Make a feature view of the decorated transform; the options are those of `FeatureView`."""
    if transform is not None or "source" not in options or "keys" not in options:
        raise InvalidArgument(
            "@feature_view needs source= and keys=", expected="@tm.feature_view(source=..., keys=...)"
        )

    def decorate(function: Transform) -> FeatureView:
        given = {"name": function.__name__, "description": function.__doc__, **options}
        return FeatureView(function, **given)

    return decorate


@dataclass(frozen=True, eq=False)
class OnDemand(Definition):
    """Features computed when they are asked for, by the same row transform in batch and online.

    The transform gets the columns of the request, and by their full names the stored features of the service it is part of.
    """

    kind: ClassVar[str] = "on_demand"

    transform: Transform

    def __call__(self, rows: Any) -> Any:
        return self.transform(rows)

    @property
    def __wrapped__(self) -> Transform:
        return self.transform

    def describe(self) -> dict[str, Any]:
        return {"transform": code_digest(self.transform)}


def on_demand(function: Transform) -> OnDemand:
    """Make on-demand features of the decorated transform. Their names carry no prefix.

    Args:
        function: Gets the rows of a request with the features that the views of the service give for them
            (`airport_weather__temp`), and returns what it derives, row by row. It reads no other on-demand features.

    Example:
        >>> import polars as pl
        >>> @on_demand
        ... def habit(rows):
        ...     return rows.select(times_usual=pl.col("amount") / pl.col("spending__amount_mean_7d"))
        >>> habit(pl.DataFrame({"amount": [60.0], "spending__amount_mean_7d": [20.0]})).item()
        3.0
    """
    definition = OnDemand(function)
    definition.bind(function.__name__)
    return definition


@dataclass(frozen=True, eq=False)
class Label(Definition):
    """What a model learns to predict: an expression over a source's rows, with a time of its own.

    Args:
        source: The source whose rows carry the truth.
        expression: A Polars expression; its null means there is no label.
        known_at: Column with the time the label became known; a null there means it never did.
        name: Its name; the variable's when absent.
    """

    kind: ClassVar[str] = "label"

    source: Source
    expression: pl.Expr
    known_at: str | None = None

    def __init__(
        self, source: Source, expression: pl.Expr, *, known_at: str | None = None, name: str | None = None
    ) -> None:
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "expression", expression)
        object.__setattr__(self, "known_at", known_at)
        if not source.id_columns:
            raise InvalidArgument(
                f"source {source.name!r} has no id", hint="Labels are joined by id: tm.Source(..., id=...)"
            )
        if source.changes is not None:
            raise InvalidArgument(
                f"source {source.name!r} is a change log", expected="a source with one row for each label"
            )
        if name is not None:
            self.bind(name)

    def describe(self) -> dict[str, Any]:
        text = self.expression.meta.serialize(format="json")
        return {"source": self.source.name, "expression": text, "known_at": self.known_at}


@dataclass(frozen=True, eq=False)
class FeatureService(Definition):
    """The named list of features a model uses.

    Args:
        parts: Views, uses of views (`view.on(...)`, `view.prefix(...)`) and on-demand features, in column order.
        prepare: What is done to the features before a model sees them, in order: `tm.impute(...)`, `tm.scale(...)`, ... It is
            fitted on the rows a model is trained on and stays with the model's version; the service itself answers with the
            features as they are.
        name: Its name; the variable's when absent.
        owner: Whom to ask about it.
        description: What it is for.
        tags: Words to find it by. Like owner and description they are for people, and make no new version.
    """

    kind: ClassVar[str] = "feature_service"

    parts: Sequence[FeatureView | ViewUse | OnDemand] = field(default_factory=tuple)
    prepare: Recipe = ()
    owner: str | None = None
    description: str | None = None
    tags: Sequence[str] = ()

    def __init__(
        self, parts: Sequence[FeatureView | ViewUse | OnDemand], *, prepare: Sequence[Prepare] = (),
        name: str | None = None, owner: str | None = None, description: str | None = None, tags: Sequence[str] = (),
    ) -> None:  # fmt: skip
        for key, value in {"owner": owner, "description": description, "tags": tuple(tags)}.items():
            object.__setattr__(self, key, value)
        object.__setattr__(self, "parts", tuple(parts))
        object.__setattr__(self, "prepare", cast(Recipe, tuple(prepare)))
        for one in prepare:
            if not isinstance(one, Prepare):
                raise InvalidArgument(f"{one!r} prepares no features", expected='such as tm.impute("*__temp")')
        for part in self.parts:
            if not isinstance(part, FeatureView | ViewUse | OnDemand):
                raise InvalidArgument(
                    f"{part!r} is no part of a feature service", expected="views and on-demand features"
                )
        if name is not None:
            self.bind(name)

    @property
    def uses(self) -> tuple[ViewUse, ...]:
        """The views of the service as it uses them."""
        return tuple(_use(part) for part in self.parts if not isinstance(part, OnDemand))

    @property
    def on_demand(self) -> tuple[OnDemand, ...]:
        """The on-demand parts."""
        return tuple(part for part in self.parts if isinstance(part, OnDemand))

    def training_set(
        self, *, spine: Source, label: Label | None = None, until: Time = NOW, since: Time | None = None,
        known_at: bool = False,
    ) -> Any:  # fmt: skip
        """A point-in-time correct dataset: one row per spine row, with the features as of its time.

        Args:
            spine: The source whose rows are predicted for: its keys, time and request columns.
            label: The label; rows whose label is not known by `until` are left out.
            until: Nothing after it is used.
            since: Spine rows before it are left out.
            known_at: Whether features count only once their created time had passed (R3), for every view.

        Returns:
            A `Dataset`; a handle of it inside a pipeline.
        """
        return run_operation(
            "training_set", service=self, spine=spine, label=label, until=until, since=since, known_at=known_at
        )

    def describe(self) -> dict[str, Any]:
        prepare = {"prepare": msgspec.to_builtins(self.prepare)} if self.prepare else {}
        return {"parts": [_describe_part(part) for part in self.parts], **prepare}


def _use(part: FeatureView | ViewUse) -> ViewUse:
    return part if isinstance(part, ViewUse) else ViewUse(part, {key: key for key in part.key_columns})


def _describe_part(part: FeatureView | ViewUse | OnDemand) -> list[Any]:
    if isinstance(part, OnDemand):
        return ["on_demand", part.name, part.digest()]
    use = _use(part)
    only = [] if use.only is None else [list(use.only)]
    return ["view", use.view.name, use.view.digest(), dict(use.keys), use.text, *only]
