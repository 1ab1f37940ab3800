"""The numbers of a window as measurements: what pages and exports read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tidemill.core.records.monitoring import Measurement, MonitorWindow
from tidemill.measures.arrays import finite_or_none
from tidemill.measures.drift import FeatureDrift
from tidemill.monitoring.evidence import Crossing, effect_size, log10
from tidemill.monitoring.windows import Performance


def window_series(record: MonitorWindow) -> list[Measurement]:
    """How many rows, and the share whose label is known."""
    coverage = record.labelled / record.rows if record.rows else None
    return _series(
        record, [("rows", "", float(record.rows), record.rows), ("label_coverage", "", coverage, record.rows)]
    )


def performance_series(record: MonitorWindow, performance: Performance) -> list[Measurement]:
    """The scores on the labelled rows."""
    held = performance.held.effect if performance.held is not None else {}
    loss = {name: value for name, value in held.items() if name in ("loss", "excess")}
    values = {**performance.metrics, **loss}
    return _series(record, [(name, "", value, performance.labelled) for name, value in values.items()])


def input_series(record: MonitorWindow, drifts: Sequence[FeatureDrift], crossing: Crossing | None) -> list[Measurement]:
    """Per feature the distances, the rates and, where it was gathered, the evidence."""
    rows = [(series, drift.name, value, drift.n_cur) for drift in drifts for series, value in _effects(drift)]
    found = _series(record, rows)
    return found if crossing is None else found + _evidence(record, crossing)


def _effects(drift: FeatureDrift) -> list[tuple[str, float | None]]:
    return [
        ("effect", effect_size(drift)),
        ("psi", drift.psi),
        ("js", drift.js),
        ("hellinger", drift.hellinger),
        ("ks", drift.ks),
        ("wasserstein", drift.wasserstein),
        ("missing", drift.missing_cur),
        ("unseen", drift.unseen_rate),
        ("out_of_range", drift.out_of_range_rate),
    ]


def _evidence(record: MonitorWindow, crossing: Crossing) -> list[Measurement]:
    whole = _series(
        record, [("evidence", "", log10(crossing.verdict.log_sr), record.rows)], alarm=bool(crossing.responsible)
    )
    named = set(crossing.responsible)
    parts = [("evidence", one.name, log10(one.log_sr), record.rows) for one in crossing.verdict.features]
    return (
        whole
        + _series(record, [part for part in parts if part[1] in named], alarm=True)
        + _series(record, [part for part in parts if part[1] not in named])
    )


def _series(
    record: MonitorWindow, values: Iterable[tuple[str, str, float | None, int]], *, alarm: bool = False
) -> list[Measurement]:
    return [
        Measurement(
            project=record.project, principal=record.principal, created_at=record.created_at, monitor=record.monitor,
            start_at=record.start_at, series=series, feature=feature, value=finite_or_none(value), rows=rows, alarm=alarm,
        )
        for series, feature, value, rows in values
    ]  # fmt: skip
