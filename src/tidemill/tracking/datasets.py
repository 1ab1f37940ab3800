"""Datasets of a project: made, kept, found and divided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from tidemill.core.errors import FormatTooNew, InvalidArgument, InvalidData, NotFound
from tidemill.core.records.data import DatasetRecord
from tidemill.core.records.events import Event, Pin
from tidemill.core.schema import Column
from tidemill.core.scope import Scope
from tidemill.core.specs.preparation import Recipe
from tidemill.data.preparation.preparation import Preparation, decode_preparation
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.protocol import MetadataStore, Where, Writer
from tidemill.tracking.dataset import Dataset, build, inherited
from tidemill.tracking.manifest import FORMAT, DatasetManifest

__all__ = ["Dataset", "Datasets"]


class Datasets:
    """Makes and finds datasets.

    Args:
        scope: Project, principal and clock.
        metadata: Where the manifests are kept.
        artifacts: Where the rows are kept.
    """

    def __init__(self, scope: Scope, *, metadata: MetadataStore, artifacts: ArtifactStore) -> None:
        self._scope = scope
        self._metadata = metadata
        self._artifacts = artifacts

    def create(
        self, frame: pl.DataFrame, *, name: str, features: Sequence[str | Column], label: str | Column | None = None,
        id: Sequence[str] = (), time: str | None = None, keys: Sequence[str] = (), request: Sequence[str | Column] = (),
        tables: Mapping[str, int] | None = None, plan: str | None = None, availability: str | None = None,
        service: str | None = None, label_name: str | None = None, until: int | None = None, parent: str | None = None,
        split: Mapping[str, Any] | None = None, prepare: Recipe = (), prepared_as: Dataset | None = None,
    ) -> Dataset:  # fmt: skip
        """Keep a frame as a dataset. The same rows and facts give the same digest, and are kept once.

        Args:
            frame: All columns: id, time, keys, request, features, label.
            name: What to call it; not unique.
            features: The features in the model's order, as names or described; string features without categories get
                those of the frame.
            label: The label's column; no row may lack it.
            id: Columns that identify a row.
            time: Column with the time of each row.
            keys: Entity keys.
            request: What a caller sends to have such rows predicted.
            tables: Table -> the version that was read.
            plan: Digest of the plan that computed the features.
            availability: When a row counted as available.
            service: The feature service.
            label_name: Name of the label's definition.
            until: Nothing known after it (microseconds) was used.
            parent: Digest of the dataset it is a part of.
            split: How it was taken from the parent.
            prepare: What is done to the features before a model sees them. It learns from these rows, if they have a label.
            prepared_as: A dataset it learned from instead.

        Raises:
            InvalidArgument: A column named is not in the frame, or a preparation does not fit it.
            InvalidData: A row has no label, a column cannot be kept, or a preparation finds nothing to learn from.
        """
        dataset, data = build(
            frame, name=name, features=features, label=label, id=tuple(id), time=time, request=tuple(request),
            keys=tuple(keys), tables=dict(tables or {}), plan=plan, availability=availability, service=service,
            label_name=label_name, until=until, parent=parent, split=None if split is None else dict(split),
            prepare=prepare,
        )  # fmt: skip
        dataset = self._prepared(dataset, prepared_as)
        self._keep(dataset, data)
        return dataset

    def _prepared(self, dataset: Dataset, other: Dataset | None) -> Dataset:
        """The dataset with what prepares it, kept."""
        learns = dataset.manifest.label is not None and len(dataset) > 0
        if not dataset.manifest.prepare or (other is None and not learns):
            return dataset
        fitted = dataset.preparation if other is None else other.preparation
        if fitted is not None:
            self._artifacts.put(fitted.encode())
        return dataset.with_preparation(fitted, other)

    def _keep(self, dataset: Dataset, data: bytes) -> None:
        self._artifacts.put(data)
        with self._metadata.write() as writer:
            if writer.get(DatasetRecord, project=self._scope.project, digest=dataset.digest) is None:
                self._record(writer, dataset)

    def _record(self, writer: Writer, dataset: Dataset) -> None:
        manifest, stamp = dataset.manifest, self._scope.stamp()
        body = msgspec.to_builtins(manifest)
        writer.add(DatasetRecord(**stamp, digest=dataset.digest, name=dataset.name, rows=manifest.rows, manifest=body))
        kept = [*(file.digest for file in manifest.files), *([manifest.preparation] if manifest.preparation else [])]
        targets = [f"artifact/{digest}" for digest in kept]
        targets += [f"table/{table}@{version}" for table, version in manifest.tables.items()]
        owner = f"dataset/{dataset.digest}"
        writer.put(*(Pin(**stamp, target=target, owner=owner) for target in targets))
        facts = {"name": dataset.name, "rows": manifest.rows, "parent": manifest.parent}
        writer.emit(Event(**stamp, kind="dataset.created", subject=owner, body=facts))

    def load(self, digest: str) -> Dataset:
        """A dataset by its digest, or by an unambiguous beginning of at least eight digits. Rows are read when needed.

        Raises:
            NotFound: There is none.
        """
        record = self._find(digest)
        if record.manifest.get("format", 0) > FORMAT:
            raise FormatTooNew(f"dataset {digest} was written by a newer Tidemill", hint="Upgrade tidemill")
        manifest = msgspec.convert(record.manifest, DatasetManifest)
        return Dataset(manifest, record.digest, self._reader(manifest), self._learned(manifest.preparation))

    def _find(self, digest: str) -> DatasetRecord:
        where: Where = {"project": self._scope.project, "digest": digest}
        if 8 <= len(digest) < 64 and digest.isalnum():
            where = {**where, "digest": ("like", f"{digest}%")}
        with self._metadata.read() as reader:
            found = reader.find(DatasetRecord, where, limit=2)
        if len(found) != 1:
            problem = "There is no dataset" if not found else "Several datasets begin with"
            raise NotFound(f"{problem} {digest!r}", hint="List them with `tidemill datasets`")
        return found[0]

    def _reader(self, manifest: DatasetManifest) -> Callable[[], pl.DataFrame]:
        def read() -> pl.DataFrame:
            parts = [pl.read_parquet(self._artifacts.get(file.digest)) for file in manifest.files]
            return pl.concat(parts) if len(parts) != 1 else parts[0]

        return read

    def _learned(self, digest: str | None) -> Callable[[], Preparation] | None:
        return None if digest is None else lambda: decode_preparation(self._artifacts.get(digest))

    def list(self, name: str | None = None, *, limit: int | None = None) -> Sequence[DatasetRecord]:
        """What datasets there are, newest first.

        Args:
            name: Only those of this name.
            limit: At most so many.
        """
        where = {"project": self._scope.project, **({} if name is None else {"name": name})}
        with self._metadata.read() as reader:
            return reader.find(DatasetRecord, where, order=["-created_at", "digest"], limit=limit)

    def divide(
        self, dataset: Dataset, fit: Sequence[bool] | pl.Series, test: Sequence[bool] | pl.Series,
        description: Mapping[str, Any],
    ) -> tuple[Dataset, Dataset]:  # fmt: skip
        """Take two parts of a dataset, disjoint by id; both remember where they come from and know its categories.

        What prepares the features is learned from the first part, for both of them.

        Args:
            dataset: The whole.
            fit: For each row whether it belongs to the first part.
            test: For each row whether it belongs to the second.
            description: How the rows were chosen; kept in both manifests.

        Raises:
            InvalidData: A part is empty, or a row or an id is in both.
        """
        parts = {"fit": _mask(dataset, fit), "test": _mask(dataset, test)}
        _check_disjoint(dataset, parts)
        first = self._part(dataset, "fit", parts["fit"], description)
        return first, self._part(dataset, "test", parts["test"], description, prepared_as=first)

    def _part(
        self, dataset: Dataset, role: str, mask: pl.Series, description: Mapping[str, Any],
        prepared_as: Dataset | None = None,
    ) -> Dataset:  # fmt: skip
        return self.create(
            dataset.frame.filter(mask), **inherited(dataset), parent=dataset.digest, split={**description, "part": role},
            prepared_as=prepared_as,
        )  # fmt: skip


def _mask(dataset: Dataset, mask: Sequence[bool] | pl.Series) -> pl.Series:
    series = pl.Series("mask", mask, dtype=pl.Boolean)
    if len(series) != len(dataset) or series.null_count():
        raise InvalidArgument(f"a mask of {len(series)} for {len(dataset)} rows", expected="true or false for each row")
    return series


def _check_disjoint(dataset: Dataset, parts: Mapping[str, pl.Series]) -> None:
    for role, mask in parts.items():
        if not mask.any():
            raise InvalidData(
                f"the {role} part of {dataset!r} would be empty", hint="Ask for a smaller or larger share of the rows"
            )
    fit, test = parts.values()
    if (fit & test).any():
        raise InvalidData(f"{(fit & test).sum()} rows would be in both parts")
    if dataset.manifest.id:
        both = set(dataset.ids.filter(fit)) & set(dataset.ids.filter(test))
        if both:
            raise InvalidData(f"{len(both)} ids would be in both parts, such as {min(both)!r}",
                              expected="every id on one side")  # fmt: skip
