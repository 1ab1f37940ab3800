"""Training steps, as a project has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

import tidemill as tm


@tm.step
def classify(rows: tm.Dataset, max_depth: int = 3, learning_rate: float = 0.1) -> Any:
    options = {"max_iter": 10, "max_depth": max_depth, "learning_rate": learning_rate}
    return HistGradientBoostingClassifier(**options, categorical_features="from_dtype").fit(rows.X, rows.y)


@tm.step
def regress(rows: tm.Dataset, max_depth: int = 3) -> Any:
    return HistGradientBoostingRegressor(max_iter=20, max_depth=max_depth).fit(rows.X, rows.y)


@tm.step
def drawn(rows: tm.Dataset, share: float = 0.9) -> Any:
    """Learns from rows drawn with the global generator."""
    mask = np.random.rand(len(rows)) < share
    return HistGradientBoostingClassifier(max_iter=5).fit(rows.X.filter(mask), rows.y[mask])


@tm.step
def fragile(rows: tm.Dataset, depth: int = 1) -> Any:
    if depth % 2:
        raise RuntimeError(f"depth {depth} is odd")
    return HistGradientBoostingClassifier(max_iter=3, max_depth=depth).fit(rows.X, rows.y)
