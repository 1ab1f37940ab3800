from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from tidemill.core.errors import InvalidData
from tidemill.measures import compat, contingency, distances

counts = st.integers(2, 8).flatmap(lambda k: st.tuples(*[st.lists(st.integers(0, 50), min_size=k, max_size=k)] * 2))
ALL = [distances.tvd, distances.l_infinity, distances.hellinger, distances.js_dist, distances.psi, compat.psi_evidently]


@given(counts)
def test_bounded_and_finite(pair: tuple[list[int], list[int]]) -> None:
    ref, cur = pair
    found = [distance(ref, cur) for distance in ALL]
    if sum(ref) == 0 or sum(cur) == 0:
        assert found == [None] * len(ALL)
    else:
        assert all(value is not None and 0 <= value <= 1 + 1e-12 for value in found[:4])
        assert all(value is not None and math.isfinite(value) and value >= 0 for value in found)


@given(counts, st.randoms())
def test_order_of_cells_and_size_are_irrelevant(pair: tuple[list[int], list[int]], random: object) -> None:
    ref, cur = (np.array(side) for side in pair)
    assume(ref.sum() and cur.sum())
    order = list(range(len(ref)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for distance in ALL:
        assert distance(ref[order], cur[order] * 3) == pytest.approx(distance(ref, cur), abs=1e-9)


@given(counts)
def test_jensen_shannon_like_scipy(pair: tuple[list[int], list[int]]) -> None:
    ref, cur = pair
    assume(sum(ref) and sum(cur))
    assert distances.js_dist(ref, cur) == pytest.approx(jensenshannon(ref, cur, base=2), abs=1e-7)


@given(counts)
def test_contingency_like_scipy(pair: tuple[list[int], list[int]]) -> None:
    ref, cur = np.array(pair)
    used = (ref + cur) > 0
    assume(ref.sum() and cur.sum() and used.sum() >= 2)
    for yates in (False, True):
        found = contingency.two_sample(ref, cur, yates=yates)
        if used.sum() == 2 or not yates:
            known = stats.chi2_contingency([ref[used], cur[used]], correction=yates)
            assert found.stat == pytest.approx(known.statistic, abs=1e-9)
            assert found.p == pytest.approx(known.pvalue, abs=1e-9)


def test_kl_with_a_hole_is_none_not_infinite() -> None:
    assert distances.kl([1, 1], [1, 0]) is None
    assert distances.psi_exact([1, 1], [1, 0]) is None
    assert contingency.goodness_of_fit([1, 0], [1, 1]).stat is None


def test_an_unseen_category_is_finite_under_both_rules() -> None:
    p, q = np.array([0.9, 0.1, 1e-4]) / 1.0001, np.array([0.8, 0.1, 0.1])
    assert distances.psi([90, 10, 0], [80, 10, 10]) == pytest.approx(((p - q) * np.log(p / q)).sum())
    assert compat.psi_evidently([90, 10, 0], [80, 10, 10]) is not None
    assert compat.evidently_floor(np.array([0.99995, 0.00005, 0.0]))[2] == pytest.approx(5e-11)


def test_bad_counts_are_explained() -> None:
    with pytest.raises(InvalidData, match="negative"):
        distances.psi([-1, 2], [1, 1])
    with pytest.raises(InvalidData, match="3 cells, the window 2"):
        distances.psi([1, 2, 3], [1, 1])


def test_chi2_without_degrees_of_freedom() -> None:
    assert contingency.two_sample([5], [3]).p is None
    assert contingency.two_sample([0, 0], [1, 2]).stat is None
