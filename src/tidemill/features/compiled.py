"""A service worked out once for rows of some columns: what each request then costs is reading and reducing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import polars as pl

from tidemill.core.errors import NotFound
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.features.encoding import encode_key, encode_keys
from tidemill.features.feed import Names, Shape, current_generation, generation_of
from tidemill.features.kernel.timeline import Ints
from tidemill.features.lookup import Asked, Found, StateLookup, WindowLookup, lookup_of
from tidemill.features.offline import on_demand
from tidemill.features.plan import OnDemandPlan, SchemaOf, ServicePlan, UsePlan, plan_service
from tidemill.features.windowed import Column
from tidemill.stores.online.protocol import OnlineReader, Question

PREDICTION_TIME = "prediction_time"


@dataclass(frozen=True)
class Stored:
    """Where a view is in the store."""

    names: Names
    shape: Shape
    generation: int


class ServiceReader:
    """Reads the features of a service, for rows of some columns, from the generations that answered when it was made.

    Args:
        service: The service.
        views: Where its views are.
        schema_of: The columns of a source.
        rows: The columns of the rows.
        partial: Leave out on-demand features that read more than these and the service's views have.
    """

    def __init__(
        self, service: FeatureService, views: Mapping[FeatureView, Stored], schema_of: SchemaOf, rows: pl.Schema,
        *, partial: bool = False,
    ) -> None:  # fmt: skip
        self._generations = [(view, stored.names, stored.generation) for view, stored in views.items()]
        self._positions: list[Question] = [generation_of(names) for _, names, _ in self._generations]
        self._expected = [number for _, _, number in self._generations]
        self._checked: object | None = None
        self._plan: ServicePlan = plan_service(
            service, schema_of, rows, PREDICTION_TIME, rows_of=lambda view: views[view].shape.rows, partial=partial
        )
        self._features = self._plan.features
        self._parts = [
            part if isinstance(part, OnDemandPlan) else StoredUse(part, views[part.use.view])
            for part in self._plan.parts
        ]
        self._uses = [part for part in self._parts if isinstance(part, StoredUse)]
        self._on_demand = [part for part in self._parts if isinstance(part, OnDemandPlan)]

    def is_current(self, reader: OnlineReader) -> bool:
        """Whether the generations it reads are still those that answer.

        Raises:
            NotReady: One was not materialized yet, or was forgotten.
        """
        return all(current_generation(reader, names, view) == number for view, names, number in self._generations)

    def frame(self, reader: OnlineReader, rows: pl.DataFrame, t: Ints, known: bool) -> pl.DataFrame | None:
        """The features of each row, in one read of the store; None when other generations answer by now."""
        if not rows.height:
            return pl.DataFrame(schema=self._features)
        keys: dict[tuple[str, ...], list[bytes | None]] = {}
        asked = []
        for use in self._uses:
            if use.columns not in keys:
                keys[use.columns] = encode_keys([rows[name] for name in use.columns])
            asked.append(use.lookup.ask(keys[use.columns], t, known))
        found = self._answered(reader, asked)
        if found is None:
            return None
        stored = [series for use in self._uses for series in use.series(next(found))]
        return self._with_on_demand(rows, stored) if self._on_demand else pl.DataFrame(stored)

    def _with_on_demand(self, rows: pl.DataFrame, stored: Iterable[pl.Series]) -> pl.DataFrame:
        """All features, in the order of the service."""
        columns = {series.name: series for series in stored}
        for part in self._on_demand:
            columns |= on_demand(part, rows, columns).to_dict()
        return pl.DataFrame([columns[name] for name in self._features])

    def vector(self, reader: OnlineReader, row: Mapping[str, Any], t: int, known: bool) -> dict[str, Any] | None:
        """The features of one row, as plain values, in one read of the store; None when other generations answer by now."""
        asked = [use.lookup.ask_one(encode_key([row[c] for c in use.columns]), t, known) for use in self._uses]
        found = self._answered(reader, asked)
        if found is None:
            return None
        values: dict[str, Any] = {}
        for part in self._parts:
            if isinstance(part, OnDemandPlan):
                values |= dict.fromkeys(part.types)  # their place among the features; they may read all that is stored
            else:
                part.add_values(values, next(found))
        for part in self._on_demand:
            stored = {name: pl.Series(name, [values[name]], dtype=part.given[name]) for name in part.stored}
            values |= on_demand(part, pl.DataFrame([dict(row)]), stored).row(0, named=True)
        return values

    def _answered(self, reader: OnlineReader, asked: Sequence[Asked]) -> Iterator[Found] | None:
        """What each use found, provided that the generations are still those that answer."""
        moment = reader.unchanged
        checked = moment is not None and moment is self._checked
        questions = [] if checked else self._positions.copy()
        first = len(questions)
        for one in asked:
            questions += one.questions
        try:
            answers = reader.answer(questions)
        except NotFound:  # a generation was replaced and dropped
            if self.is_current(reader):
                raise
            return None
        if not checked:
            if answers[:first] != self._expected:
                return None
            self._checked = moment
        found = []
        for one in asked:
            last = first + len(one.questions)
            found.append(one.found(reader, answers[first:last]))
            first = last
        return iter(found)


class StoredUse:
    """A view of a service, as it is used and where it is."""

    def __init__(self, plan: UsePlan, stored: Stored) -> None:
        view = plan.use.view
        self.columns = tuple(plan.use.keys[key] for key in view.key_columns)
        self.lookup: StateLookup | WindowLookup = lookup_of(plan, stored.shape, stored.names, stored.generation)
        self._names = plan.names
        self._full, self._pick = tuple(plan.names.values()), itemgetter(*plan.names)
        self._types = plan.types
        self._restore: dict[str, Callable[[Any], Any]] = {
            feature: _from_physical(dtype) for feature, dtype in plan.types.items() if dtype.is_temporal()
        }

    def series(self, found: Found) -> list[pl.Series]:
        """What was found for some questions, under the full names."""
        return [_series(found[feature], full, self._types[feature]) for feature, full in self._names.items()]

    def add_values(self, values: dict[str, Any], found: Found) -> None:
        """Add what was found for one question to others, under the full names."""
        for feature, restore in self._restore.items():
            found[feature] = restore(found[feature])
        if len(self._full) == 1:
            values[self._full[0]] = self._pick(found)
        else:
            values.update(zip(self._full, self._pick(found), strict=True))


def _series(found: Column | pl.Series, name: str, dtype: pl.DataType) -> pl.Series:
    return found.series(name, dtype) if isinstance(found, Column) else found.alias(name)


def _from_physical(dtype: pl.DataType) -> Callable[[Any], Any]:
    def restore(value: Any) -> Any:
        return pl.Series([value], dtype=pl.Int64).cast(dtype)[0] if isinstance(value, int) else value

    return restore
