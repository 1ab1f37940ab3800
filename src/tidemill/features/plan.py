"""A feature service, resolved: its columns in order with their types, and what a caller must send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from tidemill.core.errors import InvalidArgument, NotFound, TidemillError, UserCodeError, unknown
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
        given: The columns it is given: those of the rows, then the stored features it reads.
        types: Feature -> type, in order.
        reads: The columns of the request it reads.
        stored: The features of the service's views it reads, by full name.
    """

    part: OnDemand
    given: pl.Schema
    types: dict[str, pl.DataType]
    reads: tuple[str, ...]
    stored: tuple[str, ...] = ()

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


def plan_on_demand(
    part: OnDemand, spine: pl.Schema, time: str, stored: Mapping[str, pl.DataType] = MappingProxyType({})
) -> OnDemandPlan:
    """Name and type on-demand features. A transform that keeps all columns of its input exposes those it adds.

    Args:
        part: The definition.
        spine: The columns of the rows.
        time: Their time column.
        stored: Full name -> type of the features of the service's views, which it may read as well.

    Raises:
        UserCodeError: It raises, or reads what is neither a column of the rows nor a stored feature.
        InvalidArgument: It does more than select and with_columns.
    """
    what = f"on-demand transform {part.name!r}"
    whole = pl.Schema({**spine, **stored})
    try:
        traced = trace(part, whole, what)
        added = on_demand_features(traced.schema.names(), whole.names(), time)
        read = reads(part, whole, added, what)
    except UserCodeError as error:
        raise UserCodeError(error.found, known=spine.names(), hint=_readable(stored)) from error.__cause__
    if not traced.row_wise:
        raise InvalidArgument(f"{what} does more than select and with_columns", expected="one row out for each row in")
    if not added:
        raise InvalidArgument(f"{what} makes no column", expected="columns besides the time and those it is given")
    types = {name: traced.schema[name] for name in added}
    least = pl.Schema({**spine, **{name: stored[name] for name in read if name in stored}})
    given = least if least == whole or _makes(part, least, types, what) else whole
    asked = tuple(name for name in given if name in stored)
    return OnDemandPlan(part, given, types, tuple(name for name in read if name in spine), asked)


def _readable(stored: Iterable[str]) -> str | None:
    names = ", ".join(stored)
    return f"Of the service's views it may read {names}" if names else None


def _makes(part: OnDemand, given: pl.Schema, types: Mapping[str, pl.DataType], what: str) -> bool:
    """Whether some columns are all a transform needs: those it names without use, as `drop` does, must be there too."""
    try:
        found = trace(part, given, what).schema
    except TidemillError:
        return False
    return all(found.get(name) == dtype for name, dtype in types.items())


def on_demand_features(out: Sequence[str], given: Sequence[str], time: str) -> list[str]:
    """Which columns of an on-demand transform's output are features."""
    hidden = {time, *SYSTEM_COLUMNS} | (set(given) if set(given) <= set(out) else set())
    return [name for name in out if name not in hidden]


def plan_service(
    service: FeatureService, schema_of: SchemaOf, spine: pl.Schema, time: str, *,
    rows_of: Callable[[FeatureView], ViewRows] | None = None, unique_ids: bool = False, partial: bool = False,
) -> ServicePlan:  # fmt: skip
    """Resolve a service for the rows of a spine.

    Args:
        service: The service.
        schema_of: The columns of a source.
        spine: The columns of the rows the features are for.
        time: Their time column.
        rows_of: View rows resolved before; resolved anew when absent.
        unique_ids: Whether no id comes twice in a source's rows.
        partial: Leave out on-demand features that read more than the spine has and the views give.

    Raises:
        InvalidArgument: Two features share a name, a feature hides a column of the spine, a key has another type, or an
            aggregate does not fit its column.
        NotFound: A key, or a column, is missing.
        UserCodeError: An on-demand transform raises, or reads what is not there.
    """
    resolve = rows_of or (lambda view: view_rows(view, schema_of(view.source), unique_ids=unique_ids))
    used = {
        place: plan_use(as_use(part), resolve(as_use(part).view))
        for place, part in enumerate(service.parts)
        if not isinstance(part, OnDemand)
    }
    stored = _stored(service, used.values(), spine)
    parts: list[UsePlan | OnDemandPlan] = []
    for place, part in enumerate(service.parts):
        if not isinstance(part, OnDemand):
            parts.append(used[place])
        elif not partial or _is_answerable(part, spine, time, stored):
            parts.append(plan_on_demand(part, spine, time, stored))
    made = [name for one in parts if isinstance(one, OnDemandPlan) for name in one.types]
    _check_names(service, [*stored, *made], "Give what an on-demand transform makes a name of its own: .alias(...)")
    return ServicePlan(service, tuple(parts))


def _stored(service: FeatureService, uses: Iterable[UsePlan], spine: pl.Schema) -> dict[str, pl.DataType]:
    """Full name -> type of the features of a service's views."""
    found: list[tuple[str, pl.DataType]] = []
    for part in uses:
        check_keys(part.use, part.rows.key_types, spine)
        found += part.columns()
    _check_names(
        service, (full for full, _ in found), 'Use a view twice with a prefix: view.on(origin="dest").prefix("dest_")'
    )
    for full, _ in found:
        if full in spine:
            raise InvalidArgument(f"feature {full!r} is also a column of the rows", hint="Use view.prefix(...)")
    return dict(found)


def _is_answerable(part: OnDemand, spine: pl.Schema, time: str, stored: Mapping[str, pl.DataType]) -> bool:
    """Whether on-demand features read no more than there is."""
    try:
        plan_on_demand(part, spine, time, stored)
    except (UserCodeError, NotFound):
        return False
    return True


def as_use(part: FeatureView | ViewUse) -> ViewUse:
    """A part of a service that is a view, as it is used."""
    return part if isinstance(part, ViewUse) else ViewUse(part, {key: key for key in part.key_columns})


def _check_names(service: FeatureService, names: Iterable[str], hint: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidArgument(f"feature service {_name(service)} has two features {name!r}", hint=hint)
        seen.add(name)


def _name(service: FeatureService) -> str:
    return repr(service.name) if service.is_named else "without a name"
