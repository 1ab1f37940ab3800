"""Evidence that a model got worse: betting that its loss stays at most the baseline plus a tolerance.

Null hypothesis: the expected loss, given everything before, is at most the limit. Each bet grows by 1 + lambda (loss -
limit); on average it does not grow while the null holds, whatever the distribution of the losses is. With
`unit="window"` the mean loss of a window is one observation, which stays valid when its rows share their fate.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from msgspec import Struct, structs
from numpy.typing import ArrayLike

from tidemill.core.errors import InvalidArgument, InvalidData
from tidemill.measures.arrays import Floats
from tidemill.measures.classification import brier_losses, log_losses, zero_one_losses
from tidemill.measures.metrics import usable_rows
from tidemill.measures.samples import finite
from tidemill.measures.sequential import log_mean, sr_step

METHOD_VERSION = "betting-1"
FRACTIONS = np.array([0.01, 0.03, 0.1, 0.2, 0.4, 0.8])
LOG_LOSS_CAP = 5.0

Unit = Literal["row", "window"]
Loss = Literal["brier", "zero_one", "log_loss"]


class RiskDetector(Struct, frozen=True):
    """The state of performance detection; a value, never changed in place.

    Attributes:
        threshold: Windows per period / false alarms allowed in it.
        limit: Largest expected loss that is still fine, in (0, 1): baseline + tolerance.
        unit: Whether a row or a whole window is one observation.
        log_sr: Log of the Shiryaev-Roberts statistic of each bet; empty before the first window.
        windows: Windows with labels taken in.
        crossings: How often it crossed.
        method_version: How the evidence is computed.
    """

    threshold: float
    limit: float
    unit: Unit = "row"
    log_sr: tuple[float, ...] = ()
    windows: int = 0
    crossings: int = 0
    method_version: str = METHOD_VERSION


class RiskVerdict(Struct, frozen=True):
    """What the labelled rows of a window say.

    Attributes:
        crossed: Whether the evidence reached the threshold; it then starts at zero again.
        log_sr: Natural log of the running statistic before that; None before the first labelled window.
        log_e: Natural log of this window's e-value, the mean over the bets.
        mean_loss: Mean loss of the window, None without labels.
        n: Labelled rows.
    """

    crossed: bool
    log_sr: float | None
    log_e: float
    mean_loss: float | None
    n: int


def new_risk_detector(threshold: float, baseline: float, tolerance: float = 0.0, unit: Unit = "row") -> RiskDetector:
    """A detector of losses above baseline + tolerance.

    Args:
        threshold: Windows per period / false alarms allowed in it.
        baseline: Expected loss of the healthy model, in [0, 1]; take its upper confidence bound (`upper_mean`), or the
            luck of the test rows becomes evidence.
        tolerance: How much worse is still fine, in the loss's unit.
        unit: "row" or "window".

    Raises:
        InvalidArgument: If the limit is not inside (0, 1) or the threshold is below 1.

    Example:
        >>> new_risk_detector(30.0, baseline=0.15, tolerance=0.05).limit
        0.2
    """
    limit = baseline + tolerance
    if not 0 < limit < 1 or threshold < 1:
        raise InvalidArgument(
            f"Cannot watch for losses above {limit} with a threshold of {threshold}",
            expected="baseline + tolerance inside (0, 1) and a threshold of at least 1",
        )
    return RiskDetector(threshold, limit, unit)


def update_risk(detector: RiskDetector, losses: ArrayLike) -> tuple[RiskDetector, RiskVerdict]:
    """Take in the losses of one window's labelled rows.

    Args:
        detector: The state so far.
        losses: One loss per labelled row, in [0, 1]; missing ones are left out. Without any nothing changes.

    Raises:
        InvalidData: If a loss is outside [0, 1].

    Example:
        >>> state = new_risk_detector(30.0, baseline=0.2, tolerance=0.02)
        >>> _, verdict = update_risk(state, [0.0, 1.0] * 100)
        >>> verdict.crossed
        True
    """
    known = finite(losses)
    if len(known) and (known.min() < 0 or known.max() > 1):
        raise InvalidData(f"Losses range from {known.min()} to {known.max()}", expected="losses in [0, 1]")
    if len(known) == 0:
        return detector, RiskVerdict(False, log_mean(detector.log_sr), 0.0, None, 0)
    log_bets = _log_bets(known if detector.unit == "row" else known.mean(keepdims=True), detector.limit)
    before = detector.log_sr or (None,) * len(log_bets)
    stepped = tuple(sr_step(old, log_e) for old, log_e in zip(before, log_bets, strict=True))
    log_sr, log_e = log_mean(stepped), log_mean(log_bets)
    crossed = log_sr is not None and log_sr >= math.log(detector.threshold)
    after = structs.replace(
        detector,
        log_sr=() if crossed else stepped,
        windows=detector.windows + 1,
        crossings=detector.crossings + crossed,
    )
    return after, RiskVerdict(crossed, log_sr, log_e or 0.0, float(known.mean()), len(known))


def row_losses(loss: Loss, y: ArrayLike, pred: ArrayLike) -> Floats:
    """A loss in [0, 1] per row where label and prediction are there.

    Args:
        loss: "brier" (squared error of the probability), "zero_one" (1 = wrong label) or "log_loss" (cut at 5 nats, over 5).
        y: Labels 0/1, shape (n,).
        pred: Probabilities of class 1, shape (n,), or of all classes.

    Raises:
        InvalidArgument: If there is no such loss.

    Example:
        >>> row_losses("brier", [1, None, 0], [0.5, 0.5, 0.0])
        array([0.25, 0.  ])
    """
    truth, shown = usable_rows(y, pred)
    if loss == "brier":
        scale = 2.0 if shown.ndim == 2 else 1.0
        return np.clip(brier_losses(truth, shown) / scale, 0.0, 1.0)
    if loss == "zero_one":
        return zero_one_losses(truth, shown)
    if loss == "log_loss":
        return np.minimum(log_losses(truth, shown), LOG_LOSS_CAP) / LOG_LOSS_CAP
    raise InvalidArgument(f"There is no loss {loss!r}", known=("brier", "zero_one", "log_loss"))


def scaled_errors(y: ArrayLike, pred: ArrayLike, cap: float) -> Floats:
    """Absolute errors of a regression, cut at a cap and divided by it: losses in [0, 1].

    Args:
        y: Truth, in the target's unit.
        pred: Predictions.
        cap: The error that counts as total, for example the 99 % quantile of the test errors.

    Raises:
        InvalidArgument: If the cap is not positive.

    Example:
        >>> scaled_errors([0.0, 0.0], [1.0, 9.0], cap=4.0)
        array([0.25, 1.  ])
    """
    if not cap > 0:
        raise InvalidArgument(f"A cap of {cap} cannot scale errors", expected="a positive number")
    truth, shown = usable_rows(y, pred)
    return np.minimum(np.abs(truth - shown) / cap, 1.0)


def upper_mean(losses: ArrayLike, z: float = 1.959963984540054) -> float | None:
    """Upper 97.5 % confidence bound of a mean loss, at most 1: a baseline that allows for the luck of its rows.

    Example:
        >>> round(upper_mean([0.0, 1.0] * 50), 3)
        0.598
    """
    known = finite(losses)
    if len(known) == 0:
        return None
    return min(float(known.mean() + z * known.std(ddof=min(1, len(known) - 1)) / len(known) ** 0.5), 1.0)


def _log_bets(losses: Floats, limit: float) -> list[float]:
    """Per bet the sum of log(1 + lambda (loss - limit)), lambda a fraction of the largest allowed one, 1 / limit."""
    values: list[float] = np.log1p(np.outer(FRACTIONS / limit, losses - limit)).sum(axis=1).tolist()
    return values
