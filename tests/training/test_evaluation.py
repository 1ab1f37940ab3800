from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.linear_model import LinearRegression
from sklearn.svm import LinearSVC
from tests.training.conftest import Make
from tests.training.steps import classify, regress

from tidemill.core.errors import UserCodeError
from tidemill.tracking.dataset import Dataset
from tidemill.training.evaluation import Report, evaluate
from tidemill.training.scoring import Answers, answers_in, answers_of, comparable


def test_two_classes_score_as_in_scikit_learn(make: Make) -> None:
    fit, test = make(rows=500), make(rows=400, start=500)
    model = classify(fit)
    report = evaluate(model, test)
    chance = model.predict_proba(test.X)[:, 1]
    guess = chance >= 0.5
    expected = {
        "roc_auc": sk.roc_auc_score(test.y, chance),
        "log_loss": sk.log_loss(test.y, chance),
        "brier": sk.brier_score_loss(test.y, chance),
        "average_precision": sk.average_precision_score(test.y, chance),
        "accuracy": sk.accuracy_score(test.y, guess),
        "precision": sk.precision_score(test.y, guess),
        "recall": sk.recall_score(test.y, guess),
        "f1": sk.f1_score(test.y, guess),
    }
    assert report.metrics == pytest.approx(expected)
    assert report.confusion is not None
    assert np.array(report.confusion.counts).tolist() == sk.confusion_matrix(test.y, guess).tolist()
    assert (report.task, report.rows, report.classes) == ("classification", 400, ("False", "True"))
    assert report.roc is not None
    assert np.trapezoid(report.roc.y, report.roc.x) == pytest.approx(expected["roc_auc"], abs=0.01)


@pytest.mark.parametrize("label", ["speed", "stars"])
def test_more_classes_score_as_in_scikit_learn(make: Make, label: str) -> None:
    fit, test = make(label, rows=500), make(label, rows=400, start=500)
    model = classify(fit)
    report = evaluate(model, test)
    chances = model.predict_proba(test.X)
    assert report.metrics["accuracy"] == pytest.approx(sk.accuracy_score(test.y, model.predict(test.X)))
    assert report.metrics["log_loss"] == pytest.approx(sk.log_loss(test.y, chances))
    assert report.classes == tuple(str(value) for value in model.classes_)
    assert report.confusion is not None
    assert np.sum(report.confusion.counts) == 400


@pytest.mark.parametrize("label", ["delay", "minutes"])
def test_values_score_as_in_scikit_learn(make: Make, label: str) -> None:
    fit, test = make(label, rows=500), make(label, rows=400, start=500)
    model = regress(fit)
    report, predicted = evaluate(model, test), model.predict(test.X)
    assert report.task == "regression"
    assert report.metrics["rmse"] == pytest.approx(sk.root_mean_squared_error(test.y, predicted))
    assert report.metrics["mae"] == pytest.approx(sk.mean_absolute_error(test.y, predicted))
    assert report.metrics["r2"] == pytest.approx(sk.r2_score(test.y, predicted))
    assert report.residuals is not None
    assert sum(report.residuals.counts) == 400


def test_a_report_survives_json(make: Make) -> None:
    rows = make()
    report = evaluate(classify(rows), rows)
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_one_class_in_the_rows_leaves_metrics_undefined(make: Make) -> None:
    rows = make()
    only = rows.part(rows.frame["late"], {"late": True})
    report = evaluate(classify(rows), only)
    assert report.metrics["roc_auc"] is None
    assert report.metrics["accuracy"] is not None


def test_a_class_the_model_never_saw_counts_as_missed(make: Make) -> None:
    rows = make("speed")
    model = classify(rows.part(rows.frame["speed"] != "slow", {"no": "slow"}))
    report = evaluate(model, rows)
    right = (model.predict(rows.X) == rows.y).mean()
    assert report.classes == ("early", "fair", "slow")
    assert report.metrics["accuracy"] == pytest.approx(right)


def test_a_classifier_without_probabilities_names_classes(make: Make) -> None:
    rows = make()
    numbers = rows.X.select("wind").fill_null(0)
    model = LinearSVC().fit(numbers, rows.y)
    only_wind = Dataset.of(rows.frame.select(wind=numbers["wind"], late="late"), label="late")
    report = evaluate(model, only_wind)
    assert report.metrics["accuracy"] == pytest.approx((model.predict(numbers) == rows.y).mean())


class Broken(LinearRegression):  # type: ignore[misc]
    def predict(self, X: object) -> np.ndarray:
        return np.array([np.nan] * 600)


def test_a_model_that_answers_nan_or_fails_is_told(make: Make) -> None:
    with pytest.raises(UserCodeError, match="NaN or infinity for 600 of 600 rows"):
        evaluate(Broken(), make("delay"))
    with pytest.raises(UserCodeError, match="LinearRegression failed on 600 rows"):
        evaluate(LinearRegression(), make("delay"))


@pytest.mark.parametrize("label", ["late", "speed", "stars", "delay", "minutes"])
def test_a_registered_model_answers_as_the_fitted_one(make: Make, registry: object, label: str) -> None:
    rows = make(label)
    model = (regress if label in ("delay", "minutes") else classify)(rows)
    version = registry.register(model, "m", dataset=rows)  # type: ignore[attr-defined]
    from tidemill.registry.service import ref_of

    ours = answers_of(model, rows)
    theirs = answers_in(registry.load(ref_of(version)).predict(rows.frame), rows, ours.classes)  # type: ignore[attr-defined]
    both = comparable(rows, ours, theirs)
    assert np.array_equal(*both.predictions)


def test_answers_over_different_classes_are_compared_over_all_of_them(make: Make) -> None:
    rows = make("speed", rows=3)
    one = Answers(np.array([[0.2, 0.8]] * 3), ("early", "slow"))
    two = Answers(np.array([[1.0]] * 3), ("zero",))
    both = comparable(rows, one, two)
    assert both.classes == tuple(sorted({*rows.y.tolist(), "early", "slow", "zero"}))
    slow, zero = both.classes.index("slow"), both.classes.index("zero")
    assert both.predictions[0][:, slow].tolist() == [0.8] * 3
    assert both.predictions[1][:, zero].tolist() == [1.0] * 3
