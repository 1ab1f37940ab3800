"""A feature service, resolved: its columns in order with their types, and what a caller must send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from tidemill.core.errors import InvalidArgument, unknown
from tidemill.core.schema import Column
from tidemill.core.specs.features import FeatureService, FeatureView, OnDemand, ViewUse
from tidemill.core.specs.sources import SYSTEM_COLUMNS, Source
from tidemill.features.kernel.aggregates import result_type
from tidemill.features.rows import ViewRows, view_rows
from tidemill.features.spine import check_keys
from tidemill.features.transforms import reads, trace
from tidemill.tracking.columns import logical_type

SchemaOf = Callable[[Source], pl.Schema]
"""The columns of a source's table, system columns included."""


@dataclass(frozen=True)
class UsePlan:
    """A view as a service uses it.

    Args:
        use: The view, its keys in the spine, its prefix.
        rows: How its rows come out of its source.
        names: Feature -> full name, in order.
        types: Feature -> type.
    """

    use: ViewUse
    rows: ViewRows
    names: dict[str, str]
    types: dict[str, pl.DataType]

    def columns(self) -> Iterator[tuple[str, pl.DataType]]:
        """Full names and types, in order."""
        return ((full, self.types[feature]) for feature, full in self.names.items())


@dataclass(frozen=True)
class OnDemandPlan:
    """On-demand features over rows of some columns.

    Args:
        part: The definition.
        given: The columns it was written for.
        types: Feature -> type, in order.
        reads: The columns of the request it reads.
    """

    part: OnDemand
    given: pl.Schema
    types: dict[str, pl.DataType]
    reads: tuple[str, ...]

    def columns(self) -> Iterator[tuple[str, pl.DataType]]:
        """Names and types, in order."""
        return iter(self.types.items())


@dataclass(frozen=True)
class ServicePlan:
    """All parts of a service in the order of its columns."""

    service: FeatureService
    parts: tuple[UsePlan | OnDemandPlan, ...]

    @property
    def features(self) -> dict[str, pl.DataType]:
        """Full name -> type of every feature, in order."""
        return dict(column for part in self.parts for column in part.columns())

    @property
    def uses(self) -> tuple[UsePlan, ...]:
        """The views of the service."""
        return tuple(part for part in self.parts if isinstance(part, UsePlan))

    @property
    def keys(self) -> dict[str, pl.DataType]:
        """Spine column -> type of every key."""
        return {column: part.rows.key_types[key] for part in self.uses for key, column in part.use.keys.items()}

    def request(self, spine: pl.Schema, time: str) -> tuple[Column, ...]:
        """What a caller must send: keys, the time, and what on-demand features read.

        Args:
            spine: The columns of the rows predicted for.
            time: Their time column.
        """
        read = [name for part in self.parts if isinstance(part, OnDemandPlan) for name in part.reads]
        wanted = dict.fromkeys([*self.keys, time, *read])
        return tuple(describe_column(name, spine[name], time=time) for name in wanted)


def describe_column(name: str, dtype: pl.DataType, *, time: str | None = None) -> Column:
    """A column in the words of a request or a dataset."""
    return Column(name=name, type="time" if name == time else logical_type(dtype) or "string")


def plan_use(use: ViewUse, rows: ViewRows) -> UsePlan:
    """Name and type the features of a view.

    Raises:
        InvalidArgument: An aggregate does not fit its column's type, or two features have one name.
        NotFound: A feature it uses is not there.
    """
    types: dict[str, pl.DataType] = {}
    for feature, dtype in _features(use.view, rows):
        if feature in types:
            raise InvalidArgument(
                f"feature view {use.view.name!r} has two features {feature!r}", hint="Give one a name="
            )
        types[feature] = dtype
    wanted = use.only or tuple(types)
    for feature in wanted:
        if feature not in types:
            raise unknown(f"feature of {use.view.name!r}", feature, types)
    return UsePlan(use, rows, {feature: use.full_name(feature) for feature in wanted}, types)


def _features(view: FeatureView, rows: ViewRows) -> Iterator[tuple[str, pl.DataType]]:
    if not view.is_windowed:
        yield from ((name, rows.schema[name]) for name in rows.inputs)
    for aggregate in view.aggregates:
        dtype = result_type(aggregate, rows.schema[aggregate.input])
        yield from ((feature, dtype) for feature, _ in aggregate.features())


def plan_on_demand(part: OnDemand, spine: pl.Schema, time: str) -> OnDemandPlan:
    """Name and type on-demand features. A transform that keeps all columns of its input exposes those it adds.

    Raises:
        UserCodeError: It raises, or reads a column the rows lack.
        InvalidArgument: It does more than select and with_columns.
    """
    what = f"on-demand transform {part.name!r}"
    traced = trace(part, spine, what)
    if not traced.row_wise:
        raise InvalidArgument(f"{what} does more than select and with_columns", expected="one row out for each row in")
    added = on_demand_features(traced.schema.names(), spine.names(), time)
    if not added:
        raise InvalidArgument(f"{what} makes no column", expected="columns besides the time and those it is given")
    return OnDemandPlan(
        part, spine, {name: traced.schema[name] for name in added}, tuple(reads(part, spine, added, what))
    )


def on_demand_features(out: Sequence[str], given: Sequence[str], time: str) -> list[str]:
    """Which columns of an on-demand transform's output are features."""
    hidden = {time, *SYSTEM_COLUMNS} | (set(given) if set(given) <= set(out) else set())
    return [name for name in out if name not in hidden]


def plan_service(
    service: FeatureService, schema_of: SchemaOf, spine: pl.Schema, time: str, *,
    rows_of: Callable[[FeatureView], ViewRows] | None = None, unique_ids: bool = False,
) -> ServicePlan:  # fmt: skip
    """Resolve a service for the rows of a spine.

    Args:
        service: The service.
        schema_of: The columns of a source.
        spine: The columns of the rows the features are for.
        time: Their time column.
        rows_of: View rows resolved before; resolved anew when absent.
        unique_ids: Whether no id comes twice in a source's rows.

    Raises:
        InvalidArgument: Two features share a name, a feature hides a column of the spine, a key has another type, or an
            aggregate does not fit its column.
        NotFound: A key, or a column, is missing.
    """
    resolve = rows_of or (lambda view: view_rows(view, schema_of(view.source), unique_ids=unique_ids))
    parts = tuple(
        plan_on_demand(part, spine, time)
        if isinstance(part, OnDemand)
        else plan_use(as_use(part), resolve(as_use(part).view))
        for part in service.parts
    )
    for part in parts:
        if isinstance(part, UsePlan):
            check_keys(part.use, part.rows.key_types, spine)
    _check_names(service, (name for part in parts for name, _ in part.columns()))
    hidden = [full for part in parts if isinstance(part, UsePlan) for full, _ in part.columns() if full in spine]
    if hidden:
        raise InvalidArgument(f"feature {hidden[0]!r} is also a column of the rows", hint="Use view.prefix(...)")
    return ServicePlan(service, parts)


def as_use(part: FeatureView | ViewUse) -> ViewUse:
    """A part of a service that is a view, as it is used."""
    return part if isinstance(part, ViewUse) else ViewUse(part, {key: key for key in part.key_columns})


def _check_names(service: FeatureService, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidArgument(
                f"feature service {_name(service)} has two features {name!r}",
                hint='Use a view twice with a prefix: view.on(origin="dest").prefix("dest_")',
            )
        seen.add(name)


def _name(service: FeatureService) -> str:
    return repr(service.name) if service.is_named else "without a name"
