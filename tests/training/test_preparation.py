"""Preparation learns from the rows a model is fitted on, and stays with the model's version."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.training.conftest import Make, flights

import tidemill as tm
from tidemill.core.errors import InvalidArgument, InvalidData
from tidemill.core.records.events import Pin
from tidemill.core.uris import ModelUri
from tidemill.data.preparation.preparation import fit_preparation
from tidemill.registry.service import Registry, ref_of
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.service import Tracking
from tidemill.training.service import Training

RECIPE = (
    tm.impute("wind", strategy="median", by="carrier"), tm.scale("wind"), tm.one_hot("carrier"), tm.dates("at", parts=["hour"]),
)  # fmt: skip


@tm.step
def straight(rows: tm.Dataset, strength: float = 1.0) -> Any:
    return LogisticRegression(C=strength).fit(rows.X, rows.y)


def divided(training: Training, rows: Dataset) -> tuple[Dataset, Dataset]:
    return training.split(rows=rows, by="time", test=0.25, seed=0, group=None)


def searched(training: Training, rows: Dataset, metric: str = "roc_auc") -> Any:
    return training.search(
        step=straight, rows=rows, space={}, trials=1, metric=metric, maximize=metric == "roc_auc", valid=0.2, seed=0,
        timeout=None, halving=None,
    )  # fmt: skip


def test_both_parts_of_a_split_are_prepared_by_what_the_first_taught(training: Training, make: Make) -> None:
    fit, test = divided(training, make(prepare=RECIPE))
    expected = fit_preparation(
        RECIPE, fit.frame, fit.manifest.features, time="at", label=fit.frame["late"]
    )  # fmt: skip
    assert fit.preparation == test.preparation == expected
    assert (fit.manifest.preparation, fit.manifest.prepared_as) == (expected.digest, None)
    assert (test.manifest.preparation, test.manifest.prepared_as) == (expected.digest, fit.digest)
    assert fit.X.columns == test.X.columns == ["carrier_AA", "carrier_DL", "carrier_UA", "wind", "at_hour"]
    assert fit.X["wind"].mean() == pytest.approx(0, abs=1e-9)
    assert abs(float(test.X["wind"].mean())) > 1e-6  # type: ignore[arg-type]


def test_nothing_is_learned_from_test_rows(training: Training, make: Make) -> None:
    frame = flights(400)
    late = pl.col("flight") >= 300
    shifted = frame.with_columns(
        wind=pl.when(late).then(pl.col("wind") * 1e6).otherwise(pl.col("wind")),
        carrier=pl.when(late).then(pl.lit("ZZ")).otherwise(pl.col("carrier")),
    )
    recipe = (*RECIPE[:2], tm.target_encode("carrier"))
    parts = [divided(training, make(frame=rows, prepare=recipe)) for rows in (frame, shifted)]
    assert parts[0][0].preparation == parts[1][0].preparation
    mean = parts[0][0].frame["late"].mean()
    assert parts[1][1].X["carrier"].to_list() == [mean] * 100


def test_what_was_learned_is_kept_with_the_dataset(
    training: Training, make: Make, tracking: Tracking, metadata: MetadataStore
) -> None:
    for part in divided(training, make(prepare=RECIPE)):
        again = tracking.datasets.load(part.digest)
        assert (again, again.preparation) == (part, part.preparation)
        assert_frame_equal(again.X, part.X)
        with metadata.read() as reader:
            pins = {pin.target for pin in reader.find(Pin, {"owner": f"dataset/{part.digest}"})}
        assert f"artifact/{part.manifest.preparation}" in pins


def test_a_part_in_memory_learns_anew_unless_it_is_prepared_as_another(make: Make) -> None:
    rows = make(prepare=RECIPE)
    first = pl.Series(np.arange(len(rows)) < 100)
    own, other = rows.part(first, {"part": "first"}), rows.part(~first, {"part": "rest"})
    assert own.preparation is not None
    assert own.preparation.rows == 100
    assert other.prepared_as(own).preparation == own.preparation
    lent = other.prepared_as(own).part(pl.Series([True] * 5 + [False] * (len(other) - 5)), {"part": "five"})
    assert_frame_equal(lent.X, other.prepared_as(own).X.head(5))


def test_rows_without_a_label_learn_when_they_are_asked_for(tracking: Tracking) -> None:
    kept = tracking.datasets.create(flights(20), name="flights", features=["wind"], prepare=(tm.scale("wind"),))
    assert kept.manifest.preparation is None
    assert kept.X["wind"].mean() == pytest.approx(0, abs=1e-9)
    encoded = tracking.datasets.create(
        flights(20), name="f", features=["carrier"], prepare=(tm.target_encode("carrier"),)
    )
    with pytest.raises(InvalidArgument, match="needs a label"):
        encoded.X  # noqa: B018


def test_a_recipe_that_does_not_fit_is_found_when_the_rows_are_kept(make: Make) -> None:
    with pytest.raises(InvalidArgument, match="scale\\('carrier'\\) on a column of string"):
        make(prepare=(tm.scale("carrier"),))
    with pytest.raises(InvalidData, match="column 'wind' has no value"):
        make(frame=flights(20).with_columns(wind=pl.lit(None, pl.Float64)), prepare=(tm.scale("wind"),))


def test_a_search_scores_as_an_honest_pipeline_of_scikit_learn(training: Training, make: Make) -> None:
    rows = make(
        frame=flights(500).with_columns(pl.col("wind").fill_null(0)), prepare=(tm.scale("wind"), tm.one_hot("carrier"))
    )
    found = searched(training, rows, metric="log_loss")
    frame = rows.features.to_dummies("carrier").drop("carrier_null")
    model = make_pipeline(StandardScaler(), LogisticRegression())
    scaled = StandardScaler().fit(frame.select("wind").head(400))
    seen = frame.with_columns(wind=pl.Series(scaled.transform(frame.select("wind"))[:, 0])).to_numpy()
    model = LogisticRegression().fit(seen[:400], rows.y[:400])
    assert found.score == pytest.approx(log_loss(rows.y[400:], model.predict_proba(seen[400:])), rel=1e-6)


def test_a_target_encoded_row_does_not_tell_its_label(training: Training, make: Make) -> None:
    rng = np.random.default_rng(3)
    frame = flights(400).with_columns(
        late=pl.Series(rng.random(400) < 0.5), carrier=pl.Series(rng.integers(0, 200, 400)).cast(str)
    )
    rows = make(frame=frame, prepare=(tm.target_encode("carrier", smooth=0), tm.impute("wind")))
    assert rows.preparation is not None
    leaked = rows.preparation.apply(rows.frame)["carrier"]
    assert roc_auc_score(rows.y, leaked) > 0.8
    assert roc_auc_score(rows.y, rows.X["carrier"]) < 0.6
    assert searched(training, rows).score < 0.7


def test_every_version_answers_by_what_it_learned_itself(training: Training, make: Make, registry: Registry) -> None:
    models = []
    for start in (0, 600):
        fit, test = divided(training, make(rows=500, start=start, prepare=RECIPE))
        candidate = searched(training, fit)
        made = training.promote(candidate=candidate, model="late", test=test, gate=tm.Gate("roc_auc"), refit=None)
        models.append((registry.get("late", made.candidate_version), candidate.model, fit))
    asked = flights(50, start=5000)
    states = set()
    for version, model, fit in models:
        loaded = registry.load(ref_of(version))
        assert [column.name for column in loaded.signature.inputs] == ["carrier", "wind", "at"]
        assert [column.name for column in loaded.signature.prepared] == fit.X.columns
        assert fit.preparation is not None
        states.add(loaded.signature.preparation)
        expected = model.predict_proba(fit.preparation.apply(asked))[:, 1]
        assert loaded.predict(asked)["probability"].to_list() == expected.tolist()
    assert len(states) == 2
    inputs, _ = registry.example(ref_of(models[0][0])) or (None, None)
    assert inputs is not None
    assert inputs.columns == ["carrier", "wind", "at"]


def test_a_refit_learns_from_all_rows(training: Training, make: Make, registry: Registry) -> None:
    rows = make(prepare=RECIPE)
    fit, test = divided(training, rows)
    made = training.promote(
        candidate=searched(training, fit), model="late", test=test, gate=tm.Gate("roc_auc"), refit=rows
    )
    ref = registry.resolve(ModelUri("late", alias="champion"))
    assert ref is not None
    assert registry.load(ref).signature.preparation == rows.manifest.preparation != fit.manifest.preparation
    assert registry.preparation(registry.get("late", made.version)) == rows.preparation


def test_models_with_and_without_preparation_are_compared_on_the_same_rows(
    training: Training, make: Make, registry: Registry
) -> None:
    filled = (tm.impute("wind"), tm.ordinal("carrier"), tm.impute("carrier", strategy="most_frequent"))
    made = []
    for start, recipe in ((0, RECIPE), (600, filled)):
        fit, test = divided(training, make(rows=900, start=start, prepare=recipe))
        made.append(training.promote(candidate=searched(training, fit), model="late", test=test,
                                     gate=tm.Gate("roc_auc", min_gain=-1), refit=None))  # fmt: skip
    assert made[1].champion_version == 1
    assert made[1].promoted
    assert made[1].gain is not None
