"""What features there are: views and services with their columns, for pages, tables and checks before they are applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import msgspec
import polars as pl

from tidemill.core.errors import InvalidArgument, TidemillError
from tidemill.core.schema import Column
from tidemill.core.specs.definition import Definitions
from tidemill.core.specs.features import FeatureService, FeatureView, Label
from tidemill.core.specs.sources import SYSTEM_COLUMNS, Source
from tidemill.data.columns import TYPES
from tidemill.data.preparation.preparation import check_recipe
from tidemill.data.times import INSTANT
from tidemill.features.plan import ServicePlan, as_use, describe_column, plan_service, plan_use
from tidemill.features.rows import SAMPLE_ROWS, ViewRows, check_row_wise, view_rows
from tidemill.features.training import SourceReader
from tidemill.features.trial import check_on_demand


class ViewInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A feature view as shown. `features` is empty until its source has rows."""

    name: str
    source: str
    keys: tuple[str, ...]
    kind: str
    """`state` or `aggregates`."""
    ttl: int | None
    """Microseconds."""
    features: tuple[Column, ...]
    services: tuple[str, ...]
    owner: str | None
    description: str | None
    tags: tuple[str, ...]
    digest: str
    problem: str | None = None
    """Why the definition does not fit its source's rows, if it does not."""


class ServiceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A feature service as shown. `features` and `request` are empty until its sources have rows."""

    name: str
    views: tuple[str, ...]
    on_demand: tuple[str, ...]
    features: tuple[Column, ...]
    request: tuple[Column, ...]
    digest: str
    problem: str | None = None
    """Why the definition does not fit the sources' rows, if it does not."""


class Resolved(NamedTuple):
    """A service for the rows of a spine."""

    plan: ServicePlan
    request: tuple[Column, ...]
    """What a caller sends."""
    time: str
    """The column among these that holds the prediction time."""
    spine: Source
    """The source whose rows it is resolved for."""


Known = dict[str, pl.Schema | None]
"""Source -> the columns of its table; None before it has rows."""


class Catalog:
    """The features of a project's definitions.

    Args:
        definitions: The definitions.
        reader: Access to the tables.
    """

    def __init__(self, definitions: Definitions, reader: SourceReader) -> None:
        self._definitions = definitions
        self._reader = reader
        self._resolved: dict[FeatureService, tuple[Known, Resolved | None]] = {}

    def views(self) -> list[ViewInfo]:
        """All feature views by name."""
        return [self._view(view) for _, view in sorted(self._definitions.of_kind("feature_view").items())]

    def _view(self, view: FeatureView) -> ViewInfo:
        features, problem = _attempt(lambda: tuple(self._features(view)))
        return ViewInfo(
            name=view.name,
            source=view.source.name,
            keys=view.key_columns,
            kind="aggregates" if view.is_windowed else "state",
            ttl=view.ttl_micros or None,
            features=_described(features or ()),
            services=tuple(n for n, service in self._services().items() if any(u.view is view for u in service.uses)),
            owner=view.owner,
            description=view.description,
            tags=tuple(view.tags),
            digest=view.digest(),
            problem=problem,
        )

    def _services(self) -> dict[str, FeatureService]:
        return dict(sorted(self._definitions.of_kind("feature_service").items()))

    def _features(self, view: FeatureView) -> Iterator[tuple[str, pl.DataType]]:
        if self.has_rows(view.source):
            yield from plan_use(as_use(view), self.rows(view)).columns()

    def services(self) -> list[ServiceInfo]:
        """All feature services by name."""
        return [self._service(service) for service in self._services().values()]

    def _service(self, service: FeatureService) -> ServiceInfo:
        found, problem = _attempt(lambda: self._checked(service))
        return ServiceInfo(
            name=service.name,
            views=tuple(dict.fromkeys(use.view.name for use in service.uses)),
            on_demand=tuple(part.name for part in service.on_demand),
            features=() if found is None else _described(found.plan.features.items()),
            request=() if found is None else found.request,
            digest=service.digest(),
            problem=problem,
        )

    def _checked(self, service: FeatureService) -> Resolved | None:
        """A service resolved as `resolve` does it, whose recipe fits its features."""
        found = self.resolve(service)
        if found is not None and service.prepare:
            check_recipe(service.prepare, _described(found.plan.features.items()), found.time)
        return found

    def resolve(self, service: FeatureService) -> Resolved | None:
        """A service, resolved for the rows of its likeliest spine; None when there is none yet."""
        sources = {source.name: source for source in [*(use.view.source for use in service.uses), *self._candidates()]}
        known = {name: self._reader.columns(one) for name, one in sources.items()}
        # Tracing what transforms do takes milliseconds, and gives the same until a table has other columns. Moving pushed rows
        # into tables takes longer still.
        kept = self._resolved.get(service)
        if kept is None or kept[0] != known or kept[1] is None:
            kept = self._resolved[service] = known, self._resolve(service)
        return kept[1]

    def _resolve(self, service: FeatureService) -> Resolved | None:
        spine = self.spine(service)
        if spine is None:
            return None
        plan, time = self.plan(service, spine), str(spine.time)
        return Resolved(plan, plan.request(self._columns(spine) or pl.Schema(), time), time, spine)

    def has_rows(self, source: Source) -> bool:
        """Whether anything of a source was ingested."""
        return self._reader.version(source) is not None

    def schema(self, source: Source) -> pl.Schema:
        """The columns of a source's table, system columns included."""
        return self._reader.newest(source).collect_schema()

    def rows(self, view: FeatureView) -> ViewRows:
        """How a view's rows come out of its source's table."""
        return view_rows(view, self.schema(view.source))

    def plan(self, service: FeatureService, spine: Source) -> ServicePlan:
        """A service resolved for the rows of a source."""
        return plan_service(service, self.schema, self._columns(spine) or pl.Schema(), str(spine.time))

    def _columns(self, spine: Source) -> pl.Schema | None:
        """The columns of a source's rows, those that it declares before there are any; None when it declares none."""
        if self.has_rows(spine):
            return pl.Schema({name: one for name, one in self.schema(spine).items() if name not in SYSTEM_COLUMNS})
        if not spine.types:
            return None
        return pl.Schema({str(spine.time): INSTANT, **{name: TYPES[kind] for name, kind in spine.types.items()}})

    def spine(self, service: FeatureService) -> Source | None:
        """A source whose rows a service can be asked for: those that have a label come first, then those with an id.

        A source without rows yet fits if the columns it declares do.

        Returns:
            None when that cannot be told yet, because a source of the service or a candidate has no rows.

        Raises:
            InvalidArgument: All sources have rows, and none fits; the message says why the likeliest one does not.
        """
        if not all(self.has_rows(use.view.source) for use in service.uses):
            return None
        reasons: list[str] = []
        candidates = self._candidates()
        for source in candidates:
            if self._columns(source) is None:
                continue
            try:
                self.plan(service, source)
            except TidemillError as error:
                reasons.append(f"{source.name}: {error}")
            else:
                return source
        if not candidates or not all(map(self.has_rows, candidates)):
            return None
        raise InvalidArgument(
            f"no source has the columns feature service {service.name!r} needs",
            hint=reasons[0],
            known=[source.name for source in candidates],
        )

    def _candidates(self) -> list[Source]:
        labels: dict[str, Label] = self._definitions.of_kind("label")
        labelled = {label.source.name for label in labels.values()}
        sources: list[Source] = [s for s in self._definitions.of_kind("source").values()
                                 if s.time is not None and s.changes is None]  # fmt: skip
        return sorted(sources, key=lambda s: (s.name not in labelled, not s.id_columns, s.name))

    def validate(self) -> None:
        """Check everything that can be checked before definitions are applied; what has no rows yet is checked by form only.

        Raises:
            TidemillError: A definition is wrong; see `plan_service`, `check_row_wise` and `check_on_demand`.
        """
        for view in self._definitions.of_kind("feature_view").values():
            if self.has_rows(view.source):
                rows = self.rows(view)
                plan_use(as_use(view), rows)
                check_row_wise(rows, self._reader.newest(view.source).head(SAMPLE_ROWS).collect())
        for service in self._services().values():
            found = self._checked(service)
            if found is not None and service.on_demand:
                check_on_demand(found.plan, self._sample(found.spine), self._reader.newest)

    def _sample(self, spine: Source) -> pl.DataFrame:
        """Some rows of a source, with the columns it is resolved for."""
        columns = self._columns(spine) or pl.Schema()
        if not self.has_rows(spine):
            return pl.DataFrame(schema=columns)
        return self._reader.newest(spine).select(columns.names()).head(SAMPLE_ROWS).collect()


T = TypeVar("T")


def _attempt(work: Callable[[], T]) -> tuple[T | None, str | None]:
    """A result, or the reason why there is none: a list shows a wrong definition instead of failing with it."""
    try:
        return work(), None
    except TidemillError as error:
        return None, str(error)


def _described(columns: Iterable[tuple[str, pl.DataType]]) -> tuple[Column, ...]:
    return tuple(describe_column(name, dtype) for name, dtype in columns)
