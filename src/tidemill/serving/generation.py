"""A generation: a graph compiled with exact model versions. It never changes once it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tidemill.core.errors import InvalidArgument, InvalidData, TidemillError, UserCodeError
from tidemill.core.ids import new_id
from tidemill.core.protocols import REPLACED, FeatureReader, LoadedModel, ModelRef, ModelSource
from tidemill.core.schema import Column, Signature, names
from tidemill.core.scope import Scope
from tidemill.core.specs.serving import Apply, Enrich, Graph
from tidemill.core.times import format_time
from tidemill.serving.frames import PREDICTION_TIME, ROW_ID, RequestSchema
from tidemill.serving.runtime import Target

_OWN_COLUMNS = (ROW_ID, "prediction", "probability", "model_version")
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Predicted:
    """What one request's rows became."""

    rows: pl.DataFrame
    """Row ids, prediction times, request columns and features, as the model saw them."""
    outputs: pl.DataFrame
    """The model's own answers."""
    answers: pl.DataFrame
    """What the caller gets: the outputs after the graph's last step."""
    enriched: Sequence[tuple[pl.DataFrame, pl.DataFrame]] = ()
    """The rows before and after each enrichment."""


class Generation:
    """A running instance of an endpoint's graph. Made by `compile_generation`.

    `run` and `shadow` are called by one thread at a time; `pin`, `release` and `retire` by the event loop only.
    """

    def __init__(
        self, target: Target, graph: Graph, model: LoadedModel, shadow: LoadedModel | None, features: FeatureReader,
        scope: Scope,
    ) -> None:  # fmt: skip
        self.target = target
        self.signature = model.signature
        self.schema = request_schema(graph, model.signature, features)
        self._graph, self._model, self._shadow = graph, model, shadow
        self._features, self._scope = features, scope
        self._pins = 0
        self._drained: Callable[[], None] | None = None

    # -- life

    def pin(self) -> None:
        """Hold it for a request that was admitted."""
        self._pins += 1

    def release(self) -> None:
        """Let go of it; the last one out of a retired generation tells so."""
        self._pins -= 1
        self._tell_if_drained()

    def retire(self, drained: Callable[[], None]) -> None:
        """No request will pin it any more; `drained` is called when none holds it."""
        self._drained = drained
        self._tell_if_drained()

    def _tell_if_drained(self) -> None:
        if self._drained is not None and self._pins == 0:
            drained, self._drained = self._drained, None
            drained()

    @property
    def has_shadow(self) -> bool:
        """Whether a second model is asked, and only captured."""
        return self._shadow is not None

    # -- work

    def run(self, request: pl.DataFrame, now: int) -> Predicted:
        """Answer rows.

        Args:
            request: Rows by `schema`, at least one.
            now: The time of the request, microseconds.

        Raises:
            InvalidData: A row's time is in the future.
            UserCodeError: The model or a function of the graph raised.
        """
        rows = self._identified(request, now)
        enriched: list[tuple[pl.DataFrame, pl.DataFrame]] = []
        for step in self._graph.steps:
            if isinstance(step, Enrich):
                before, rows = rows, self._features.enrich(step.service, rows, now)
                enriched.append((before, rows))
            elif isinstance(step, Apply) and step.role == "transform":
                rows = _apply(step, rows)
        outputs = self._model.predict(rows)
        return Predicted(rows, outputs, self._finished(outputs), enriched)

    def _identified(self, request: pl.DataFrame, now: int) -> pl.DataFrame:
        ids, times = self._row_ids(request), self._times(request, now)
        return request.with_columns(ids, times, *self._own_time(request, times))

    def _own_time(self, request: pl.DataFrame, times: pl.Series) -> list[pl.Series]:
        # Where a row has no time the clock is meant, for features made of the time as much as for those looked up by it.
        time = self.signature.time
        if time is None or time not in request.columns or not request.get_column(time).null_count():
            return []
        return [times.cast(request.schema[time]).rename(time)]

    def _row_ids(self, request: pl.DataFrame) -> pl.Series:
        own = [name for name in self.signature.id if name in request.columns]
        if not own:
            fresh = [new_id(self._scope.clock) for _ in range(request.height)]
            return pl.Series(ROW_ID, fresh, dtype=pl.String())
        if len(own) == 1:
            ids = request.get_column(own[0]).cast(pl.String).rename(ROW_ID)
        else:
            texts = [pl.col(name).cast(pl.String) for name in own]
            ids = request.select(pl.concat_str(texts, separator="|").alias(ROW_ID)).to_series()
        return ids if not ids.null_count() else self._filled(ids)

    def _filled(self, ids: pl.Series) -> pl.Series:
        return pl.Series(ROW_ID, [new_id(self._scope.clock) if value is None else value for value in ids])

    def _times(self, request: pl.DataFrame, now: int) -> pl.Series:
        time = self.signature.time
        if time is None or time not in request.columns:
            return pl.repeat(now, request.height, dtype=pl.Int64, eager=True).rename(PREDICTION_TIME)
        times = request.get_column(time).cast(pl.Int64).rename(PREDICTION_TIME)
        times = times.fill_null(now) if times.null_count() else times
        if (latest := times.max()) is not None and latest > now:  # type: ignore[operator]
            row = int(times.arg_max() or 0)
            raise InvalidData(
                f"row {row}, column {time!r} is {format_time(times[row])}",
                expected=f"no time after now, {format_time(now)}",
            )
        return times

    def _finished(self, outputs: pl.DataFrame) -> pl.DataFrame:
        for step in self._graph.steps:
            if isinstance(step, Apply) and step.role == "post":
                outputs = _apply(step, outputs)
        return outputs

    def captured(self, done: Predicted) -> pl.DataFrame:
        """What is kept of the rows: everything the model saw and said, and what was asked or answered where that differs."""
        version = pl.repeat(self.target.model.version, done.rows.height, dtype=pl.Int64, eager=True)
        frame = done.rows.hstack(done.outputs).hstack([version.rename("model_version"), *_replaced(done)])
        if done.answers is done.outputs:
            return frame
        return frame.hstack([series.rename(f"answered_{series.name}") for series in done.answers])

    def shadow(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The shadow model's answers to rows as `run` gave them to the model, with their row ids and times."""
        if self._shadow is None or self.target.shadow is None:
            raise InvalidArgument(f"endpoint {self.target.endpoint!r} has no shadow")
        outputs = self._shadow.predict(rows)
        version = pl.repeat(self.target.shadow.version, rows.height, dtype=pl.Int64, eager=True)
        renamed = [series.rename(f"shadow_{series.name}") for series in outputs]
        return rows.select(ROW_ID, PREDICTION_TIME).hstack([*renamed, version.rename("shadow_version")])

    def probe(self, now: int) -> None:
        """Run the steps before the model on one empty row: whether they give the model all it needs.

        Raises:
            InvalidArgument: The model needs columns that nothing gives.
        """
        empty = pl.DataFrame([pl.Series(c.name, [None], dtype=_NULLS[c.type]) for c in self.schema.columns])
        rows = self._identified(empty, now)
        for step in self._graph.steps:
            if isinstance(step, Enrich):
                rows = self._features.enrich(step.service, rows, now)
            elif isinstance(step, Apply) and step.role == "transform":
                rows = _apply(step, rows)
        if missing := [name for name in names(self.signature.inputs) if name not in rows.columns]:
            raise InvalidArgument(
                f"models:/{self.target.model.name}/{self.target.model.version} needs {', '.join(missing)}, which graph "
                f"{self._graph.name!r} does not give it",
                known=rows.columns,
            )


_NULLS: dict[str, Any] = {
    "int64": pl.Int64, "float64": pl.Float64, "boolean": pl.Boolean, "string": pl.String,
    "time": pl.Datetime("us", "UTC"), "list": pl.List(pl.Float64),
}  # fmt: skip


def compile_generation(
    target: Target, graph: Graph, *, models: ModelSource, features: FeatureReader, scope: Scope
) -> Generation:
    """Load a generation's models, warm them up and check them against their stored examples.

    Raises:
        InvalidArgument: The model does not fit the graph.
        InvalidData: A model does not answer its stored example as it did when it was registered.
    """
    _check_service(target.model, graph)
    model = _loaded(target.model, models)
    shadow = None if target.shadow is None else _loaded(target.shadow, models)
    return Generation(target, graph, model, shadow, features, scope)


def _check_service(ref: ModelRef, graph: Graph) -> None:
    service = graph.service
    if service is not None and ref.service is not None and ref.service != service.name:
        raise InvalidArgument(
            f"models:/{ref.name}/{ref.version} was trained on feature service {ref.service!r}",
            expected=f"{service.name!r}, which graph {graph.name!r} enriches with",
        )


def _loaded(ref: ModelRef, models: ModelSource) -> LoadedModel:
    model = models.load(ref)
    example = models.example(ref)
    if example is not None:
        inputs, expected = example
        _check_answers(ref, expected, model.predict(inputs))
    return model


def _check_answers(ref: ModelRef, expected: pl.DataFrame, found: pl.DataFrame) -> None:
    if expected.columns != found.columns or expected.height != found.height:
        raise _other_answers(ref, f"{found.height} rows of {found.columns}")
    for column in expected.columns:
        a, b = expected[column], found[column]
        same = ((a - b).abs() <= _TOLERANCE) if a.dtype.is_float() else a.eq_missing(b)
        if not same.fill_null(True).all():
            raise _other_answers(ref, f"another {column} in {(~same.fill_null(True)).sum()} of {a.len()} rows")


def _other_answers(ref: ModelRef, what: str) -> InvalidData:
    return InvalidData(
        f"models:/{ref.name}/{ref.version} gives {what} for its stored example",
        expected="the answers it gave when it was registered",
        hint="Are the libraries here of the versions it was trained with?",
    )


def request_schema(graph: Graph, signature: Signature, features: FeatureReader) -> RequestSchema:
    """What callers of a graph with this model send.

    Raises:
        InvalidArgument: A request column has a name serving needs itself.
    """
    columns = _request_columns(graph, signature, features)
    if taken := [column.name for column in columns if column.name in _OWN_COLUMNS]:
        raise InvalidArgument(f"the request has a column {taken[0]!r}, a name serving uses itself", hint="Rename it")
    optional = {*signature.id} | ({signature.time} if signature.time else set())
    return RequestSchema(tuple(columns), frozenset(optional))


def _request_columns(graph: Graph, signature: Signature, features: FeatureReader) -> Sequence[Column]:
    told = list(signature.request)
    if graph.service is not None:
        known = names(told)
        told += [column for column in features.request_schema(graph.service) if column.name not in known]
    return told or list(signature.inputs)


def _replaced(done: Predicted) -> list[pl.Series]:
    """What features were asked with and what they were, where a later step changed or dropped it; and which those are."""
    found: dict[str, pl.Series] = {}
    for before, after in done.enriched:
        asked = [column for column in before if not _holds(done.rows, column)]
        given = [] if after is done.rows else [column for column in after if not _holds(done.rows, column)]
        for prefix, columns in (("requested_", asked), ("enriched_", given)):
            for column in columns:
                found.setdefault(prefix + column.name, column.rename(prefix + column.name))
    if not found:
        return []
    names_of = pl.repeat("\n".join(found), done.rows.height, dtype=pl.String, eager=True)
    return [names_of.rename(REPLACED), *found.values()]


def _holds(rows: pl.DataFrame, column: pl.Series) -> bool:
    if column.name not in rows.columns:
        return False
    there = rows.get_column(column.name)
    return there.dtype == column.dtype and there.equals(column)


def _apply(step: Apply, rows: pl.DataFrame) -> pl.DataFrame:
    name = getattr(step.function, "__name__", "function")
    try:
        result = step.function(rows)
        frame = result.collect() if isinstance(result, pl.LazyFrame) else result
    except TidemillError:
        raise
    except Exception as error:
        raise UserCodeError(f"{step.role} {name!r} raised {type(error).__name__}: {error}") from error
    if not isinstance(frame, pl.DataFrame) or frame.height != rows.height:
        found = f"{frame.height} rows" if isinstance(frame, pl.DataFrame) else repr(type(frame).__name__)
        raise UserCodeError(f"{step.role} {name!r} returned {found}", expected=f"a frame of {rows.height} rows")
    if step.role == "transform" and not {ROW_ID, PREDICTION_TIME} <= set(frame.columns):
        lost = [c for c in (ROW_ID, PREDICTION_TIME) if c not in frame.columns]
        frame = frame.hstack(rows.select(lost))
    return frame
