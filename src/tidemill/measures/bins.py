"""Cutting values into cells: Tidemill's reference deciles, and the equal-width bins of other tools."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from tidemill.measures.arrays import Floats, Ints
from tidemill.measures.samples import finite

DECILES = np.arange(1, 10)


def decile_edges(ref: ArrayLike) -> Floats:
    """Inner edges at the reference's deciles (linear quantiles), equal ones merged.

    The cells are (-inf, e1], (e1, e2], ..., (ek, inf): open ended, so that every value falls into one.

    Example:
        >>> decile_edges(range(11))
        array([1., 2., 3., 4., 5., 6., 7., 8., 9.])
    """
    return sorted_decile_edges(np.sort(finite(ref)))


def sorted_decile_edges(ordered: Floats) -> Floats:
    """The same for finite values already in order."""
    if len(ordered) == 0:
        return np.empty(0)
    # position k (n - 1) / 10 in whole numbers: an edge on a value must be that value, not a rounding step below
    low, tenths = np.divmod(DECILES * (len(ordered) - 1), 10)
    high = np.minimum(low + 1, len(ordered) - 1)
    return np.unique(_between(ordered[low], ordered[high], tenths / 10))


def _between(a: Floats, b: Floats, weight: Floats) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        edge = np.where(weight < 0.5, a + (b - a) * weight, b - (b - a) * (1 - weight))
    return np.where(np.isfinite(edge), edge, a * (1 - weight) + b * weight)  # b - a may overflow


def count_cells(values: ArrayLike, edges: ArrayLike) -> Ints:
    """Counts of finite values per cell (a, b] of the inner edges; shape (len(edges) + 1,).

    Example:
        >>> count_cells([0, 1, 2, 9], [1, 5])
        array([2, 1, 1])
    """
    return sorted_count_cells(np.sort(finite(values)), np.asarray(edges, dtype=np.float64))


def sorted_count_cells(ordered: Floats, edges: Floats) -> Ints:
    """The same for finite values already in order, in O(cells log n)."""
    upto = np.searchsorted(ordered, edges, side="right")
    return np.diff(np.concatenate([[0], upto, [len(ordered)]])).astype(np.int64)


def equal_width_edges(values: ArrayLike, rule: Literal["sturges", "doane"]) -> Floats:
    """All edges, both ends included, of equal-width bins by the named rule.

    Args:
        values: Values, missing and infinite ones are left out.
        rule: "sturges": ceil(log2 n + 1) bins; "doane": the same corrected for skewness.

    Example:
        >>> len(equal_width_edges(list(range(100)), "sturges")) - 1
        8
    """
    clean = finite(values)
    return np.histogram_bin_edges(clean, bins=rule) if len(clean) else np.empty(0)


def count_between(values: ArrayLike, edges: Floats) -> Ints:
    """Counts per bin [a, b), the last one closed; values outside are not counted."""
    if len(edges) < 2:
        return np.zeros(0, dtype=np.int64)
    return np.histogram(finite(values), bins=edges)[0].astype(np.int64)


def count_with_overflow(values: ArrayLike, edges: Floats) -> Ints:
    """The same with one more cell for the values outside."""
    inside = count_between(values, edges)
    return np.append(inside, len(finite(values)) - inside.sum())
