"""Stream detectors as other tools define them: Page-Hinkley, DDM, the ADWIN cut and KSWIN.

Each scans a whole stream and returns 0-based positions; the state starts anew after every alarm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec import Struct
from numpy.typing import ArrayLike

from tidemill.measures.arrays import floats
from tidemill.measures.samples import ks_p


class PageHinkley(Struct, frozen=True):
    """Settings of the Page-Hinkley test (river's defaults).

    Attributes:
        min_instances: Values before the first alarm.
        delta: Change of the mean that is tolerated, in the unit of the stream.
        threshold: Accumulated excess that is an alarm.
        alpha: Forgetting factor of the accumulated excess.
    """

    min_instances: int = 30
    delta: float = 0.005
    threshold: float = 50.0
    alpha: float = 0.9999

    def alarms_up(self, stream: ArrayLike) -> list[int]:
        """Rises only, by the clipped recursion s = max(0, alpha s + x - mean - delta), alarm iff s >= threshold.

        Example:
            >>> PageHinkley(threshold=5).alarms_up([0.0] * 200 + [1.0] * 200)
            [205]
        """
        alarms: list[int] = []
        n, mean, s = 1, 0.0, 0.0
        for position, x in _readings(stream):
            mean += (x - mean) / n
            s = max(0.0, self.alpha * s + x - mean - self.delta)
            n += 1
            if n >= self.min_instances and s >= self.threshold:
                alarms.append(position)
                n, mean, s = 1, 0.0, 0.0
        return alarms

    def alarms_both(self, stream: ArrayLike) -> list[int]:
        """Rises and falls, by running extremes of two sums, alarm iff one exceeds the threshold.

        Example:
            >>> PageHinkley(threshold=5).alarms_both([0.0] * 200 + [1.0] * 200)
            [205]
        """
        alarms: list[int] = []
        n, mean, up, down, low, high = _FRESH
        for position, x in _readings(stream):
            n += 1
            mean += (x - mean) / n
            up = self.alpha * up + (x - mean) - self.delta
            down = self.alpha * down + (x - mean) + self.delta
            low, high = min(low, up), max(high, down)
            if n >= self.min_instances and (up - low > self.threshold or high - down > self.threshold):
                alarms.append(position)
                n, mean, up, down, low, high = _FRESH
        return alarms


def _readings(stream: ArrayLike) -> list[tuple[int, float]]:
    """Position and value of every finite value: a gap in a stream keeps its place."""
    return [(position, x) for position, x in enumerate(floats(stream).tolist()) if math.isfinite(x)]


_FRESH = (0, 0.0, 0.0, 0.0, math.inf, -math.inf)


class DdmResult(Struct, frozen=True):
    """Positions of a DDM run."""

    warnings: tuple[int, ...]
    drifts: tuple[int, ...]


def ddm(errors: Iterable[float], warm: int = 30, warning: float = 2.0, drift: float = 3.0) -> DdmResult:
    """Drift detection method on a stream of errors (1 = wrong), river's defaults.

    p = errors / n, s = sqrt(p (1 - p) / n); after `warm` values the least p + s is kept, and p + s is
    compared with p_min + 2 s_min (warning) and p_min + 3 s_min (drift, everything starts anew).

    Example:
        >>> ddm([i % 10 == 9 if i < 300 else (i - 300) % 2 for i in range(600)]).drifts
        (325,)
    """
    warnings, drifts = [], []
    n, wrong, p_min, s_min = 0, 0.0, math.inf, math.inf
    for position, error in enumerate(errors):
        n, wrong = n + 1, wrong + float(error)
        if n <= warm:
            continue
        p = wrong / n
        s = math.sqrt(max(p * (1 - p), 0.0) / n)
        if p + s <= p_min + s_min:
            p_min, s_min = p, s
        if p + s > p_min + drift * s_min:
            drifts.append(position)
            n, wrong, p_min, s_min = 0, 0.0, math.inf, math.inf
        elif p + s > p_min + warning * s_min:
            warnings.append(position)
    return DdmResult(tuple(warnings), tuple(drifts))


def adwin_cut(n0: int, n1: int, variance: float, width: int, delta: float = 0.002, min_length: int = 4) -> float | None:
    """The difference of two halves' means above which ADWIN cuts its window.

    eps = sqrt(2 v d' / m) + 2 d' / (3 m) with 1/m = 1/(n0 - k) + 1/(n1 - k), d' = ln(2 ln(width) / delta).

    Args:
        n0: Values in the older half.
        n1: Values in the newer half.
        variance: Variance of the whole window.
        width: Values in the whole window.
        delta: Confidence.
        min_length: k: 4 as in river and MOA (minimal window length less one), 0 as in the paper.

    Returns:
        The threshold, None for halves too short to cut.

    Example:
        >>> round(adwin_cut(100, 100, 0.25, 200), 4)
        0.418
    """
    if min(n0, n1) <= min_length or width < 2:
        return None
    inverse = 1 / (n0 - min_length) + 1 / (n1 - min_length)
    depth = math.log(2 * math.log(width) / delta)
    return math.sqrt(2 * inverse * max(variance, 0.0) * depth) + 2 / 3 * inverse * depth


class Kswin(Struct, frozen=True):
    """One decision of KSWIN on two samples of equal size."""

    p: float | None
    paper_threshold: float | None
    fires: bool


def kswin(d: float, n: int, alpha: float = 0.005, min_d: float = 0.1) -> Kswin:
    """Whether a gap of two distribution functions is a drift: exact p <= alpha and D > 0.1.

    Args:
        d: The two-sample Kolmogorov-Smirnov statistic.
        n: Values in each of the two samples.
        alpha: Level per test.
        min_d: Least gap, strict.

    Example:
        >>> kswin(0.5, 30).fires
        True
    """
    p = ks_p(d, n, n)
    paper = math.sqrt(-math.log(alpha) / n) if n > 0 else None
    return Kswin(p, paper, p is not None and p <= alpha and d > min_d)
