"""Monitoring: captures and labels become windows, windows become evidence, evidence becomes alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.core.protocols import ProfileReader
from tidemill.core.reports import WindowReport
from tidemill.core.scope import Scope
from tidemill.core.specs.features import Label
from tidemill.core.specs.monitoring import Monitor
from tidemill.monitoring.capture import Captures
from tidemill.monitoring.closing import Closer
from tidemill.monitoring.labels import Labels, Receipt
from tidemill.monitoring.pages import (
    Distribution,
    HeatMap,
    PerformanceSeries,
    distribution,
    heat_map,
    performance_series,
)
from tidemill.monitoring.references import References
from tidemill.monitoring.truth import Scan, source_labels
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.stores.streams.protocol import StreamStore
from tidemill.stores.tables.protocol import TableStore


class Monitoring:
    """Watches endpoints; see `tidemill.core.specs.monitoring.Monitor`.

    Args:
        scope: Project, principal and clock.
        metadata: Where windows and evidence are kept.
        artifacts: Where profiles are kept.
        tables: Where captures and labels end up.
        streams: Where both are durable first.
        profiles: Reference profiles of model versions.
        scan: Reads a source's table, for labels the source holds.
    """

    def __init__(
        self, scope: Scope, *, metadata: MetadataStore, artifacts: ArtifactStore, tables: TableStore,
        streams: StreamStore, profiles: ProfileReader, scan: Scan,
    ) -> None:  # fmt: skip
        self._scope = scope
        self._metadata = metadata
        self._artifacts = artifacts
        self._tables = tables
        self.captures = Captures(streams, tables)
        """The captured rows."""
        self.labels = Labels(scope, streams=streams, tables=tables, derived=lambda label: source_labels(label, scan))
        """The truth, as far as it is known."""
        self._references = References(profiles)

    def post_labels(self, label: str, rows: Sequence[Mapping[str, Any]]) -> Receipt:
        """Take labels in; see `Labels.post`."""
        return self.labels.post(label, rows)

    def label_counts(self, label: Label, endpoint: str) -> dict[str, int]:
        """How the labels relate to what an endpoint predicted; see `Labels.counts`."""
        self.captures.compact(endpoint)
        return self.labels.counts(label, self.captures.ids(endpoint))

    def close(self, monitor: Monitor, until: int | None = None) -> list[WindowReport]:
        """Measure every complete window that has rows, and again those whose labels or rows came late.

        Each window is written in one transaction together with the evidence; killed in between and called again, it goes
        on where it stopped. Calling it twice does nothing the second time.

        Args:
            monitor: The monitor.
            until: The time to look from: later windows are not complete, later labels not known. Now when absent.

        Returns:
            The windows that were closed or measured again, oldest first, with their alarms.
        """
        until = self._scope.now() if until is None else until
        endpoint = monitor.graph.name
        self.captures.compact(endpoint)
        with self._tables.guard(f"monitors/{monitor.name}"):
            return Closer(
                self._scope, self._metadata, self._artifacts, self.captures, self.labels, self._references, monitor,
                until,
            ).run()  # fmt: skip

    def heatmap(self, monitor: str, limit: int = 92) -> HeatMap:
        """The newest windows of a monitor by feature: how far each was from the reference, and where it gave alarm."""
        with self._metadata.read() as reader:
            return heat_map(reader, self._scope.project, monitor, limit)

    def performance(self, monitor: str, limit: int = 366) -> PerformanceSeries:
        """The newest windows of a monitor: their scores, coverage by labels, and versions."""
        with self._metadata.read() as reader:
            return performance_series(reader, self._scope.project, monitor, limit)

    def distribution(self, monitor: Monitor, feature: str, start: int) -> Distribution:
        """One feature in one window beside the reference, and the cells that differ most.

        Raises:
            NotFound: There is no such window or feature.
        """
        with self._metadata.read() as reader:
            return distribution(reader, self._artifacts, self._references, self._scope.project, monitor, feature, start)
