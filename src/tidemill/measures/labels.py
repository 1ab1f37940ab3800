"""Joining labels to predictions when labels come late, twice, corrected, or never."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

from msgspec import Struct


class Prediction(NamedTuple):
    """A prediction: row id, time it was made, predicted label."""

    id: Hashable
    time: float
    y_pred: Any


class LabelEvent(NamedTuple):
    """A label: row id, time it arrived, value."""

    id: Hashable
    arrival: float
    y: Any


class LabelJoin(Struct, frozen=True):
    """The state of the join at one time.

    Attributes:
        labelled: Predictions that have a label.
        predicted: Predictions made.
        accuracy: Share of labelled predictions that are right, None without any.
        orphans: Ids of labels without a prediction, in order of arrival.
        duplicates_ignored: Labels that repeated what was known.
        corrections_applied: Labels that replaced an earlier, different one.
        corrected: Their ids: the windows of those predictions open again.
        expired_unlabelled: Ids of predictions older than the longest delay without a label.
        late: Ids whose first label came after expiry; they count, and are flagged.
    """

    labelled: int
    predicted: int
    accuracy: float | None
    orphans: tuple[Hashable, ...]
    duplicates_ignored: int
    corrections_applied: int
    corrected: tuple[Hashable, ...]
    expired_unlabelled: tuple[Hashable, ...]
    late: tuple[Hashable, ...]


def join_labels(
    predictions: Iterable[Prediction],
    labels: Iterable[LabelEvent],
    max_delay: float,
    at: float | None = None,
) -> LabelJoin:
    """What is known at a time.

    Args:
        predictions: Predictions; those made after `at` do not exist yet.
        labels: Label events in any order; those that arrived after `at` do not exist yet.
        max_delay: How long a prediction waits for its label, in the unit of the times.
        at: The time to look from; None = after everything.

    Example:
        >>> join_labels([Prediction("a", 0, 1)], [LabelEvent("a", 5, 1)], max_delay=10, at=7).accuracy
        1.0
    """
    made = {p.id: p for p in predictions if at is None or p.time <= at}
    arrived = sorted((e for e in labels if at is None or e.arrival <= at), key=lambda e: e.arrival)
    truth, orphans, duplicates, corrected = _replay(made, arrived)
    expired = [i for i, p in made.items() if i not in truth and at is not None and at - p.time > max_delay]
    late = [i for i, (first, _) in truth.items() if first - made[i].time > max_delay]
    right = sum(made[i].y_pred == y for i, (_, y) in truth.items())
    return LabelJoin(
        labelled=len(truth),
        predicted=len(made),
        accuracy=right / len(truth) if truth else None,
        orphans=tuple(orphans),
        duplicates_ignored=duplicates,
        corrections_applied=len(corrected),
        corrected=tuple(dict.fromkeys(corrected)),
        expired_unlabelled=tuple(expired),
        late=tuple(late),
    )


def _replay(
    made: dict[Hashable, Prediction], arrived: list[LabelEvent]
) -> tuple[dict[Hashable, tuple[float, Any]], list[Hashable], int, list[Hashable]]:
    """First arrival and last value per labelled id, the orphans, the number of repeats, the corrected ids."""
    truth: dict[Hashable, tuple[float, Any]] = {}
    orphans: dict[Hashable, Any] = {}
    corrected: list[Hashable] = []
    duplicates = 0
    for event in arrived:
        known = truth.get(event.id)
        if event.id not in made:
            duplicates += orphans.get(event.id, _NOTHING) == event.y
            orphans[event.id] = event.y
        elif known is None:
            truth[event.id] = (event.arrival, event.y)
        elif known[1] == event.y:
            duplicates += 1
        else:
            truth[event.id] = (known[0], event.y)
            corrected.append(event.id)
    return truth, list(orphans), duplicates, corrected


_NOTHING = object()
