"""A ready-made trap: votes on which another serving system was seen to answer wrongly, with the right answers (D7).

An ensemble is a model like any other here: scikit-learn's, fitted, registered as one version, and served.
"""

from __future__ import annotations

from typing import Any

import polars as pl
from serving_harness import Home, serving
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import VotingClassifier, VotingRegressor

ROWS = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]}).to_pandas()


def regressors(*answers: float) -> list[tuple[str, Any]]:
    return [(f"m{i}", DummyRegressor(strategy="constant", constant=answer)) for i, answer in enumerate(answers)]


def classifiers(*classes: int) -> list[tuple[str, Any]]:
    return [(f"m{i}", DummyClassifier(strategy="constant", constant=answer)) for i, answer in enumerate(classes)]


CLASSES = [1, 2, 3, 4]  # a voting classifier shows its members their places, 0 to 3
CASES: list[tuple[Any, list[Any], float]] = [
    (VotingRegressor(regressors(10, 20)), [0.0] * 4, 15.0),
    (VotingRegressor(regressors(10, 20), weights=[1, 1]), [0.0] * 4, 15.0),
    (VotingRegressor(regressors(10, 20), weights=[0.2, 0.3]), [0.0] * 4, 16.0),
    (VotingRegressor(regressors(500, 1000, 1500, 2000)), [0.0] * 4, 1250.0),
    (VotingRegressor(regressors(500, 1000, 1500, 2000), weights=[0.1, 0.2, 0.3, 0.4]), [0.0] * 4, 1500.0),
    (VotingClassifier(classifiers(0, 1, 2, 3)), CLASSES, 1),
    (VotingClassifier(classifiers(0, 1, 2, 3), weights=[0.1, 0.2, 0.3, 0.4]), CLASSES, 4),
]


def test_d7_votes_are_averaged_by_weight_and_ties_go_to_the_lowest_class(ready_home: Home) -> None:
    found = []
    with serving(ready_home) as server:
        for ensemble, labels, _ in CASES:
            version = ready_home.register(ensemble.fit(ROWS, labels))
            ready_home.promote(version)
            server.until_version(version)
            status, told, _ = server.ask(1.0, 5.0)
            found.append((status, *(one["prediction"] for one in told["predictions"])))
    assert found == [(200, answer, answer) for _, _, answer in CASES]
