from __future__ import annotations

import math

import numpy as np
import pytest

from tidemill.core.errors import InvalidData
from tidemill.measures.multivariate import centroid_shift, domain_auc, median_gamma, mmd, pca_errors


def test_mmd_by_definition() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(-0.3 * float(((a - b) ** 2).sum()))

    kxx = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    kyy = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    kxy = np.mean([k(a, b) for a in x for b in y])
    found = mmd(x, y, gamma=0.3)
    assert found is not None
    assert found.mmd2_u == pytest.approx(kxx + kyy - 2 * kxy)
    assert mmd(x[:1], y, 0.3) is None


def test_pca_finds_a_point_with_usual_marginals() -> None:
    rng = np.random.default_rng(0)
    line = rng.normal(size=(500, 1)) @ np.array([[1.0, 1.0]]) + rng.normal(0, 0.05, (500, 2))
    usual, odd = pca_errors(line, [[1.0, 1.0], [1.0, -1.0]])
    assert usual < 0.1 < 1 < odd


def test_centroids() -> None:
    shift = centroid_shift([[0.0, 0.0]], [[3.0, 4.0]])
    assert shift.euclidean == 5.0
    assert shift.cosine_distance is None
    assert centroid_shift([], [[1.0]]).euclidean is None
    assert centroid_shift([[1.0, math.nan]], [[1.0, 1.0]]).euclidean is None
    with pytest.raises(InvalidData, match="2 components, the window of 3"):
        centroid_shift([[1.0, 2.0]], [[1.0, 2.0, 3.0]])


def test_edges() -> None:
    assert pca_errors([], [[1.0]]) == ()
    assert pca_errors([[0.0, 1.0], [2.0, 1.0]], [[1.0, 2.0]]) == (
        pytest.approx(1.0),
    )  # a constant column keeps its unit
    assert median_gamma([[1.0]], [[1.0]]) is None
    assert domain_auc([1, 1], [0.2, 0.3]) is None
