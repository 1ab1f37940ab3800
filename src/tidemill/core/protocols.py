"""What one stage needs of another. The platform passes the implementation in; the stages never import each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tidemill.core.schema import Column, Signature
from tidemill.core.uris import ModelUri

if TYPE_CHECKING:
    import polars as pl

    from tidemill.core.records.models import ModelVersion
    from tidemill.core.specs.features import FeatureService, Label
    from tidemill.core.specs.sources import Source


@dataclass(frozen=True)
class ModelRef:
    """An exact version of a model."""

    name: str
    version: int
    artifact: str
    service: str | None = None


class LoadedModel(Protocol):
    """A model in memory, ready to predict. Used by one thread at a time."""

    @property
    def signature(self) -> Signature: ...

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Answers for rows that hold at least the signature's inputs; one output row per input row, same order.

        A classifier gives `prediction` (the class) and `probability` (of the positive class, or `probability_CLASS` for
        each of more than two classes); a regressor gives `prediction`.
        """
        ...


class ModelSource(Protocol):
    """Where models come from."""

    def resolve(self, uri: ModelUri) -> ModelRef | None:
        """The version a URI names now; None when its alias is not set (yet)."""
        ...

    def load(self, ref: ModelRef) -> LoadedModel: ...

    def example(self, ref: ModelRef) -> tuple[pl.DataFrame, pl.DataFrame] | None:
        """Stored input rows and the answers given at registration, to check a loaded model with; None if none."""
        ...


class FeatureReader(Protocol):
    """Online features by key."""

    def enrich(self, service: FeatureService, rows: pl.DataFrame, now: int) -> pl.DataFrame:
        """The rows with the service's feature columns added, same rows, same order.

        The prediction time of each row is its column `prediction_time` (microseconds, Int64); `now` where null. A time after
        `now` is an error of the request.
        """
        ...

    def request_schema(self, service: FeatureService) -> tuple[Column, ...]:
        """The columns a caller must send: keys, the spine's time, and what on-demand features read."""
        ...


class AliasMover(Protocol):
    """Moves aliases, with a reason, in the record."""

    def set_alias(self, model: str, alias: str, version: int, *, reason: str) -> None: ...


class ModelRegistry(ModelSource, AliasMover, Protocol):
    """Where training leaves its models."""

    def register(
        self, model: Any, name: str, *, dataset: Any, metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None, run_id: str | None = None, profile: bytes | None = None,
        trained_until: int | None = None,
    ) -> ModelVersion: ...  # fmt: skip

    def get(self, model: str, version: int) -> ModelVersion: ...

    def alias(self, model: str, alias: str) -> int | None: ...


REPLACED = "replaced"
"""Captured column: names, one per line, of the `requested_X` and `enriched_X` columns that count for a row in place of X."""


@dataclass(frozen=True)
class Captured:
    """What an endpoint saw and answered in one request."""

    endpoint: str
    generation: int
    request_id: str
    received_at: int
    """Microseconds UTC, by the platform's clock."""
    duration_us: int
    rows: pl.DataFrame
    """Row ids, prediction times, request columns, features and answers of the model (and of the shadow).

    Where a step changed or dropped what features were asked with, that is in `requested_X`; where one changed or dropped a
    feature, it is in `enriched_X`; `REPLACED` names these columns.
    """


class CaptureSink(Protocol):
    """Where serving leaves what it saw. Durable when `append` returns; never more than a short write."""

    def append(self, captured: Captured) -> None: ...


@dataclass(frozen=True)
class LoggedVectors:
    """Feature vectors an endpoint gave to its model."""

    endpoint: str
    rows: pl.DataFrame
    """`prediction_time` and `received_at` (microseconds), the columns the features were asked with, and the features."""
    skipped: int
    """Rows in the same time that another definition of the graph answered."""


class VectorLog(Protocol):
    """The feature vectors that were served."""

    def __call__(self, service: FeatureService, since: int, until: int) -> Iterable[LoggedVectors]:
        """What endpoints that enrich with a service logged of requests received in [since, until), microseconds.

        An endpoint's come in as many parts as it takes for each to fit into memory, at least one.

        Raises:
            NotFound: No endpoint does.
        """
        ...


class LabelSource(Protocol):
    """The truth, as far as it is known."""

    def labels(self, label: Label, ids: pl.Series, until: int) -> pl.DataFrame:
        """Columns `id` (as text), `label` and `known_at` (Int64 microseconds) of those ids whose label is known by `until`."""
        ...


class PipelineStarter(Protocol):
    """Starts pipelines on behalf of others."""

    def start(
        self, pipeline: str, *, arguments: Mapping[str, Any], reason: str, fingerprint: str, wait: bool = False
    ) -> str:
        """Start a run of a pipeline, once per fingerprint.

        Returns:
            The id of the run, new or earlier.
        """
        ...

    def outcome(self, run_id: str) -> Mapping[str, Any]:
        """`{"status": ..., "result": ...}` of a run; status as in `Run.status`."""
        ...


class ProfileReader(Protocol):
    """Reference profiles of model versions."""

    def reference(self, model: str, version: int) -> bytes | None:
        """The JSON of the profile a version was registered with; None when it has none."""
        ...


class DatasetBuilder(Protocol):
    """Builds point-in-time correct datasets."""

    def training_set(
        self, *, service: FeatureService, spine: Source, label: Label | None, until: Any, since: Any = None,
        known_at: bool = False,
    ) -> Any: ...  # fmt: skip


class StepRunner(Protocol):
    """Runs one operation or step on resolved arguments."""

    def run_step(self, name: str, arguments: Mapping[str, Any]) -> Any: ...


Rows = Sequence[Mapping[str, Any]]
