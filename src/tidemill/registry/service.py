"""The registry: model versions, and the aliases that move between them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from tidemill.core.errors import InvalidArgument, InvalidData, NotFound, PermissionDenied, unknown
from tidemill.core.ids import check_name
from tidemill.core.protocols import ModelRef
from tidemill.core.records.events import Event, Pin
from tidemill.core.records.models import Alias, AliasMove, Model, ModelVersion
from tidemill.core.records.runs import Link
from tidemill.core.schema import Signature
from tidemill.core.scope import Scope
from tidemill.core.uris import ModelUri
from tidemill.data.preparation.preparation import Preparation, decode_preparation
from tidemill.registry.examples import first_difference, pack_example, unpack_example
from tidemill.registry.formats import format_for, get_format
from tidemill.registry.models import PredictingModel, signature_of
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.protocol import MetadataStore, Reader, Writer
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.environment import describe_environment

EXAMPLE_ROWS = 32
PARITY_ROWS = 1000

_RESERVED_ALIAS = re.compile(r"latest|v\d+")


class Registry:
    """Models of a project. Gives serving its models and the gate its aliases.

    Args:
        scope: Project, principal and clock.
        metadata: Where records are kept.
        artifacts: Where files are kept.
    """

    def __init__(self, scope: Scope, *, metadata: MetadataStore, artifacts: ArtifactStore) -> None:
        self._scope = scope
        self._metadata = metadata
        self._artifacts = artifacts

    # -- versions

    def register(
        self, model: Any, name: str, *, dataset: Dataset, metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None, run_id: str | None = None, profile: bytes | None = None,
        examples: pl.DataFrame | None = None, trained_until: int | None = None, trust: bool = False,
    ) -> ModelVersion:  # fmt: skip
        """Keep a fitted model as the next version of a name.

        The file is read back at once and must answer real rows exactly as the model in memory does.

        Args:
            model: A fitted scikit-learn estimator, or with `trust` any object with `predict`.
            name: The registered model; created by its first version.
            dataset: What it was fitted on: signature and example come from it.
            metrics: Scores to show with it.
            params: Parameters it was fitted with.
            run_id: The run that made it.
            profile: JSON of the reference profile monitoring compares with.
            examples: Rows to check the file with; the dataset's first ones when absent.
            trained_until: Time of the newest row it was fitted on; the dataset's last when absent.
            trust: Keep it as pickle, whose loading runs code.

        Raises:
            InvalidArgument: No format keeps it, or it does not fit the dataset.
            InvalidData: The file does not answer as the model does.
        """
        check_name(name, "name of a model")
        chosen = format_for(model, trust=trust)
        signature, fitted = signature_of(model, dataset), dataset.preparation
        data = chosen.dump(model)
        rows = dataset.head(PARITY_ROWS) if examples is None else examples
        example = _checked_example(
            PredictingModel(model, signature, fitted), PredictingModel(chosen.load(data), signature, fitted), rows
        )
        if fitted is not None:
            self._artifacts.put(fitted.encode())
        last = dataset.manifest.last if trained_until is None else trained_until
        version = ModelVersion(
            **self._scope.stamp(), model=name, version=0, run_id=run_id, format=chosen.name,
            artifact=self._artifacts.put(data), signature=_as_json(signature), metrics=_finite(metrics or {}),
            params=dict(params or {}), profile=None if profile is None else self._artifacts.put(profile),
            example=self._artifacts.put(example), dataset=dataset.digest, trained_until=last,
            service=dataset.manifest.service, environment={**describe_environment(), "trusted": trust},
        )  # fmt: skip
        return self._keep(version)

    def _keep(self, version: ModelVersion) -> ModelVersion:
        stamp, model = self._scope.stamp(), version.model
        with self._metadata.write() as writer:
            if writer.get(Model, project=self._scope.project, name=model) is None:
                writer.add(Model(**stamp, name=model))
            number = writer.next(f"version/{self._scope.project}/{model}")
            kept = msgspec.structs.replace(version, version=number)
            writer.add(kept)
            subject = f"model/{model}/{number}"
            writer.put(*(Pin(**stamp, target=target, owner=subject) for target in _needs(kept)))
            if kept.run_id is not None:
                writer.put(Link(**stamp, run_id=kept.run_id, direction="output", name="model", uri=subject,
                                digest=kept.artifact))  # fmt: skip
            body = {"version": number, "format": kept.format, "run_id": kept.run_id, "metrics": kept.metrics}
            writer.emit(Event(**stamp, kind="version.created", subject=f"model/{model}", body=body))
        return kept

    def get(self, model: str, version: int) -> ModelVersion:
        """One version.

        Raises:
            NotFound: There is no such model or version; the message lists those there are.
        """
        with self._metadata.read() as reader:
            return self._version(reader, model, version)

    def _version(self, reader: Reader, model: str, version: int) -> ModelVersion:
        found = reader.get(ModelVersion, project=self._scope.project, model=model, version=version)
        if found is None:
            self._require_model(reader, model)
            known = reader.find(ModelVersion, {"project": self._scope.project, "model": model}, order=["version"])
            raise unknown(f"version of model {model!r}", str(version), [str(one.version) for one in known])
        return found

    def _require_model(self, reader: Reader, name: str) -> Model:
        found = reader.get(Model, project=self._scope.project, name=name)
        if found is None:
            raise unknown("model", name, [m.name for m in reader.find(Model, {"project": self._scope.project})])
        return found

    def versions(self, model: str) -> list[ModelVersion]:
        """All versions of a model, newest first.

        Raises:
            NotFound: There is no such model.
        """
        with self._metadata.read() as reader:
            self._require_model(reader, model)
            return reader.find(ModelVersion, {"project": self._scope.project, "model": model}, order=["-version"])

    def models(self) -> list[Model]:
        """All models, by name."""
        with self._metadata.read() as reader:
            return reader.find(Model, {"project": self._scope.project}, order=["name"])

    def describe(self, model: str, *, description: str | None = None, tags: Mapping[str, Any] | None = None) -> None:
        """Set what a model is for, and tags to find it by.

        Raises:
            NotFound: There is no such model.
        """
        with self._metadata.write() as writer:
            known = self._require_model(writer, model)
            text = known.description if description is None else description
            where = {"project": self._scope.project, "name": model}
            writer.change(Model, where, description=text, tags={**known.tags, **(tags or {})})

    # -- aliases

    def set_alias(self, model: str, alias: str, version: int, *, reason: str) -> None:
        """Let an alias name a version. What it named before, who moved it and why stays in its history.

        Raises:
            InvalidArgument: The alias is reserved or not a name.
            NotFound: There is no such version.
        """
        _check_alias(alias)
        with self._metadata.write() as writer:
            self._version(writer, model, version)
            before = self._alias(writer, model, alias)
            if before != version:
                writer.put(Alias(**self._scope.stamp(), model=model, alias=alias, version=version))
                self._moved(writer, model, alias, before, version, reason)

    def remove_alias(self, model: str, alias: str, *, reason: str) -> None:
        """Take an alias away; its history stays.

        Raises:
            NotFound: The model has no such alias.
        """
        with self._metadata.write() as writer:
            before = self._alias(writer, model, alias)
            if before is None:
                self._require_model(writer, model)
                raise NotFound(f"Registered model alias {alias} not found", known=sorted(self._aliases(writer, model)))
            writer.remove(Alias, {"project": self._scope.project, "model": model, "alias": alias})
            self._moved(writer, model, alias, before, None, reason)

    def _moved(
        self, writer: Writer, model: str, alias: str, before: int | None, after: int | None, reason: str
    ) -> None:
        stamp = self._scope.stamp()
        facts = {"alias": alias, "before": before, "after": after, "reason": reason}
        writer.add(AliasMove(**stamp, id=self._scope.new_id(), model=model, alias=alias, before=before, after=after,
                             reason=reason))  # fmt: skip
        writer.emit(Event(**stamp, kind="alias.moved", subject=f"model/{model}", body=facts))

    def alias(self, model: str, alias: str) -> int | None:
        """The version an alias names now; None when it names none."""
        with self._metadata.read() as reader:
            return self._alias(reader, model, alias)

    def _alias(self, reader: Reader, model: str, alias: str) -> int | None:
        found = reader.get(Alias, project=self._scope.project, model=model, alias=alias)
        return None if found is None else found.version

    def aliases(self, model: str) -> dict[str, int]:
        """All aliases of a model with their versions."""
        with self._metadata.read() as reader:
            return self._aliases(reader, model)

    def _aliases(self, reader: Reader, model: str) -> dict[str, int]:
        found = reader.find(Alias, {"project": self._scope.project, "model": model}, order=["alias"])
        return {one.alias: one.version for one in found}

    def history(self, model: str, alias: str | None = None) -> Sequence[AliasMove]:
        """How an alias (or every alias of a model) moved, oldest first."""
        where = {"project": self._scope.project, "model": model, **({} if alias is None else {"alias": alias})}
        with self._metadata.read() as reader:
            self._require_model(reader, model)
            return reader.find(AliasMove, where, order=["created_at", "id"])

    def alias_at(self, model: str, alias: str, at: int) -> int | None:
        """The version an alias named at a time (microseconds); None when it named none."""
        earlier = [move for move in self.history(model, alias) if move.created_at <= at]
        return earlier[-1].after if earlier else None

    # -- what serving and monitoring ask for

    def resolve(self, uri: ModelUri) -> ModelRef | None:
        """The version a URI names now; None when its alias names none yet.

        Raises:
            NotFound: The URI names a version that does not exist.
        """
        version = uri.version if uri.alias is None else self.alias(uri.name, uri.alias)
        return None if version is None else ref_of(self.get(uri.name, version))

    def load(self, ref: ModelRef) -> PredictingModel:
        """Read a version's file back; its bytes are checked against their digest.

        Raises:
            NotFound: There is no such version.
            PermissionDenied: It is a pickle that was not registered here with trust.
            InvalidData: The file was changed or cannot be read.
        """
        version = self.get(ref.name, ref.version)
        if version.artifact != ref.artifact:
            raise InvalidData(f"models:/{ref.name}/{ref.version} is not the file {ref.artifact[:12]}",
                              expected=f"the registered {version.artifact[:12]}")  # fmt: skip
        chosen = get_format(version.format)
        if not chosen.safe and not version.environment.get("trusted"):
            raise PermissionDenied(f"models:/{ref.name}/{ref.version} is kept as {chosen.name} of unknown origin",
                                   hint="Register it here with trust=True")  # fmt: skip
        signature = msgspec.convert(version.signature, Signature)
        return PredictingModel(chosen.load(self._artifacts.get(version.artifact)), signature, self.preparation(version))

    def preparation(self, version: ModelVersion) -> Preparation | None:
        """What a version learned to prepare its inputs; None when it takes them as they are.

        Raises:
            NotFound: What it learned is no longer there.
            InvalidData: It was changed or cannot be read.
        """
        digest = version.signature.get("preparation")
        return None if digest is None else decode_preparation(self._artifacts.get(digest))

    def example(self, ref: ModelRef) -> tuple[pl.DataFrame, pl.DataFrame] | None:
        """Stored input rows and the answers given at registration; None when there are none."""
        digest = self.get(ref.name, ref.version).example
        return None if digest is None else unpack_example(self._artifacts.get(digest))

    def reference(self, model: str, version: int) -> bytes | None:
        """The JSON of the profile a version was registered with; None when it has none."""
        digest = self.get(model, version).profile
        return None if digest is None else self._artifacts.get(digest)


def ref_of(version: ModelVersion) -> ModelRef:
    """The reference of a version, as serving holds it."""
    return ModelRef(version.model, version.version, version.artifact, version.service)


def _checked_example(model: PredictingModel, reloaded: PredictingModel, rows: pl.DataFrame) -> bytes:
    answers = model.predict(rows)
    difference = first_difference(answers, reloaded.predict(rows))
    if difference is not None:
        raise InvalidData(f"the stored model does not answer as the one in memory: {difference}",
                          expected=f"the same answers on all {rows.height} rows")  # fmt: skip
    inputs = rows.select(column.name for column in model.signature.inputs)
    return pack_example(inputs.head(EXAMPLE_ROWS), answers.head(EXAMPLE_ROWS))


def _needs(version: ModelVersion) -> list[str]:
    digests = (version.artifact, version.profile, version.example, version.signature.get("preparation"))
    return [f"artifact/{digest}" for digest in digests if digest is not None]


def _as_json(signature: Signature) -> dict[str, Any]:
    # Through JSON, so that the version returned is the version stored: lists, not tuples.
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(signature))
    return plain


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def _check_alias(alias: str) -> None:
    check_name(alias, "alias")
    if _RESERVED_ALIAS.fullmatch(alias):
        raise InvalidArgument(f"{alias!r} cannot be an alias", expected="a name such as champion; "
                              "'latest' and 'v' with a number would be taken for versions")  # fmt: skip
