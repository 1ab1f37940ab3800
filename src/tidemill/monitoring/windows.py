"""What one window holds, measured against the reference of the version that answered: no state, no store."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from msgspec import Struct

from tidemill.measures.drift import MIN_ROWS, FeatureDrift, compare
from tidemill.measures.metrics import score_all, usable_rows
from tidemill.measures.profile import Profile
from tidemill.measures.profiling import profile_frame
from tidemill.measures.reference import Reference
from tidemill.measures.risk import scaled_errors
from tidemill.monitoring.calibration import Held, held_loss, held_promise
from tidemill.monitoring.capture import ROW_ID

VERSION, PREDICTION, PROBABILITY = "model_version", "prediction", "probability"

Status = Literal["ok", "insufficient_data"]


class Inputs(Struct, frozen=True):
    """What the rows of a window look like beside the reference.

    Attributes:
        profile: Their counts, in the cells of the reference.
        drifts: The distance of every feature, the prediction among them.
    """

    profile: Profile
    drifts: list[FeatureDrift]


class Performance(Struct, frozen=True):
    """What the labels say about a window.

    Attributes:
        labelled: Rows whose label is known.
        metrics: Scores on them by name; None where a score is not defined on these rows.
        held: What they say against the model, None without anything to hold it against.
    """

    labelled: int = 0
    metrics: dict[str, float | None] = {}
    held: Held | None = None


def status_of(rows: int) -> Status:
    """Whether so many rows say anything."""
    return "ok" if rows >= MIN_ROWS else "insufficient_data"


def versions_in(rows: pl.DataFrame) -> dict[str, int]:
    """Rows by model version, as text; rows no model answered are not among them."""
    if VERSION not in rows.columns:
        return {}
    counted = rows.group_by(VERSION).len().drop_nulls().sort(VERSION)
    return {str(version): count for version, count in counted.iter_rows()}


def newest_version(rows: pl.DataFrame) -> int | None:
    """The version that answered last."""
    if VERSION not in rows.columns:
        return None
    answered = rows.filter(pl.col(VERSION).is_not_null())
    return None if answered.is_empty() else int(answered.sort("received_at")[VERSION][-1])


def inputs_of(rows: pl.DataFrame, reference: Reference) -> Inputs:
    """Profile the rows like the reference and compare the two.

    A reference's `prediction` of a classifier is the probability, so that is what is counted.
    """
    if PROBABILITY in rows.columns:
        rows = rows.with_columns(pl.col(PROBABILITY).alias(PREDICTION))
    known = [name for name in rows.columns if name in reference.profile.features]
    # `row_id` keeps the number of rows when no feature was captured: all of them then count as missing.
    profile = profile_frame(rows.select(*known, pl.col(ROW_ID).alias("row id of the window")), reference.profile)
    return Inputs(profile, compare(reference.profile, profile))


def performance_of(
    start: int, rows: pl.DataFrame, labels: pl.DataFrame, reference: Reference | None, tolerance: float
) -> Performance:
    """Score a window on the labels known.

    Args:
        start: Start of the window.
        rows: Captured rows.
        labels: Columns `id` and `label`.
        reference: What the loss of a regression is held against.
        tolerance: How much the loss may rise, as a share.
    """
    joined = rows.join(labels.select("id", "label"), left_on=ROW_ID, right_on="id", how="inner")
    if joined.is_empty() or PREDICTION not in joined.columns:
        return Performance(labelled=joined.height)
    metrics, held = _scored(start, joined, reference, tolerance)
    return Performance(joined.height, metrics, held)


def _scored(
    start: int, joined: pl.DataFrame, reference: Reference | None, tolerance: float
) -> tuple[dict[str, float | None], Held | None]:
    numeric = joined.schema["label"].is_numeric()
    if numeric and PROBABILITY in joined.columns and joined[PROBABILITY].is_not_null().any():
        return _binary(start, joined)
    if numeric and joined.schema[PREDICTION].is_numeric():
        return _regression(start, joined, reference, tolerance)
    right = joined[PREDICTION].cast(pl.String) == joined["label"].cast(pl.String)
    wrong = 1 - right.cast(pl.Float64).to_numpy()
    accuracy = None if reference is None else reference.metrics.get("accuracy")
    held = None if accuracy is None else held_loss(start, wrong, _limit(1 - accuracy, tolerance))
    return {"accuracy": float(1 - wrong.mean())}, held


def _binary(start: int, joined: pl.DataFrame) -> tuple[dict[str, float | None], Held | None]:
    y, p = usable_rows(joined["label"], joined[PROBABILITY])
    metrics = score_all("classification", y, p)
    if len(y) == 0:
        return metrics, None
    held = held_promise(start, y, p)
    return {**metrics, "gap": held.effect["gap"], "positive_rate": float(y.mean())}, held


def _regression(
    start: int, joined: pl.DataFrame, reference: Reference | None, tolerance: float
) -> tuple[dict[str, float | None], Held | None]:
    y, shown = usable_rows(joined["label"], joined[PREDICTION])
    metrics = score_all("regression", y, shown)
    scale = _error_scale(reference)
    if len(y) == 0 or reference is None or reference.baseline_loss is None or scale is None:
        return metrics, None
    losses = scaled_errors(y, shown, cap=scale)
    return metrics, held_loss(start, losses, _limit(reference.baseline_loss, tolerance))


def _error_scale(reference: Reference | None) -> float | None:
    """The error that counts as a loss of 1: the baseline loss is the mean absolute error over it."""
    if reference is None or not reference.baseline_loss:
        return None
    mae = reference.metrics.get("mae")
    return mae / reference.baseline_loss if mae else None


def _limit(baseline: float, tolerance: float) -> float:
    return float(np.clip(baseline * (1 + tolerance), 1e-6, 1 - 1e-6))
