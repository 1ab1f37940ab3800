"""Many tests at once: which to reject, and what a month of them costs in false alarms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from tidemill.measures.arrays import Floats, floats


def naive(p: ArrayLike, q: float = 0.05) -> list[int]:
    """Indices with p <= q, uncorrected.

    Example:
        >>> naive([0.01, 0.2, 0.05])
        [0, 2]
    """
    return np.flatnonzero(floats(p) <= q).tolist()


def bonferroni(p: ArrayLike, q: float = 0.05) -> list[int]:
    """Indices with p <= q / m: controls the chance of any false rejection, under any dependence."""
    values = floats(p)
    return np.flatnonzero(values <= q / max(len(values), 1)).tolist()


def holm(p: ArrayLike, q: float = 0.05) -> list[int]:
    """Holm's step-down: the same control, never fewer rejections.

    Example:
        >>> holm([0.01, 0.02, 0.9])
        [0, 1]
    """
    values = floats(p)
    order = np.argsort(values, kind="stable")
    fine = values[order] <= q / (len(values) - np.arange(len(values)))
    passed = len(values) if fine.all() else int(np.argmin(fine))
    return sorted(order[:passed].tolist())


def benjamini_hochberg(p: ArrayLike, q: float = 0.05) -> list[int]:
    """Step-up control of the false discovery rate, for independent or positively dependent tests.

    Within one window only: with nothing changed anywhere it still fires in up to a share q of all windows.

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.9])
        [0]
    """
    return _step_up(floats(p), q)


def benjamini_yekutieli(p: ArrayLike, q: float = 0.05) -> list[int]:
    """The same under any dependence: Benjamini-Hochberg at q / (1 + 1/2 + ... + 1/m)."""
    values = floats(p)
    return _step_up(values, q / float((1 / np.arange(1, len(values) + 1)).sum())) if len(values) else []


def e_bh(e: ArrayLike, q: float = 0.05) -> list[int]:
    """The largest r with e_(r) >= m / (q r); the r largest e-values are rejected. Valid under any dependence.

    Example:
        >>> e_bh([100.0, 1.0, 45.0], q=0.05)
        [0, 2]
    """
    values = floats(e)
    order = np.argsort(-values, kind="stable")
    need = len(values) / (q * np.arange(1, len(values) + 1))
    reached = np.flatnonzero(values[order] >= need)
    return sorted(order[: reached[-1] + 1].tolist()) if len(reached) else []


def average_e(e: ArrayLike) -> float | None:
    """The mean of e-values is an e-value under any dependence; it rejects the global null at q iff >= 1 / q."""
    values = floats(e)
    return float(values.mean()) if len(values) else None


def global_null_rejected(e: ArrayLike, q: float = 0.05) -> bool:
    """Whether the average e-value reaches 1 / q.

    Example:
        >>> global_null_rejected([60.0, 0.0], q=0.05)
        True
    """
    mean = average_e(e)
    return mean is not None and mean >= 1 / q


PROCEDURES: dict[str, Callable[[Sequence[float], float], list[int]]] = {
    "naive": naive,
    "bonferroni": bonferroni,
    "holm": holm,
    "bh": benjamini_hochberg,
    "by": benjamini_yekutieli,
}


class Budget(Struct, frozen=True):
    """What a number of features and windows means when nothing changes at all.

    Attributes:
        features: Features watched.
        windows: Windows in the period.
    """

    features: int
    windows: int

    @property
    def tests(self) -> int:
        """Tests in the period."""
        return self.features * self.windows

    def false_feature_alerts(self, alpha: float) -> float:
        """Expected false alerts of single features at level alpha each."""
        return self.tests * alpha

    def false_windows(self, alpha: float) -> float:
        """Expected windows with any false alert: windows x (1 - (1 - alpha)^features), for independent features.

        Example:
            >>> round(Budget(50, 720).false_windows(0.05), 3)
            664.6
        """
        return self.windows * (1 - (1 - alpha) ** self.features)

    def false_windows_corrected(self, q: float) -> float:
        """The same with Bonferroni (or Benjamini-Hochberg, all null) inside each window."""
        return self.false_windows(q / self.features) if self.features else 0.0

    def alpha_for(self, alarms: float = 1.0) -> float | None:
        """Level per test that gives so many expected false alerts in the period."""
        return alarms / self.tests if self.tests else None

    def run_length_for(self, alarms: float = 1.0) -> float:
        """Average windows between false alarms that keep the budget: also the threshold of an e-detector.

        Example:
            >>> Budget(50, 720).run_length_for(1)
            720.0
        """
        return self.windows / alarms


def _step_up(p: Floats, q: float) -> list[int]:
    order = np.argsort(p, kind="stable")
    fine = np.flatnonzero(p[order] <= q * np.arange(1, len(p) + 1) / max(len(p), 1))
    return sorted(order[: fine[-1] + 1].tolist()) if len(fine) else []
