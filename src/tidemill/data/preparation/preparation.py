"""A recipe, fitted: what its preparations learned from some rows, applied to any row in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import msgspec
import polars as pl

from tidemill.core.errors import FormatTooNew, InvalidArgument, InvalidData, unknown
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
        for stage in self._expressions:
            found = found.with_columns(stage)
        return found.select(column.name for column in self.columns)

    def apply_to_own(self, rows: pl.DataFrame, label: pl.Series | None) -> pl.DataFrame:
        """Prepare the very rows it was fitted on: targets are encoded out of fold, so that no row sees its own label.

        Args:
            rows: The rows, in the same order.
            label: Their label.
        """
        found = _typed(rows, self.inputs)
        for stage, expressions in zip(self.stages, self._expressions, strict=True):
            found = found.with_columns(_own(stage, expressions, found, label))
        return found.select(column.name for column in self.columns)

    @cached_property
    def _expressions(self) -> list[list[pl.Expr]]:
        return [[made for fitted in stage for made in fitted.expressions()] for stage in self.stages]


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


def inputs_of(recipe: Recipe, features: Sequence[Column], time: str | None) -> tuple[Column, ...]:
    """The columns a recipe is applied to: the features, and the prediction time where `dates` names it."""
    named = {name for spec in recipe if isinstance(spec, Dates) for name in spec.columns}
    if time is None or time not in named or any(column.name == time for column in features):
        return tuple(features)
    return (*features, Column(name=time, type="time"))


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
        found = found.with_columns(_own(stage, [made for one in stage for made in one.expressions()], found, label))
        for fitted in stage:
            working = replaced(working, fitted.column, fitted.outputs(working[fitted.column]))
        stages.append(stage)
    shown = {column.name for column in features}
    columns = tuple(column for column in working.values() if column.name != time or time in shown)
    if not columns:
        raise InvalidArgument("the preparation leaves no column for the model")
    return Preparation(rows=rows.height, inputs=inputs, stages=tuple(stages), columns=columns)


def _own(
    stage: Sequence[AnyFitted], expressions: list[pl.Expr], rows: pl.DataFrame, label: pl.Series | None
) -> list[pl.Expr | pl.Series]:
    encoded = [fitted for fitted in stage if isinstance(fitted, TargetEncoded)]
    if not encoded:
        return list(expressions)
    return [one.out_of_fold(rows.get_column(one.column), label_values(label, one.column)) for one in encoded]


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


def chosen(spec: Prepare, working: Mapping[str, Column]) -> list[str]:
    """The columns a preparation is done to, in the order it names them.

    Raises:
        NotFound: A name is no column.
        InvalidArgument: It does not fit a column it names, or a pattern matches none that it fits.

    Example:
        >>> from tidemill.core.specs.preparation import scale
        >>> columns = [Column(name="a__temp", type="float64"), Column(name="a__sky", type="string")]
        >>> chosen(scale("a__*"), {column.name: column for column in columns})
        ['a__temp']
    """
    found: dict[str, None] = {}
    for asked in spec.columns:
        if any(character in asked for character in "*?["):
            matching = [n for n, column in working.items() if fnmatchcase(n, asked) and column.type in spec.takes()]
            if not matching:
                raise InvalidArgument(f"{spec.kind}({asked!r}) matches no column that it fits",
                                      expected=_taken(spec), known=sorted(working))  # fmt: skip
            found |= dict.fromkeys(matching)
        else:
            found[_named(spec, asked, working)] = None
    return list(found)


def _named(spec: Prepare, name: str, working: Mapping[str, Column]) -> str:
    if name not in working:
        raise unknown(f"column to {spec.kind}", name, working)
    if working[name].type not in spec.takes():
        raise InvalidArgument(f"{spec.kind}({name!r}) on a column of {working[name].type}", expected=_taken(spec))
    return name


def _taken(spec: Prepare) -> str:
    return f"a column of {' or '.join(sorted(spec.takes()))}"


def replaced(working: Mapping[str, Column], name: str, outputs: Sequence[Column]) -> dict[str, Column]:
    """The columns with some in the place of one.

    Raises:
        InvalidArgument: A new one has the name of another.
    """
    names = [column.name for column in outputs]
    taken = [one for one in names if one != name and one in working] + [n for n in names if names.count(n) > 1]
    if taken:
        raise InvalidArgument(f"preparing {name!r} makes a column {taken[0]!r}, which there is already",
                              hint="Rename one of the features")  # fmt: skip
    result: dict[str, Column] = {}
    for known, column in working.items():
        result |= {made.name: made for made in outputs} if known == name else {known: column}
    return result


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
