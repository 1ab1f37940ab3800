"""Asking models about the rows of a dataset, and bringing their answers to one set of classes to score them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.core.errors import InvalidArgument, InvalidData, UserCodeError
from tidemill.measures.metrics import Metric, Task
from tidemill.tracking.dataset import Dataset
from tidemill.training.threads import SINGLE_ANSWER_BELOW, threads_for

Floats = NDArray[np.float64]

_CLASSES = frozenset({"boolean", "string"})
"""Types of labels that are classes whatever the model is."""


@dataclass(frozen=True)
class Answers:
    """What a model answers for some rows."""

    values: Floats
    """Shape (rows,) of a regression; (rows, classes) of a classification."""
    classes: tuple[Any, ...] | None = None
    """What the columns stand for; None for a regression."""
    hard: bool = False
    """Whether the model names a class without saying how likely it is."""

    @property
    def task(self) -> Task:
        """Regression or classification."""
        return "regression" if self.classes is None else "classification"

    def part(self, rows: NDArray[np.bool_]) -> Answers:
        """The answers for some of the rows."""
        return Answers(self.values[rows], self.classes, self.hard)

    def column(self) -> pl.Series:
        """The answers as one column, as serving keeps them: values, probabilities of the second of two classes, or classes."""
        if self.classes is None:
            return pl.Series("prediction", self.values)
        if len(self.classes) == 2 and not self.hard:
            return pl.Series("prediction", self.values[:, 1])
        return pl.Series("prediction", [self.classes[i] for i in self.values.argmax(axis=1)])


@dataclass(frozen=True)
class Comparable:
    """Truth and answers as the metrics take them, over the classes that any of them knows."""

    truth: Floats
    """Shape (rows,): values, or positions among the classes."""
    predictions: tuple[Floats, ...]
    """Shape (rows,): values, or probabilities of the second of two classes; (rows, classes) for more."""
    classes: tuple[Any, ...] | None


def task_of(model: Any, dataset: Dataset) -> Task:
    """Whether a fitted model answers with classes: it says so, or the label is one."""
    label = dataset.manifest.label
    says = hasattr(model, "classes_") or hasattr(model, "predict_proba")
    return "classification" if says or (label is not None and label.type in _CLASSES) else "regression"


def answers_of(model: Any, dataset: Dataset) -> Answers:
    """What a fitted estimator answers for the rows of a dataset.

    Raises:
        UserCodeError: The estimator failed, or answered something else than finite numbers.
    """
    try:
        with threads_for(len(dataset), SINGLE_ANSWER_BELOW):
            found = _asked(model, dataset)
    except Exception as error:
        raise UserCodeError(f"{type(model).__name__} failed on {len(dataset)} rows: {error}") from error
    if not np.isfinite(found.values).all():
        bad = int((~np.isfinite(found.values.reshape(len(dataset), -1)).all(axis=1)).sum())
        raise UserCodeError(f"{type(model).__name__} answered NaN or infinity for {bad} of {len(dataset)} rows")
    return found


def _asked(model: Any, dataset: Dataset) -> Answers:
    if task_of(model, dataset) == "regression":
        return Answers(np.asarray(model.predict(dataset.X), dtype=np.float64).reshape(-1))
    if hasattr(model, "predict_proba"):
        classes = np.asarray(getattr(model, "classes_", (False, True))).tolist()
        return Answers(np.asarray(model.predict_proba(dataset.X), dtype=np.float64), tuple(classes))
    return named_classes(np.asarray(model.predict(dataset.X)).tolist(), getattr(model, "classes_", ()))


def named_classes(answers: Sequence[Any], known: Sequence[Any] = ()) -> Answers:
    """The answers of a model that names classes: certainty for the one it names."""
    classes = _ordered({*np.asarray(known).tolist(), *answers})
    place = {value: i for i, value in enumerate(classes)}
    return Answers(np.eye(len(classes))[[place[one] for one in answers]], classes, hard=True)


def answers_in(frame: pl.DataFrame, dataset: Dataset, known: tuple[Any, ...] | None) -> Answers:
    """What a loaded model answered; see `tidemill.core.protocols.LoadedModel`.

    Args:
        frame: Its answers.
        dataset: The rows it was asked about.
        known: Classes of another model of the same label; None if that is a regression.
    """
    if known is None:
        return Answers(frame["prediction"].cast(pl.Float64).to_numpy())
    if "probability" in frame.columns:
        positive = frame["probability"].to_numpy()
        return Answers(np.column_stack([1 - positive, positive]), _two_classes(frame, dataset, known))
    shown = [name for name in frame.columns if name.startswith("probability_")]
    if not shown:
        return named_classes(frame["prediction"].to_list(), known)
    kind = dataset.manifest.label.type if dataset.manifest.label else "string"
    classes = tuple(_read_class(name.removeprefix("probability_"), kind) for name in shown)
    return Answers(frame.select(shown).to_numpy(), classes)


def _two_classes(frame: pl.DataFrame, dataset: Dataset, known: tuple[Any, ...]) -> tuple[Any, ...]:
    classes = _ordered({*known, *frame["prediction"].unique().to_list()})
    return (False, True) if frame["prediction"].dtype == pl.Boolean else classes[:2]


def _read_class(text: str, kind: str) -> Any:
    if kind == "int64":
        return int(text)
    if kind == "float64":
        return float(text)
    return text == "True" if kind == "boolean" else text


def comparable(dataset: Dataset, *answers: Answers) -> Comparable:
    """Truth and answers over the same classes: those of the models and of the rows.

    A class that a model does not know has probability 0 with it.

    Raises:
        InvalidArgument: Classes and values cannot be compared.
    """
    kinds = {one.task for one in answers}
    if len(kinds) > 1:
        raise InvalidArgument("a model that answers with classes cannot be compared with one that answers with values")
    if kinds == {"regression"}:
        return Comparable(dataset.y.astype(np.float64), tuple(one.values for one in answers), None)
    labels = dataset.y.tolist()
    booleans = {False, True} if dataset.y.dtype == bool else set()
    classes = _ordered({*labels, *booleans, *(value for one in answers for value in one.classes or ())})
    place = {value: float(i) for i, value in enumerate(classes)}
    truth = np.fromiter((place[label] for label in labels), np.float64, len(labels))
    return Comparable(truth, tuple(_over(classes, one) for one in answers), classes)


def _over(classes: tuple[Any, ...], answers: Answers) -> Floats:
    wide = np.zeros((len(answers.values), max(len(classes), 2)))
    for i, value in enumerate(answers.classes or ()):
        wide[:, classes.index(value)] = answers.values[:, i]
    return wide[:, 1] if wide.shape[1] == 2 else wide


def _ordered(classes: set[Any]) -> tuple[Any, ...]:
    return tuple(sorted(classes, key=lambda value: (isinstance(value, str), value)))


def check_metric(metric: Metric, task: Task, what: str) -> None:
    """Check that a metric is one of a task.

    Raises:
        InvalidArgument: It is not.
    """
    if metric.task != task:
        kind = "values" if task == "regression" else "classes"
        raise InvalidArgument(f"{metric.name} is a metric of a {metric.task}, and {what} answers with {kind}")


def score(metric: Metric, model: Any, dataset: Dataset) -> float:
    """One metric of a fitted estimator on a dataset.

    Raises:
        InvalidArgument: The metric is none of what the estimator does.
        InvalidData: It is not defined there, for example for rows of one class only.
        UserCodeError: The estimator failed.
    """
    answers = answers_of(model, dataset)
    check_metric(metric, answers.task, type(model).__name__)
    both = comparable(dataset, answers)
    value = metric(both.truth, both.predictions[0])
    if value is None:
        raise InvalidData(f"{metric.name} is not defined on the {len(dataset)} rows to score on",
                          expected="rows of more than one class", hint="Use more rows, or another metric")  # fmt: skip
    return value
