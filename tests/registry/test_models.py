from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier

from tidemill.core.errors import InvalidArgument, UserCodeError
from tidemill.core.schema import Column
from tidemill.registry.models import PredictingModel, signature_of
from tidemill.tracking.dataset import Dataset


def wrapped(model: Any, rows: Dataset) -> PredictingModel:
    return PredictingModel(model, signature_of(model, rows))


@pytest.fixture
def fitted(rows: Dataset) -> PredictingModel:
    return wrapped(HistGradientBoostingClassifier(max_iter=10).fit(rows.X, rows.y), rows)


def test_a_binary_classifier(rows: Dataset, fitted: PredictingModel) -> None:
    model = HistGradientBoostingClassifier(max_iter=10).fit(rows.X, rows.y)
    answers = wrapped(model, rows).predict(rows.frame)
    assert answers.schema == {"prediction": pl.Boolean, "probability": pl.Float64}
    assert np.array_equal(answers["probability"].to_numpy(), model.predict_proba(rows.X)[:, 1])
    assert np.array_equal(answers["prediction"].to_numpy(), model.predict(rows.X))
    assert fitted.signature.outputs == (
        Column(name="prediction", type="boolean", nullable=False),
        Column(name="probability", type="float64", nullable=False),
    )


def test_more_than_two_classes(make_rows: Any) -> None:
    rows = make_rows("speed")
    answers = wrapped(HistGradientBoostingClassifier(max_iter=5).fit(rows.X, rows.y), rows).predict(rows.frame)
    chances = ["probability_early", "probability_fair", "probability_slow"]
    assert answers.columns == ["prediction", *chances]
    assert answers.select(pl.sum_horizontal(chances).round(9).unique()).to_series().to_list() == [1.0]
    assert set(answers["prediction"]) <= {"early", "fair", "slow"}


def test_a_regression(make_rows: Any) -> None:
    rows = make_rows("delay")
    model = HistGradientBoostingRegressor(max_iter=5).fit(rows.X, rows.y)
    answers = wrapped(model, rows).predict(rows.frame)
    assert answers.schema == {"prediction": pl.Float64}
    assert np.array_equal(answers["prediction"].to_numpy(), model.predict(rows.X))


def test_the_signature_tells_request_from_inputs(fitted: PredictingModel) -> None:
    signature = fitted.signature
    assert [column.name for column in signature.inputs] == ["carrier", "hour", "wind"]
    assert signature.inputs[0].categories == ("AA", "DL", "UA")
    assert [column.name for column in signature.request] == ["flight", "at", "carrier"]
    assert (signature.time, signature.id) == ("at", ("flight",))


def test_rows_in_any_shape(rows: Dataset, fitted: PredictingModel) -> None:
    expected = fitted.predict(rows.frame.head(8))
    shuffled = rows.frame.head(8).select("wind", pl.col("hour").cast(pl.Int8), "carrier", "delay")
    assert fitted.predict(shuffled).equals(expected)
    one_by_one = pl.concat([fitted.predict(rows.frame[i : i + 1]) for i in range(8)])
    assert one_by_one.equals(expected)


def test_no_rows(fitted: PredictingModel, rows: Dataset) -> None:
    assert fitted.predict(rows.frame.clear()).schema == fitted.predict(rows.frame).schema


def test_unseen_and_missing_values_get_an_answer(fitted: PredictingModel) -> None:
    odd = pl.DataFrame({"carrier": ["??", None], "hour": [None, 3], "wind": [None, None]})
    same = pl.DataFrame({"carrier": [None, None], "hour": [None, 3], "wind": [None, None]})
    assert fitted.predict(odd)["probability"].null_count() == 0
    assert fitted.predict(odd).equals(fitted.predict(same))


def test_a_missing_input_is_named(fitted: PredictingModel, rows: Dataset) -> None:
    with pytest.raises(InvalidArgument, match="the input has no column 'wind'"):
        fitted.predict(rows.frame.drop("wind"))


def test_text_where_a_number_belongs(fitted: PredictingModel, rows: Dataset) -> None:
    with pytest.raises(InvalidArgument, match="'hour' holds String that is not int64"):
        fitted.predict(rows.frame.with_columns(hour=pl.lit("noon")))


def test_a_model_on_fewer_columns(rows: Dataset) -> None:
    model = HistGradientBoostingClassifier(max_iter=5).fit(rows.X.select("wind", "carrier"), rows.y)
    assert [column.name for column in signature_of(model, rows).inputs] == ["wind", "carrier"]


def test_a_model_on_other_columns(rows: Dataset) -> None:
    other = rows.X.rename({"wind": "wind_speed"})
    model = HistGradientBoostingClassifier(max_iter=5).fit(other, rows.y)
    with pytest.raises(InvalidArgument, match=r"fitted on wind_speed, which .* does not have"):
        signature_of(model, rows)


def test_a_model_on_a_plain_array(rows: Dataset) -> None:
    numbers = rows.X.select(pl.col("hour"), pl.col("wind").fill_null(0.0))
    frame = Dataset.of(numbers.with_columns(late=rows.y), label="late")
    model = RandomForestRegressor(3, random_state=0).fit(numbers.to_numpy(), rows.y)
    assert np.array_equal(wrapped(model, frame).predict(frame.frame)["prediction"], model.predict(numbers.to_numpy()))
    with pytest.raises(InvalidArgument, match="fitted on 2 columns"):
        signature_of(model, rows)


def test_a_threshold_of_its_own_is_kept(rows: Dataset) -> None:
    numbers = Dataset.of(rows.frame.select("hour", "late"), label="late")
    inner = LogisticRegression()
    model = FixedThresholdClassifier(inner, threshold=0.9).fit(numbers.X, numbers.y)
    answers = wrapped(model, numbers).predict(numbers.frame)
    assert np.array_equal(answers["prediction"].to_numpy(), model.predict(numbers.X))
    between = answers.filter(pl.col("probability").is_between(0.5, 0.9, closed="none"))
    assert between.height > 0
    assert not between["prediction"].any()


def test_without_a_label_there_is_no_signature(rows: Dataset) -> None:
    with pytest.raises(InvalidArgument, match="has no label"):
        signature_of(object(), Dataset.of(rows.X))


def test_a_failing_model_is_the_users(rows: Dataset) -> None:
    class Broken:
        def predict(self, inputs: Any) -> Any:
            raise ZeroDivisionError("no wind")

    with pytest.raises(UserCodeError, match="no wind") as caught:
        wrapped(Broken(), rows).predict(rows.frame)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
