"""A dataset in the hand: an immutable frame with its manifest."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from tidemill.core.errors import InvalidArgument, InvalidData
from tidemill.core.ids import check_name, digest_bytes
from tidemill.core.schema import Column
from tidemill.core.times import format_time
from tidemill.data.preparation.preparation import Preparation, fit_preparation
from tidemill.tracking.columns import columns_of, model_frame, plain, require
from tidemill.tracking.manifest import DataFile, DatasetManifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ROW_GROUP = 131_072


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A materialized, immutable, content-addressed set of rows to train or test on.

    Two datasets with the same digest are equal. A dataset travels between processes by its digest, never pickled.
    """

    manifest: DatasetManifest
    digest: str
    """The sha256 of the canonical manifest."""
    _read: Callable[[], pl.DataFrame] = field(repr=False)
    _learned: Callable[[], Preparation] | None = field(default=None, repr=False)
    """Gives what its preparation learned; None when that is still to be learned, from these rows."""

    @property
    def name(self) -> str:
        """What it is called; not unique."""
        return self.manifest.name

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All columns (id, time, keys, request, features, label) with plain dtypes; read when first asked for."""
        return self._read()

    @cached_property
    def features(self) -> pl.DataFrame:
        """The features before they are prepared: strings as Enum of the categories known, the rest plain."""
        return model_frame(self.frame, self.manifest.features)

    @cached_property
    def preparation(self) -> Preparation | None:
        """What the feature service's `prepare=` learned; None when the service has none.

        It is learned from the rows of this dataset and from nothing else. A test part has that of the rows fitted on.

        Raises:
            InvalidData: There is nothing to learn from in some column.
            InvalidArgument: A preparation does not fit the features.
        """
        m = self.manifest
        if self._learned is not None or not m.prepare:
            return None if self._learned is None else self._learned()
        return fit_preparation(m.prepare, self.frame, m.features, time=m.time, label=self._label)

    @cached_property
    def X(self) -> pl.DataFrame:
        """The features as a model sees them: prepared, strings as Enum of the categories known, the rest plain."""
        fitted = self.preparation
        if fitted is None:
            return self.features
        own = self.manifest.prepared_as is None
        rows = fitted.apply_to_own(self.frame, self._label) if own else fitted.apply(self.frame)
        return model_frame(rows, fitted.columns)

    @property
    def _label(self) -> pl.Series | None:
        label = self.manifest.label
        return None if label is None else self.frame.get_column(label.name)

    def prepared_as(self, other: Dataset) -> Dataset:
        """These rows as a model sees them that was fitted on another dataset; in memory only.

        Args:
            other: The dataset whose rows its preparation is learned from.
        """
        if not (self.manifest.prepare or other.manifest.prepare):
            return self
        return self.with_preparation(other.preparation, other)

    def with_preparation(self, fitted: Preparation | None, other: Dataset | None = None) -> Dataset:
        """These rows, known to be prepared by what was learned from them, or from another dataset.

        Args:
            fitted: What was learned.
            other: What it was learned from; None: these rows.
        """
        source = self if other is None else other
        facts = {
            "prepare": source.manifest.prepare,
            "preparation": None if fitted is None else fitted.digest,
            "prepared_as": None if fitted is None or other is None else other.digest,
        }
        manifest = msgspec.structs.replace(self.manifest, **facts)
        return Dataset(manifest, manifest.digest(), lambda: self.frame, None if fitted is None else lambda: fitted)

    @cached_property
    def y(self) -> NDArray[np.generic]:
        """The label of each row.

        Raises:
            InvalidArgument: The dataset has no label.
        """
        if self.manifest.label is None:
            raise InvalidArgument(f"dataset {self.name!r} has no label", hint="Build it with label=")
        return self.frame.get_column(self.manifest.label.name).to_numpy()

    @cached_property
    def ids(self) -> pl.Series:
        """The id of each row as text; several id columns are joined by `|`.

        Raises:
            InvalidArgument: The dataset has no id.
        """
        if not self.manifest.id:
            raise InvalidArgument(f"dataset {self.name!r} has no id", hint="Give its source an id column")
        joined = pl.concat_str(pl.col(self.manifest.id).cast(pl.String), separator="|")
        return self.frame.select(id=joined).to_series()

    @cached_property
    def times(self) -> pl.Series:
        """The time of each row in microseconds UTC (Int64).

        Raises:
            InvalidArgument: The dataset has no time.
        """
        if self.manifest.time is None:
            raise InvalidArgument(f"dataset {self.name!r} has no time", hint="Give its source a time column")
        return self.frame.get_column(self.manifest.time).to_physical().rename("time")

    def head(self, rows: int = 5) -> pl.DataFrame:
        """The first rows of the frame."""
        return self.frame.head(rows)

    def part(self, rows: pl.Series, note: Mapping[str, Any]) -> Dataset:
        """Some of the rows, in memory only: kept nowhere, known by this dataset's digest and the note.

        What prepares them is learned anew from these rows, unless the whole is prepared as another dataset is.

        Args:
            rows: Boolean mask, one value per row.
            note: How the rows were chosen; it must tell different choices apart.
        """
        frame = self.frame.filter(rows)
        m = self.manifest
        span = _span(frame, m.time) if frame.height else {}
        lent = m.prepared_as is not None
        manifest = msgspec.structs.replace(m, rows=frame.height, parent=self.digest, split=dict(note), files=(),
                                           preparation=m.preparation if lent else None, **span)  # fmt: skip
        part = Dataset(manifest, manifest.digest(), lambda: frame, self._learned if lent else None)
        part.__dict__["features"] = self.features.filter(rows)  # the cast to categories is made once for the whole
        return part

    def __len__(self) -> int:
        return self.manifest.rows

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dataset) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        m = self.manifest
        label = "no label" if m.label is None else f"label {m.label.name}"
        span = "" if m.first is None or m.last is None else f", {format_time(m.first)} to {format_time(m.last)}"
        return f"<Dataset {m.name} {self.digest[:12]}: {m.rows} rows x {len(m.features)} features, {label}{span}>"

    def __reduce__(self) -> Any:
        raise InvalidArgument(
            f"{self!r} cannot be pickled", hint="Pass its digest and load it with `datasets.load(digest)`"
        )

    @classmethod
    def of(
        cls, frame: pl.DataFrame, *, label: str | None = None, features: Sequence[str | Column] | None = None,
        name: str = "rows", id: str | Sequence[str] = (), time: str | None = None, **facts: Any,
    ) -> Dataset:  # fmt: skip
        """A dataset of a frame in memory, kept nowhere: for trying a training step on a few rows.

        Args:
            frame: The rows.
            label: The label's column.
            features: The features in order, as names or described; all other columns when absent.
            name: What to call it.
            id: Column or columns that identify a row.
            time: Column with the time of each row.
            facts: Further fields of the manifest: `keys`, `request`, `prepare`, `tables`, ...

        Example:
            >>> rows = pl.DataFrame({"id": [1, 2], "carrier": ["AA", "UA"], "late": [True, False]})
            >>> Dataset.of(rows, label="late", id="id").X["carrier"].dtype
            Enum(categories=['AA', 'UA'])
        """
        return build(
            frame, name=name, label=label, features=features, id=(id,) if isinstance(id, str) else tuple(id), time=time,
            **facts,
        )[0]  # fmt: skip


def build(
    frame: pl.DataFrame, *, name: str, features: Sequence[str | Column] | None, label: str | Column | None,
    id: Sequence[str], time: str | None, request: Sequence[str | Column] = (), **facts: Any,
) -> tuple[Dataset, bytes]:  # fmt: skip
    """Describe a frame and encode it: the dataset, and the bytes of its file."""
    rows = plain(frame).rechunk()
    label_column = None if label is None else _described(rows, [label], categories=False)[0]
    used = {*id, time, label_column.name if label_column else None}
    chosen = [c for c in rows.columns if c not in used] if features is None else features
    require(rows, [*id, *([time] if time else ()), *facts.get("keys", ())], f"dataset {name!r}")
    _check_label(rows, label_column)
    data = encode(rows)
    manifest = DatasetManifest(
        name=check_name(name, "name of a dataset"),
        features=_described(rows, chosen, categories=True),
        label=label_column,
        id=tuple(id),
        time=time,
        request=_described(rows, request, categories=False),
        rows=rows.height,
        files=(DataFile(digest=digest_bytes(data), rows=rows.height),),
        **_span(rows, time),
        **facts,
    )
    return Dataset(manifest, manifest.digest(), lambda: rows), data


def _described(rows: pl.DataFrame, wanted: Sequence[str | Column], *, categories: bool) -> tuple[Column, ...]:
    return tuple(_completed(rows, column, categories=categories) for column in wanted)


def _completed(rows: pl.DataFrame, column: str | Column, *, categories: bool) -> Column:
    name = column if isinstance(column, str) else column.name
    if isinstance(column, Column) and (column.categories is not None or column.type != "string" or not categories):
        require(rows, [name])
        return column
    found = columns_of(rows, [name], categories=categories)[0]
    return found if isinstance(column, str) else Column(name=name, type=found.type, nullable=column.nullable,
                                                        categories=found.categories, unit=column.unit)  # fmt: skip


def _check_label(rows: pl.DataFrame, label: Column | None) -> None:
    if label is not None and (missing := rows.get_column(label.name).null_count()):
        raise InvalidData(
            f"{missing} of {rows.height} rows have no {label.name!r}", expected="a label in every row",
            hint="Leave those rows out",
        )  # fmt: skip


def _span(rows: pl.DataFrame, time: str | None) -> Mapping[str, Any]:
    if time is None:
        return {}
    times = rows.get_column(time)
    if times.dtype != pl.Datetime("us", "UTC"):
        raise InvalidData(f"the time column {time!r} is {times.dtype}", expected="times")
    whole = times.to_physical()
    return {"first": whole.min(), "last": whole.max()}


def encode(frame: pl.DataFrame) -> bytes:
    """The Parquet file of a frame: the same bytes for the same rows, however the frame was put together."""
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(buffer, compression="zstd", compression_level=3, row_group_size=_ROW_GROUP)
    return buffer.getvalue()


def inherited(dataset: Dataset) -> dict[str, Any]:
    """What a part of a dataset takes over from the whole, as arguments of `build`."""
    m = dataset.manifest
    kept = ("name", "features", "label", "id", "time", "keys", "request", "tables", "plan", "availability", "service",
            "label_name", "until", "prepare")  # fmt: skip
    return {key: getattr(m, key) for key in kept}
