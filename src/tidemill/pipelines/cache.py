"""The cache of step results: looked up by key, kept with the parts of the key, so that a miss can be explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tidemill.core.errors import InvalidArgument
from tidemill.core.records.events import Pin
from tidemill.core.records.runs import StepResult
from tidemill.core.scope import Scope
from tidemill.pipelines.keys import CacheKey, value_digest
from tidemill.pipelines.values import UNREADABLE, Packed, Values, artifacts_of, packed_digest
from tidemill.stores.metadata.protocol import MetadataStore

EXPLAINED_BY = 1000
"""A miss is explained by the newest of this many results."""


@dataclass(frozen=True)
class Result:
    """One output of a node, and how it is kept; None when it is not."""

    value: Any
    packed: Packed | None = None

    def digest(self) -> str:
        """What it is known by where it is an argument.

        Raises:
            Unhashable: It is not kept and has no digest of its own.
        """
        return value_digest(self.value) if self.packed is None else packed_digest(self.packed)


@dataclass(frozen=True)
class Recall:
    """A hit: where the results come from. `lost` says why they cannot be read, if they cannot."""

    run_id: str
    results: tuple[Result, ...] = ()
    lost: str = ""


@dataclass(frozen=True)
class Cache:
    """Results by key.

    Args:
        scope: Project, principal and clock.
        metadata: Where the records are kept.
        values: Packs the results.
    """

    scope: Scope
    metadata: MetadataStore
    values: Values

    def recall(self, key: CacheKey) -> Recall | None:
        """The results of an equal call; None when there was none."""
        if key.digest is None:
            return None
        with self.metadata.read() as reader:
            found = reader.get(StepResult, project=self.scope.project, cache_key=key.digest)
        if found is None:
            return None
        try:
            return Recall(found.run_id, tuple(Result(self.values.unpack(one), one) for one in found.outputs))
        except UNREADABLE as error:
            return Recall(found.run_id, lost=f"the result of run {found.run_id} cannot be read: {error}")

    def keep(self, key: CacheKey, run_id: str, values: Sequence[Any]) -> tuple[tuple[Result, ...], str]:
        """Keep the results of a call.

        Returns:
            The results, and why they are not kept; empty when they are.
        """
        if key.digest is None:
            return tuple(map(Result, values)), key.reason
        try:
            packed = [self.values.pack(value) for value in values]
        except InvalidArgument as error:
            return tuple(map(Result, values)), str(error)
        stamp = self.scope.stamp()
        record = StepResult(**stamp, cache_key=key.digest, run_id=run_id, parts=dict(key.parts), outputs=packed)
        pins = [Pin(**stamp, target=f"artifact/{digest}", owner=f"run/{run_id}")
                for one in packed for digest in artifacts_of(one)]  # fmt: skip
        with self.metadata.write() as writer:
            writer.put(record, *pins)
        return tuple(map(Result, values, packed)), ""

    def changed(self, key: CacheKey) -> list[str] | None:
        """The parts of a key that differ from those of the newest equal call; None when there was no call of that name."""
        with self.metadata.read() as reader:
            past = reader.find(
                StepResult, {"project": self.scope.project}, order=["-created_at"], limit=EXPLAINED_BY
            )  # fmt: skip
        same = [one for one in past if one.parts.get("call") == key.parts["call"]]
        return key.differs_from(same[0].parts) if same else None
