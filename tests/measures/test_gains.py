from __future__ import annotations

import numpy as np
import pytest

from tidemill.measures.gains import Gain, fold_gain, holds, paired_gain


def scores(rows: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    return y, y + np.random.default_rng(seed).normal(0, noise, rows)


def test_a_better_candidate_has_a_positive_bound() -> None:
    y, good = scores(800, 0.8, 1)
    _, poor = scores(800, 2.0, 2)
    gain = paired_gain("roc_auc", y, good, poor, seed=4)
    assert gain.mean is not None
    assert gain.lower95 is not None
    assert 0 < gain.lower95 < gain.mean
    assert gain == paired_gain("roc_auc", y, good, poor, seed=4)


def test_equal_models_gain_nothing() -> None:
    y, same = scores(100, 1.0, 1)
    assert paired_gain("roc_auc", y, same, same) == Gain(0.0, 0.0, 100)


def test_direction_of_a_loss() -> None:
    gain = paired_gain("log_loss", [0, 1] * 30, [0.1, 0.9] * 30, [0.4, 0.6] * 30)
    assert gain.mean is not None
    assert gain.mean > 0


def test_rows_one_model_cannot_score_are_left_out_for_both() -> None:
    assert paired_gain("accuracy", [1, 0, 1], [1.0, np.nan, 1.0], [0.0, 0.0, 1.0]).n == 2


def test_one_class_has_no_gain() -> None:
    assert paired_gain("roc_auc", [1, 1], [0.1, 0.2], [0.3, 0.4]) == Gain(None, None, 2)


def test_folds() -> None:
    assert fold_gain([]) == Gain(None, None, 0)
    assert fold_gain([0.1]) == Gain(0.1, None, 1)
    refused = fold_gain([0.03, -0.02, 0.01, 0.02, -0.01])
    assert refused.lower95 == pytest.approx(-0.01217595825754)
    assert holds(refused, 0.005)
    assert not holds(refused, 0.005, confident=True)
    assert not holds(fold_gain([0.002, 0.003]), 0.005)
    assert not holds(Gain(None, None, 0))
