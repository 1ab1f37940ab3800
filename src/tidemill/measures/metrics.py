"""The named metrics: direction, what they need, and one call that computes them all."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from tidemill.core.errors import InvalidArgument, InvalidData, unknown
from tidemill.measures import classification, regression
from tidemill.measures.arrays import Floats, finite_or_none, floats
from tidemill.measures.classification import Score

Task = Literal["classification", "regression"]


class Metric(Struct, frozen=True):
    """A number that says how good predictions are.

    Attributes:
        name: Its name everywhere: gates, searches, pages, columns.
        maximize: Whether more is better.
        task: "classification" or "regression".
        needs: "proba" (scores), "label" (scores or labels; scores are cut at 0.5) or "value".
        score: The function on clean arrays; call the metric itself for anything else.
    """

    name: str
    maximize: bool
    task: Task
    needs: Literal["proba", "label", "value"]
    score: Score

    def __call__(self, y: ArrayLike, pred: ArrayLike) -> float | None:
        """The metric of the rows where truth and prediction are finite; None where it is not defined.

        Args:
            y: Truth, shape (n,): 0/1, booleans or class indices, or the target's values.
            pred: Predictions, shape (n,), or (n, classes) probabilities.

        Raises:
            InvalidData: If the two have different numbers of rows, or hold something else than numbers.

        Example:
            >>> metric("roc_auc")([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
            0.75
        """
        return self.on_clean(*usable_rows(y, pred))

    def on_clean(self, y: Floats, pred: Floats) -> float | None:
        """The metric of float arrays known to be finite and of equal length."""
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not defined, hence None
            return finite_or_none(self.score(y, pred)) if len(y) else None

    def gain(self, candidate: float, champion: float) -> float:
        """How much better the candidate is, positive = better, whatever the metric's direction."""
        return candidate - champion if self.maximize else champion - candidate


def _classifier(name: str, score: Score, needs: Literal["proba", "label"], maximize: bool = True) -> Metric:
    return Metric(name, maximize, "classification", needs, score)


def _regressor(name: str, score: Score, maximize: bool = False) -> Metric:
    return Metric(name, maximize, "regression", "value", score)


METRICS: dict[str, Metric] = {
    one.name: one
    for one in (
        _classifier("roc_auc", classification.roc_auc, "proba"),
        _classifier("log_loss", classification.log_loss, "proba", maximize=False),
        _classifier("brier", classification.brier, "proba", maximize=False),
        _classifier("average_precision", classification.average_precision, "proba"),
        _classifier("accuracy", classification.accuracy, "label"),
        _classifier("precision", classification.precision, "label"),
        _classifier("recall", classification.recall, "label"),
        _classifier("f1", classification.f1, "label"),
        _regressor("rmse", regression.rmse),
        _regressor("mse", regression.mse),
        _regressor("mae", regression.mae),
        _regressor("r2", regression.r2, maximize=True),
        _regressor("mape", regression.mape),
        _regressor("smape", regression.smape),
    )
}
TASKS: tuple[Task, ...] = ("classification", "regression")


def metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        NotFound: If there is none; the message lists the known ones and the closest.

    Example:
        >>> metric("log_loss").maximize
        False
    """
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    return METRICS[name]


def metrics_of(task: Task) -> tuple[Metric, ...]:
    """The metrics of a task, the customary one first.

    Raises:
        InvalidArgument: If the task is not known.

    Example:
        >>> [one.name for one in metrics_of("regression")][:2]
        ['rmse', 'mse']
    """
    if task not in TASKS:
        raise InvalidArgument(f"There is no task {task!r}", known=TASKS)
    return tuple(one for one in METRICS.values() if one.task == task)


def score_all(task: Task, y: ArrayLike, pred: ArrayLike) -> dict[str, float | None]:
    """Every metric of the task; None where one is not defined on these rows (none, or one class only).

    Args:
        task: "classification" or "regression".
        y: Truth, shape (n,).
        pred: Predictions, shape (n,), or (n, classes).

    Example:
        >>> score_all("regression", [1.0, 3.0], [1.0, 2.0])["mae"]
        0.5
        >>> score_all("classification", [1, 1], [0.5, 0.9])["roc_auc"] is None
        True
    """
    known, shown = usable_rows(y, pred)
    return {one.name: one.on_clean(known, shown) for one in metrics_of(task)}


def usable_rows(y: ArrayLike | Any, pred: ArrayLike | Any) -> tuple[Floats, Floats]:
    """The rows whose truth and prediction are both finite (a label that has not come yet is missing).

    Raises:
        InvalidData: If the two have different numbers of rows.

    Example:
        >>> usable_rows([1, None, 0], [0.5, 0.2, float("inf")])
        (array([1.]), array([0.5]))
    """
    truth, shown = floats(y).ravel(), floats(pred)
    shown = shown[:, -1] if shown.ndim == 2 and shown.shape[1] == 2 else shown
    if len(truth) != len(shown):
        raise InvalidData(
            f"There are {len(truth)} labels and {len(shown)} predictions", expected="one prediction per label"
        )
    keep = np.isfinite(truth) & (np.isfinite(shown).all(axis=1) if shown.ndim == 2 else np.isfinite(shown))
    return (truth, shown) if keep.all() else (truth[keep], shown[keep])
