"""What the pages about a monitor show, read from its records."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np

from tidemill.core.errors import NotFound, unknown
from tidemill.core.records.monitoring import Measurement, MonitorWindow
from tidemill.core.specs.monitoring import Monitor
from tidemill.core.times import format_time
from tidemill.measures.profile import ORDERED, FeatureProfile, Profile
from tidemill.monitoring.references import References
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.protocol import Reader

BLAMED = 3
"""Cells of a distribution named as responsible."""


class Cell(msgspec.Struct, frozen=True):
    """One feature in one window: how far it is from the reference, its evidence (log10), whether it gave alarm."""

    effect: float | None
    evidence: float | None
    alarm: bool


class HeatMap(msgspec.Struct, frozen=True):
    """Features by windows: `cells[feature][window]`, None where nothing was measured."""

    features: list[str]
    starts: list[int]
    cells: list[list[Cell | None]]
    evidence: list[float | None]
    """Of all features together, per window."""


class PerformanceSeries(msgspec.Struct, frozen=True):
    """Scores per window, oldest first; `series[name]` has one value per window, None where it is not known."""

    starts: list[int]
    versions: list[int | None]
    rows: list[int]
    coverage: list[float]
    series: dict[str, list[float | None]]
    alarms: list[list[str]]
    """Kinds of the alarms of each window."""


class Bin(msgspec.Struct, frozen=True):
    """One cell of a distribution: shares of the rows, and whether it is among those that differ most."""

    name: str
    reference: float
    window: float
    responsible: bool


class Distribution(msgspec.Struct, frozen=True):
    """One feature in one window beside the reference."""

    feature: str
    start: int
    reference_rows: int
    window_rows: int
    bins: list[Bin]
    missing_reference: float | None
    missing_window: float | None
    unseen: int
    out_of_range: int


def heat_map(reader: Reader, project: str, monitor: str, limit: int) -> HeatMap:
    """See `Monitoring.heatmap`."""
    windows = _newest(reader, project, monitor, limit)
    if not windows:
        return HeatMap([], [], [], [])
    where = {"project": project, "monitor": monitor, "start_at": (">=", windows[0].start_at)}
    effect = _by_key(reader.find(Measurement, {**where, "series": "effect"}))
    evidence = _by_key(reader.find(Measurement, {**where, "series": "evidence"}))
    starts = [one.start_at for one in windows]
    features = sorted({feature for feature, _ in effect})
    cells = [[_cell(effect.get((name, at)), evidence.get((name, at))) for at in starts] for name in features]
    whole = [evidence.get(("", at)) for at in starts]
    return HeatMap(features, starts, cells, [None if one is None else one.value for one in whole])


def performance_series(reader: Reader, project: str, monitor: str, limit: int) -> PerformanceSeries:
    """See `Monitoring.performance`."""
    windows = _newest(reader, project, monitor, limit)
    names = list(dict.fromkeys(name for one in windows for name in one.detail["metrics"]))
    return PerformanceSeries(
        starts=[one.start_at for one in windows],
        versions=[one.detail["version"] for one in windows],
        rows=[one.rows for one in windows],
        coverage=[one.labelled / one.rows if one.rows else 0.0 for one in windows],
        series={name: [one.detail["metrics"].get(name) for one in windows] for name in names},
        alarms=[[alarm["kind"] for alarm in one.detail["alarms"]] for one in windows],
    )


def distribution(
    reader: Reader, artifacts: ArtifactStore, references: References, project: str, monitor: Monitor, feature: str,
    start: int,
) -> Distribution:  # fmt: skip
    """See `Monitoring.distribution`."""
    window = reader.get(MonitorWindow, project=project, monitor=monitor.name, start_at=start)
    known = None if window is None else references.of(monitor, window.detail["version"])
    if window is None or window.profile is None or known is None:
        raise NotFound(f"monitor {monitor.name!r} has no profile of a window at {format_time(start)}")
    profile = msgspec.json.decode(artifacts.get(window.profile), type=Profile)
    if feature not in profile.features:
        raise unknown("feature", feature, profile.features)
    return _distribution(feature, start, known.reference.profile[feature], profile[feature])


def _distribution(name: str, start: int, reference: FeatureProfile, window: FeatureProfile) -> Distribution:
    p, q = (np.array([*one.counts, one.unseen], dtype=np.float64) for one in (reference, window))
    p, q = p / max(p.sum(), 1.0), q / max(q.sum(), 1.0)
    worst = set(np.argsort(-np.abs(p - q), kind="stable")[:BLAMED].tolist())
    bins = [
        Bin(cell, float(a), float(b), number in worst and abs(a - b) > 0)
        for number, (cell, a, b) in enumerate(zip(_cells(reference), p.tolist(), q.tolist(), strict=True))
        if a > 0 or b > 0
    ]
    return Distribution(
        feature=name, start=start, reference_rows=reference.n, window_rows=window.n, bins=bins,
        missing_reference=reference.rate(reference.absent), missing_window=window.rate(window.absent),
        unseen=window.unseen, out_of_range=window.below + window.above,
    )  # fmt: skip


def _cells(reference: FeatureProfile) -> list[str]:
    """Names of the cells, that of unseen values last."""
    if reference.kind not in ORDERED:
        return [*reference.categories, "other", "unseen"]
    edges = [f"{edge:.4g}" for edge in reference.edges]
    if not edges:
        return ["all", "unseen"]
    between = [f"{low} to {high}" for low, high in pairwise(edges)]
    return [f"up to {edges[0]}", *between, f"over {edges[-1]}", "unseen"]


def _newest(reader: Reader, project: str, monitor: str, limit: int) -> list[MonitorWindow]:
    where = {"project": project, "monitor": monitor}
    return reader.find(MonitorWindow, where, order=["-start_at"], limit=limit)[::-1]


def _by_key(found: list[Measurement]) -> dict[tuple[str, int], Measurement]:
    return {(one.feature, one.start_at): one for one in found}


def _cell(effect: Measurement | None, evidence: Measurement | None) -> Cell | None:
    if effect is None:
        return None
    return Cell(effect.value, None if evidence is None else evidence.value, evidence is not None and evidence.alarm)
