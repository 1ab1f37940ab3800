"""How good a detector is: alarms against known drifts, always beside a detector that just fires every k steps."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from tidemill.measures.arrays import ratio


class DetectorScore(Struct, frozen=True):
    """Scores of a list of alarms; None where there is nothing to divide by.

    Attributes:
        precision: Share of alarms that match a drift.
        episode_recall: Share of drifts with a matching alarm.
        missed_rate: 1 - episode_recall.
        f1: Harmonic mean of the two.
        detection_delay: Mean steps from a found drift to its first alarm.
        false_alarms: The alarms that match none.
        false_alarms_per_1000: Per 1000 samples.
    """

    precision: float | None
    episode_recall: float | None
    missed_rate: float | None
    f1: float | None
    detection_delay: float | None
    false_alarms: tuple[float, ...]
    false_alarms_per_1000: float | None


def score_alarms(alarms: Sequence[float], drifts: Sequence[float], delta_max: float, n_samples: int) -> DetectorScore:
    """An alarm matches a drift in [drift, drift + delta_max], both ends included.

    Example:
        >>> score_alarms([110, 130, 900], [100, 500], 50, 1000).false_alarms
        (900,)
    """
    hits = {drift: [a for a in alarms if drift <= a <= drift + delta_max] for drift in drifts}
    false = [a for a in alarms if not any(drift <= a <= drift + delta_max for drift in drifts)]
    delays = [min(found) - drift for drift, found in hits.items() if found]
    precision = ratio(len(alarms) - len(false), len(alarms))
    recall = ratio(sum(bool(hits[drift]) for drift in drifts), len(drifts))
    return DetectorScore(
        precision=precision,
        episode_recall=recall,
        missed_rate=None if recall is None else 1 - recall,
        f1=_harmonic(precision, recall),
        detection_delay=ratio(sum(delays), len(delays)),
        false_alarms=tuple(sorted(false)),
        false_alarms_per_1000=ratio(1000 * len(false), n_samples),
    )


def periodic_baseline(drifts: Sequence[float], delta_max: float, n_samples: int, every: int) -> DetectorScore:
    """The score of firing every so many steps: what a detector has to beat.

    Example:
        >>> periodic_baseline([100, 500], 50, 1000, every=100).episode_recall
        1.0
    """
    return score_alarms(range(every, n_samples, every), drifts, delta_max, n_samples)


def _harmonic(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return None
    return 2 * a * b / (a + b) if a + b else 0.0
