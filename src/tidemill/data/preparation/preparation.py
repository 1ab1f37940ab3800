"""A recipe, fitted: what its preparations learned from some rows, applied to any row in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
import polars as pl

from tidemill.core.errors import FormatTooNew, InvalidArgument, InvalidData
from tidemill.core.ids import digest_bytes
from tidemill.core.schema import Column
from tidemill.core.specs.preparation import (
    Bucketize,
    Clip,
    Dates,
    HashEncode,
    Impute,
    OneHot,
    Ordinal,
    Prepare,
    Recipe,
    Scale,
    TargetEncode,
)
from tidemill.data.columns import TYPES
from tidemill.data.preparation.bucketing import Bucketized, fit_bucketize
from tidemill.data.preparation.choosing import chosen, inputs_of, replaced
from tidemill.data.preparation.encoding import (
    HashEncoded,
    OneHotEncoded,
    OrdinalEncoded,
    fit_hash_encode,
    fit_one_hot,
    fit_ordinal,
)
from tidemill.data.preparation.imputing import Imputed, fit_impute
from tidemill.data.preparation.scaling import Clipped, Scaled, fit_clip, fit_scale
from tidemill.data.preparation.target import TargetEncoded, fit_target_encode, label_values
from tidemill.data.preparation.times import Dated, fit_dates

FORMAT = 1
"""Version of the fitted format; a newer one is refused."""

AnyFitted = (
    Imputed | Scaled | Clipped | Bucketized | OneHotEncoded | OrdinalEncoded | TargetEncoded | HashEncoded | Dated
)


class Preparation(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What a recipe learned: plain data, the same bytes whenever the same rows are fitted."""

    format: int = FORMAT
    rows: int
    """How many rows it was fitted on."""
    inputs: tuple[Column, ...]
    """The columns it is applied to: features, and the prediction time where its parts are wanted."""
    stages: tuple[tuple[AnyFitted, ...], ...]
    """For each preparation of the recipe what it learned about each of its columns."""
    columns: tuple[Column, ...]
    """What the model sees."""

    def encode(self) -> bytes:
        """Canonical JSON."""
        return msgspec.json.encode(self, order="sorted")

    @cached_property
    def digest(self) -> str:
        """The sha256 of the canonical JSON, as 64 hex digits."""
        return digest_bytes(self.encode())

    def apply(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Prepare rows, each by itself.

        Args:
            rows: Rows that hold at least the inputs; other columns are left out.

        Returns:
            `columns`, one row per row. Texts are plain; see `tidemill.tracking.columns.model_frame`.

        Raises:
            InvalidArgument: An input is missing, or holds values of another type.
        """
        found = _typed(rows, self.inputs)
        for expressions in self._passes:
            found = found.with_columns(expressions)
        return found.select(column.name for column in self.columns)

    def apply_to_own(self, rows: pl.DataFrame, label: pl.Series | None) -> pl.DataFrame:
        """Prepare the very rows it was fitted on: targets are encoded out of fold, so that no row sees its own label.

        Args:
            rows: The rows, in the same order.
            label: Their label.
        """
        found = _typed(rows, self.inputs)
        for stage in self.stages:
            found = found.with_columns(_own(stage, found, label))
        return found.select(column.name for column in self.columns)

    @cached_property
    def _passes(self) -> list[list[pl.Expr]]:
        """All stages in as few passes over the rows as can be: each pass reads what the ones before it made."""
        passes: list[list[pl.Expr]] = [[]]
        made: set[str] = set()
        for stage in self.stages:
            expressions = [expression for fitted in stage for expression in fitted.expressions()]
            if made & {name for expression in expressions for name in expression.meta.root_names()}:
                passes.append([])
                made = set()
            passes[-1] += expressions
            made |= {expression.meta.output_name() for expression in expressions}
        return passes


def decode_preparation(data: bytes) -> Preparation:
    """Read what `Preparation.encode` wrote.

    Raises:
        FormatTooNew: A newer Tidemill wrote it.
        InvalidData: It is none.
    """
    try:
        if msgspec.json.decode(data).get("format", 0) > FORMAT:
            raise FormatTooNew("a fitted preparation was written by a newer Tidemill", hint="Upgrade tidemill")
        return msgspec.json.decode(data, type=Preparation)
    except (msgspec.MsgspecError, AttributeError, TypeError) as error:
        raise InvalidData(f"a stored preparation cannot be read: {error}") from error


def fit_preparation(
    recipe: Recipe, rows: pl.DataFrame, features: Sequence[Column], *, time: str | None = None,
    label: pl.Series | None = None,
) -> Preparation:  # fmt: skip
    """Fit a recipe on rows: each preparation on what the ones before it made of them.

    Args:
        recipe: The preparations, in order.
        rows: The rows to learn from, and nothing else is learned from.
        features: The features, described.
        time: The column with the prediction time.
        label: The label of each row, which `target_encode` learns from.

    Raises:
        InvalidData: There is no row, or nothing to learn in a column.
        InvalidArgument: A preparation does not fit its column, or two columns would share a name.
        NotFound: A column is not there.
    """
    if not rows.height:
        raise InvalidData("there is no row to fit a preparation on", expected="at least one")
    given = inputs_of(recipe, features, time)
    # Categories are known of more rows than these: what is learned must not depend on them.
    inputs = tuple(Column(name=column.name, type=column.type) for column in given)
    found = _typed(rows, inputs)
    working = {column.name: column for column in given}
    stages: list[tuple[AnyFitted, ...]] = []
    for spec in recipe:
        names = chosen(spec, working)
        stage = tuple(_fit(spec, found, working[name], working, label) for name in names)
        found = found.with_columns(_own(stage, found, label))
        for fitted in stage:
            working = replaced(working, fitted.column, fitted.outputs(working[fitted.column]))
        stages.append(stage)
    shown = {column.name for column in features}
    columns = tuple(column for column in working.values() if column.name != time or time in shown)
    if not columns:
        raise InvalidArgument("the preparation leaves no column for the model")
    return Preparation(rows=rows.height, inputs=inputs, stages=tuple(stages), columns=columns)


_EXAMPLES: Mapping[str, list[Any]] = {
    "boolean": [False, True], "int64": [0, 1], "float64": [0.0, 1.0], "string": ["a", "b"], "time": [0, 1],
    "list": [[0.0], [1.0]],
}  # fmt: skip


def check_recipe(recipe: Recipe, features: Sequence[Column], time: str | None) -> None:
    """Try a recipe on two made-up rows: whether its columns are there, and of types it fits.

    What names a column of a one-hot encoded value, and what follows that, is checked once the values are known.

    Raises:
        InvalidArgument: A preparation does not fit its column, or two columns would share a name.
        NotFound: A column is not there.
    """
    made_of_values = tuple(f"{name}_" for spec in recipe if isinstance(spec, OneHot) for name in spec.columns)
    known = next((n for n, spec in enumerate(recipe) if _names_value(spec, made_of_values)), len(recipe))
    typed = [Column(name=column.name, type=column.type) for column in inputs_of(recipe, features, time)]
    rows = pl.DataFrame([pl.Series(column.name, _EXAMPLES[column.type]) for column in typed])
    rows = rows.with_columns(pl.col(column.name).cast(TYPES["time"]) for column in typed if column.type == "time")
    fit_preparation(recipe[:known], rows, features, time=time, label=pl.Series("label", [0.0, 1.0]))


def _names_value(spec: Prepare, prefixes: tuple[str, ...]) -> bool:
    return any(name.startswith(prefixes) for name in spec.columns)


def _own(stage: Sequence[AnyFitted], rows: pl.DataFrame, label: pl.Series | None) -> list[pl.Expr | pl.Series]:
    """A stage for the rows it is fitted on."""
    made: list[pl.Expr | pl.Series] = []
    for fitted in stage:
        if isinstance(fitted, TargetEncoded):
            made.append(fitted.out_of_fold(rows.get_column(fitted.column), label_values(label, fitted.column)))
        else:
            made += fitted.expressions()
    return made


def _fit(
    spec: Prepare, rows: pl.DataFrame, column: Column, working: Mapping[str, Column], label: pl.Series | None
) -> AnyFitted:
    match spec:
        case Impute():
            return fit_impute(spec, rows, column, dict(working))
        case TargetEncode():
            return fit_target_encode(spec, rows, column, label)
    fitted: AnyFitted = _FITTERS[type(spec)](spec, rows, column)
    return fitted


_FITTERS: Mapping[type, Any] = {
    Scale: fit_scale, Clip: fit_clip, Bucketize: fit_bucketize, OneHot: fit_one_hot, Ordinal: fit_ordinal,
    HashEncode: fit_hash_encode, Dates: fit_dates,
}  # fmt: skip


def _typed(rows: pl.DataFrame, inputs: Sequence[Column]) -> pl.DataFrame:
    missing = [column.name for column in inputs if column.name not in rows.columns]
    if missing:
        raise InvalidArgument(f"the input has no column {', '.join(map(repr, missing))}", known=rows.columns)
    return pl.DataFrame([_cast(rows.get_column(column.name), column) for column in inputs])


def _cast(series: pl.Series, column: Column) -> pl.Series:
    if column.type == "list" or series.dtype == TYPES[column.type]:
        return series
    try:
        return series.cast(TYPES[column.type])
    except pl.exceptions.PolarsError:
        raise InvalidArgument(
            f"column {series.name!r} holds {series.dtype} that is not {column.type}", expected=f"{column.type} values"
        ) from None
