"""Closing the windows of a monitor: what happens between captured rows and alarms, in order and safe to be killed.

A window is one transaction: its record, its measurements, the evidence after it, its event. Labels that came late are taken
in afterwards, window by window; how much of them was seen is written last, so that a crash only makes it look again.
Alarms about performance are judged at the end over all windows, from their records alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import polars as pl
from msgspec import structs

from tidemill.core.records.events import Event
from tidemill.core.records.monitoring import Measurement, MonitorState, MonitorWindow
from tidemill.core.reports import Alarm, WindowReport
from tidemill.core.scope import Scope
from tidemill.core.specs.monitoring import Monitor
from tidemill.measures.profile import Profile, merge_all
from tidemill.monitoring.alarms import drift_alarm, performance_alarm
from tidemill.monitoring.calibration import Held, effect_of, judge
from tidemill.monitoring.capture import ROW_ID, TIME, Captures
from tidemill.monitoring.evidence import COVERED, Crossing, Evidence, add_window, alarm_threshold, new_evidence
from tidemill.monitoring.labels import Labels, Watermark
from tidemill.monitoring.records import Records, alarms_of, with_alarms
from tidemill.monitoring.references import Known, References
from tidemill.monitoring.series import input_series, performance_series, window_series
from tidemill.monitoring.windows import (
    VERSION,
    Inputs,
    Performance,
    inputs_of,
    newest_version,
    performance_of,
    versions_in,
)
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.protocol import MetadataStore, Writer

AT_ONCE = 8
"""Windows read together."""


@dataclass(frozen=True)
class Contents:
    """What is in a window."""

    start: int
    rows: pl.DataFrame
    truth: pl.DataFrame | None = None
    """The labels known; None for a monitor without."""


@dataclass
class Closer:
    """One round of closing.

    Args:
        scope: Project, principal and clock.
        metadata: Where windows and evidence are kept.
        artifacts: Where profiles are kept.
        captures: The rows.
        labels: The truth.
        references: What windows are held against.
        monitor: The monitor.
        until: The time to look from.
    """

    scope: Scope
    metadata: MetadataStore
    artifacts: ArtifactStore
    captures: Captures
    labels: Labels
    references: References
    monitor: Monitor
    until: int
    _windows: dict[int, MonitorWindow] = field(default_factory=dict)

    @property
    def records(self) -> Records:
        """Makes what is written."""
        return Records(self.scope, self.monitor)

    def run(self) -> list[WindowReport]:
        """Close what is complete, measure again what changed, judge."""
        evidence = self._load()
        self._windows = self._stored()
        closed = dict(self._windows)
        new, again, received = self._due(closed, evidence.received if evidence else -(2**63))
        changed, mark = self._relabelled(Watermark() if evidence is None else evidence.labels)
        reports: dict[int, WindowReport] = {}
        for contents in self._contents([*new, *sorted((again | changed) & closed.keys())]):
            start = contents.start
            if start not in closed:
                evidence, reports[start] = self._close(evidence, contents)
            elif (report := self._measure_again(closed[start], contents)) is not None:
                reports[start] = report
        if evidence is None:
            return []
        after = structs.replace(evidence, labels=mark, received=received)
        if reports or after != evidence:
            self._finish(after, reports)
        return [reports[start] for start in sorted(reports)]

    # -- what there is to do

    def _load(self) -> Evidence | None:
        where = {"project": self.scope.project, "monitor": self.monitor.name}
        with self.metadata.read() as reader:
            found = reader.find(MonitorState, where, order=["-through"], limit=1)
        return msgspec.convert(found[0].state, Evidence) if found else None

    def _stored(self) -> dict[int, MonitorWindow]:
        where = {"project": self.scope.project, "monitor": self.monitor.name}
        with self.metadata.read() as reader:
            return {one.start_at: one for one in reader.find(MonitorWindow, where, order=["start_at"])}

    def _due(self, closed: dict[int, MonitorWindow], received: int) -> tuple[list[int], set[int], int]:
        """Starts of complete windows to close, starts of those rows came to late, and the newest arrival."""
        endpoint, every = self.monitor.graph.name, self.monitor.every_micros
        through = max(closed, default=-(2**63))
        late = (pl.col(TIME) >= through) | (pl.col("received_at") >= received)
        fresh = self.captures.arrivals(endpoint, late)
        starts = _starts(fresh[TIME], every)
        complete = {start for start in starts if start + every <= self.until}
        after = max([received, *fresh["received_at"].top_k(1)])
        return sorted(complete - closed.keys()), complete & closed.keys(), after

    def _relabelled(self, since: Watermark) -> tuple[set[int], Watermark]:
        """Starts of windows some of whose labels became known or changed, and how far that looked."""
        label = self.monitor.label
        if label is None:
            return set(), since
        ids, mark = self.labels.changed(label, since, self.until)
        if ids.is_empty():
            return set(), mark
        times = self.captures.times(self.monitor.graph.name, pl.col(ROW_ID).is_in(ids.implode()))
        return _starts(times, self.monitor.every_micros), mark

    def _contents(self, starts: Sequence[int]) -> Iterator[Contents]:
        """Rows and labels of windows, read some windows at a time."""
        every, label = self.monitor.every_micros, self.monitor.label
        for place in range(0, len(starts), AT_ONCE):
            part = starts[place : place + AT_ONCE]
            rows = self.captures.windows(self.monitor.graph.name, [(start, start + every) for start in part])
            if label is None:
                yield from map(Contents, part, rows)
            else:
                truth = self.labels.labels_of(label, [one[ROW_ID] for one in rows], self.until)
                yield from map(Contents, part, rows, truth)

    # -- one window

    def _close(self, evidence: Evidence | None, contents: Contents) -> tuple[Evidence, WindowReport]:
        start, rows = contents.start, contents.rows
        version = newest_version(rows)
        known = self.references.of(self.monitor, version)
        evidence = self._evidence_for(evidence, known, version, start)
        performance = self._performance(contents, known)
        record = self.records.window(start, rows, known, performance, revision=1)
        inputs = None if known is None else inputs_of(rows, known.reference)
        crossing: Crossing | None = None
        since = evidence.drift_since
        if known is not None and inputs is not None:
            record = structs.replace(record, profile=self.artifacts.put(msgspec.json.encode(inputs.profile)))
            if record.detail["status"] == "ok":
                evidence, crossing = self._gather(evidence, known, inputs, record)
        alarms = self._drift_alarms(record, crossing, since, performance)
        record = with_alarms(record, alarms)
        series = self._series(record, inputs, performance, crossing)
        report = self.records.report(record, alarms)
        with self.metadata.write() as writer:
            self._write(writer, record, series, "window.closed", report)
            writer.put(self.records.state(evidence, known, record.end_at))
        return evidence, report

    def _measure_again(self, before: MonitorWindow, contents: Contents) -> WindowReport | None:
        """Measure a window again that was closed before; None when nothing is different."""
        rows = contents.rows
        known = self.references.of(self.monitor, before.detail["version"])
        performance = self._performance(contents, known)
        record = self.records.window(before.start_at, rows, known, performance, revision=before.revision + 1)
        record = structs.replace(record, profile=before.profile, created_at=before.created_at)
        record = with_alarms(record, alarms_of(before))
        series = self._series(record, None, performance, None)
        if rows.height != before.rows and known is not None:
            inputs = inputs_of(rows, known.reference)
            record = structs.replace(record, profile=self.artifacts.put(msgspec.json.encode(inputs.profile)))
            series += input_series(record, inputs.drifts, None)
        if (record.rows, record.labelled, record.detail) == (before.rows, before.labelled, before.detail):
            return None
        report = self.records.report(record, ())
        with self.metadata.write() as writer:
            self._write(writer, record, series, "window.measured", report)
        return report

    def _evidence_for(
        self, evidence: Evidence | None, known: Known | None, version: int | None, start: int
    ) -> Evidence:
        """The running evidence, or none yet when another version answers than before."""
        if evidence is not None and version in (evidence.version, None):
            return evidence
        fresh = new_evidence(self.monitor, None if known is None else known.reference, version, start)
        return fresh if evidence is None else structs.replace(fresh, labels=evidence.labels, received=evidence.received)

    def _gather(
        self, evidence: Evidence, known: Known, inputs: Inputs, record: MonitorWindow
    ) -> tuple[Evidence, Crossing | None]:
        def pooled() -> Profile:
            return merge_all([*self._profiles(evidence.drift_since, record), inputs.profile], known.reference.profile)

        return add_window(
            evidence, self.monitor, known.reference, inputs.profile, inputs.drifts, pooled, record.end_at
        )  # fmt: skip

    def _profiles(self, since: int, before: MonitorWindow) -> list[Profile]:
        """Profiles of the windows from a start on, those measured against the same reference."""
        return [
            msgspec.json.decode(self.artifacts.get(one.profile), type=Profile)
            for start, one in sorted(self._windows.items())
            if since <= start < before.start_at
            and one.profile is not None
            and one.detail["reference"] == before.detail["reference"]
        ]

    def _performance(self, contents: Contents, known: Known | None) -> Performance:
        start, rows, truth = contents.start, contents.rows, contents.truth
        reference = None if known is None else known.reference
        if truth is None or rows.is_empty():
            return Performance()
        whole = performance_of(start, rows, truth, reference, self.monitor.tolerance)
        if len(versions_in(rows)) < 2:
            return whole
        # What a window says against a version, only its own answers say.
        own = rows.filter(pl.col(VERSION) == newest_version(rows))
        part = performance_of(start, own, truth, reference, self.monitor.tolerance)
        return structs.replace(whole, held=part.held)

    def _series(
        self, record: MonitorWindow, inputs: Inputs | None, performance: Performance, crossing: Crossing | None
    ) -> list[Measurement]:
        series = window_series(record) + performance_series(record, performance)
        return series if inputs is None else series + input_series(record, inputs.drifts, crossing)

    def _drift_alarms(
        self, record: MonitorWindow, crossing: Crossing | None, since: int, performance: Performance
    ) -> tuple[Alarm, ...]:
        if crossing is None or not crossing.responsible:
            return ()
        held = [*self._held(since, settled_only=False), *([] if performance.held is None else [performance.held])]
        harm = effect_of(held, self.monitor.tolerance)[1] if held else None
        labelled = sum(one.rows for one in held)
        return (drift_alarm(self.monitor, record, crossing, since=since, harm=harm, labelled=labelled),)

    # -- performance

    def _held(self, since: int, *, settled_only: bool = True) -> list[Held]:
        """What the windows from a start on say about the version that answered last.

        A window counts once labels had one window's length to come: those that come first are not like the others.
        """
        windows = [
            one for start, one in sorted(self._windows.items()) if start >= since and one.detail["held"] is not None
        ]
        if not windows:
            return []
        version = windows[-1].detail["version"]
        settled = self.until - self.monitor.every_micros
        return [
            msgspec.convert(one.detail["held"], Held)
            for one in windows
            if one.detail["version"] == version
            and one.labelled >= COVERED * one.rows
            and (one.end_at <= settled or not settled_only)
        ]

    def _finish(self, evidence: Evidence, reports: dict[int, WindowReport]) -> None:
        """Judge performance, and write how far labels and rows were taken in."""
        judged = judge(self._held(evidence.performance_since), alarm_threshold(self.monitor), self.monitor.tolerance)
        windows = self._windows
        newest = windows[max(windows)]
        known = self.references.of(self.monitor, evidence.version)
        if judged.alarm is None:
            with self.metadata.write() as writer:
                writer.put(self.records.evidence(newest, judged), self.records.state(evidence, known, newest.end_at))
            return
        record = windows[judged.alarm]
        alarm = performance_alarm(self.monitor, record, judged)
        alarms = (*alarms_of(record), alarm)
        record = with_alarms(record, alarms)
        report = self.records.report(record, (alarm,))
        evidence = structs.replace(evidence, performance_since=record.end_at)
        with self.metadata.write() as writer:
            self._write(writer, record, [self.records.evidence(record, judged)], "window.alarm", report)
            writer.put(self.records.state(evidence, known, newest.end_at))
        before = reports.get(record.start_at)
        reports[record.start_at] = report if before is None else structs.replace(before, alarms=alarms)

    # -- writing

    def _write(
        self, writer: Writer, record: MonitorWindow, series: list[Measurement], kind: str, report: WindowReport
    ) -> None:
        writer.put(record, *series)
        self._windows[record.start_at] = record
        writer.emit(Event(**self.scope.stamp(), kind=kind, subject=f"monitor/{self.monitor.name}",
                          body=msgspec.to_builtins(report)))  # fmt: skip


def _starts(times: pl.Series, every: int) -> set[int]:
    """The starts of the windows some times are in; windows are aligned to the epoch."""
    return set((times // every * every).unique())
