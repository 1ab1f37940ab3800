"""Verification on a schedule: what endpoints served since the last time is computed again, and the result is kept."""

from __future__ import annotations

from tidemill.core.errors import NotReady
from tidemill.core.records.events import Event, Position
from tidemill.core.records.verifications import ServiceVerification
from tidemill.core.scope import Scope
from tidemill.core.settings import OFF, VerifySettings
from tidemill.core.specs.definition import Definitions
from tidemill.core.specs.serving import Enrich, Graph
from tidemill.core.times import parse_duration
from tidemill.features.consistency import Verification
from tidemill.features.service import Features
from tidemill.stores.metadata.protocol import MetadataStore, Reader

CATCH_UP = 7
"""After a pause longer than so many intervals, only so many are made up for."""

VERIFIED = "features.verified"
"""The event of a verification that was kept; alerting follows it."""

_CONSUMER = "verifications"


class Verifications:
    """Verifies the feature services of endpoints at intervals, on a sample of their keys.

    Args:
        scope: Project, principal and clock.
        metadata: Where the results are kept.
        definitions: The project's definitions.
        features: Computes vectors again.
        settings: How often, which share of the keys, and how long a row may be on its way.
    """

    def __init__(
        self, scope: Scope, *, metadata: MetadataStore, definitions: Definitions, features: Features,
        settings: VerifySettings,
    ) -> None:  # fmt: skip
        self._scope = scope
        self._metadata = metadata
        self._definitions = definitions
        self._features = features
        self._settings = settings

    def due(self) -> list[str]:
        """The services that endpoints enrich with and that were not verified for as long as the interval."""
        if self._settings.every == OFF:
            return []
        latest = self._scope.now() - parse_duration(self._settings.every)
        with self._metadata.read() as reader:
            return [name for name in self._served() if self._through(reader, name, latest) <= latest]

    def run(self, service: str) -> ServiceVerification | None:
        """Verify what was served since the last time, or within one interval when there was none.

        Args:
            service: The service.

        Returns:
            What was found, as it is kept; None when nothing was served.

        Raises:
            NotFound: No endpoint enriches with the service.
        """
        until, every = self._scope.now(), parse_duration(self._settings.every)
        with self._metadata.read() as reader:
            since = max(self._through(reader, service, until - every), until - CATCH_UP * every)
        try:
            found = self._features.verify(service, since, until, sample=self._settings.sample, lag=self._settings.lag)
        except NotReady:  # its sources have no rows, so nothing was served with them
            found = None
        return self._keep(service, until, found)

    def past(self, service: str, limit: int = 30) -> list[ServiceVerification]:
        """What verifications of a service found, newest first."""
        where = {"project": self._scope.project, "service": service}
        with self._metadata.read() as reader:
            return reader.find(ServiceVerification, where, order=["-until_at", "-id"], limit=limit)

    def _served(self) -> list[str]:
        graphs: list[Graph] = list(self._definitions.of_kind("graph").values())
        steps = (step for graph in graphs for step in graph.steps)
        return list(dict.fromkeys(step.service.name for step in steps if isinstance(step, Enrich)))

    def _through(self, reader: Reader, service: str, otherwise: int) -> int:
        """Until when a service is verified."""
        position = reader.get(Position, consumer=f"{_CONSUMER}/{self._scope.project}", feed=service)
        return otherwise if position is None else position.position

    def _keep(self, service: str, until: int, found: Verification | None) -> ServiceVerification | None:
        kept = None if found is None or not (found.rows or found.skipped) else self._record(found)
        stamp = self._scope.stamp()
        with self._metadata.write() as writer:
            if kept is not None:
                writer.add(kept)
                writer.emit(Event(**stamp, kind=VERIFIED, subject=f"feature_service/{service}", body=_told(kept)))
            # Also when nothing was served: the next look is one interval away.
            consumer = f"{_CONSUMER}/{self._scope.project}"
            writer.put(Position(**stamp, consumer=consumer, feed=service, position=until))
        return kept

    def _record(self, found: Verification) -> ServiceVerification:
        return ServiceVerification(
            **self._scope.stamp(), id=self._scope.new_id(), service=found.service, since_at=found.since,
            until_at=found.until, sample=found.sample, rows=found.rows, skipped=found.skipped, late=found.late,
            defects=found.defects, features=found.features,
        )  # fmt: skip


def _told(kept: ServiceVerification) -> dict[str, object]:
    return {
        "verification": kept.id, "since": kept.since_at, "until": kept.until_at, "rows": kept.rows,
        "values": sum(one.rows for one in kept.features), "late": kept.late, "defects": kept.defects,
        "features": [one.feature for one in kept.features if one.defects],
    }  # fmt: skip
