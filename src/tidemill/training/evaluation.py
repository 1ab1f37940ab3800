"""The evaluation report: how good a model is on some rows, and where it errs."""

from __future__ import annotations

from typing import Any

import msgspec

from tidemill.measures.curves import (
    Calibration,
    Confusion,
    Curve,
    Histogram,
    calibration_curve,
    confusion_matrix,
    precision_recall_curve,
    residual_histogram,
    roc_curve,
)
from tidemill.measures.metrics import Task, score_all
from tidemill.tracking.dataset import Dataset
from tidemill.training.scoring import Answers, Floats, answers_of, comparable


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How good a model is on a dataset. Curves are of two-class models, residuals of regressions."""

    dataset: str
    rows: int
    task: Task
    metrics: dict[str, float | None]
    """Every metric of the task; None where it is not defined on these rows."""
    classes: tuple[str, ...] = ()
    """The classes in the order of the confusion matrix; the second of two is the positive one."""
    roc: Curve | None = None
    precision_recall: Curve | None = None
    calibration: Calibration | None = None
    confusion: Confusion | None = None
    residuals: Histogram | None = None

    def scores(self) -> dict[str, float]:
        """The metrics that are defined."""
        return {name: value for name, value in self.metrics.items() if value is not None}


def evaluate(model: Any, dataset: Dataset) -> Report:
    """Score a fitted estimator on the rows of a dataset.

    It is a classification when the estimator has classes, or the label is boolean or text; else a regression.

    Args:
        model: The estimator.
        dataset: Rows with a label.

    Raises:
        UserCodeError: The estimator failed, or answered something else than finite numbers.
    """
    return report_on(answers_of(model, dataset), dataset)


def report_on(answers: Answers, dataset: Dataset) -> Report:
    """The report of answers that are there already.

    Args:
        answers: One per row.
        dataset: The rows.
    """
    both = comparable(dataset, answers)
    predicted = both.predictions[0]
    metrics = score_all(answers.task, both.truth, predicted)
    classes = tuple(map(str, both.classes or ()))
    pictures = _residuals(both.truth, predicted) if both.classes is None else _curves(both.truth, predicted)
    return Report(
        dataset=dataset.digest, rows=len(dataset), task=answers.task, metrics=metrics, classes=classes, **pictures
    )


def _residuals(truth: Floats, predicted: Floats) -> dict[str, Any]:
    return {"residuals": residual_histogram(truth, predicted)}


def _curves(truth: Floats, predicted: Floats) -> dict[str, Any]:
    if predicted.ndim == 2:
        return {"confusion": confusion_matrix(truth, predicted)}
    return {
        "roc": roc_curve(truth, predicted),
        "precision_recall": precision_recall_curve(truth, predicted),
        "calibration": calibration_curve(truth, predicted),
        "confusion": confusion_matrix(truth, predicted),
    }
