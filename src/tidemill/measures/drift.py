"""How far a window is from the reference, per feature: effect sizes, not verdicts."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from tidemill.core.errors import InvalidArgument
from tidemill.measures import distances
from tidemill.measures.arrays import Floats, finite_or_none
from tidemill.measures.contingency import two_sample
from tidemill.measures.profile import ORDERED, FeatureProfile, Kind, Profile, cells_differ

METHOD_VERSION = "binned-1"
MIN_ROWS = 30


class FeatureDrift(Struct, frozen=True):
    """Effect sizes of one feature; None where a number is not defined, never NaN or infinite.

    Attributes:
        name: The feature.
        kind: Its kind.
        n_ref: Usable values of the reference.
        n_cur: Usable values of the window.
        psi: Population stability index, shares floored at 1e-4 and renormalised.
        expected_psi: About what it is when nothing changed, (B - 1)(1/n_ref + 1/n_cur).
        js: Jensen-Shannon distance, base 2, in [0, 1].
        hellinger: In [0, 1].
        tvd: Total variation distance in [0, 1].
        ks: Largest gap of the distribution functions at the cells' edges; ordered kinds only.
        wasserstein: Area between the distribution functions in the feature's unit, from the cells and the means.
        wasserstein_scaled: The same over the reference's interquartile range.
        chi2_p: p-value of the two-sample chi-squared test; shown for the familiar, not used for alarms.
        mean_ref: Mean of the reference; `mean_cur` of the window.
        missing_ref: Share of rows without a usable value; `missing_cur` of the window.
        missing_change: The second minus the first.
        unseen_rate: Share of the window's rows with a category the reference does not know.
        out_of_range_rate: Share of the window's rows outside the reference's least and greatest value.
        infinite_rate: Share of the window's rows that are infinite.
        insufficient_data: Fewer than 30 usable values on a side: the distances say nothing yet.
        method_version: How all this was computed.
    """

    name: str
    kind: Kind
    n_ref: int
    n_cur: int
    psi: float | None
    expected_psi: float | None
    js: float | None
    hellinger: float | None
    tvd: float | None
    ks: float | None
    wasserstein: float | None
    wasserstein_scaled: float | None
    chi2_p: float | None
    mean_ref: float | None
    mean_cur: float | None
    missing_ref: float | None
    missing_cur: float | None
    missing_change: float | None
    unseen_rate: float | None
    out_of_range_rate: float | None
    infinite_rate: float | None
    insufficient_data: bool
    method_version: str = METHOD_VERSION


def compare(reference: Profile, window: Profile) -> list[FeatureDrift]:
    """The effect sizes of every feature of the reference.

    Args:
        reference: The reference's profile.
        window: A profile counted like it.

    Raises:
        InvalidArgument: If the window was counted in other cells.

    Example:
        >>> from tidemill.measures.profiling import profile_like, reference_profile
        >>> reference = reference_profile({"x": list(range(100))})
        >>> drift = compare(reference, profile_like(reference, {"x": list(range(20, 120))}))[0]
        >>> round(drift.psi, 6), drift.ks, drift.out_of_range_rate
        (1.599826, 0.2, 0.2)
    """
    missing = [name for name in reference.features if name not in window.features]
    if missing or reference.method_version != window.method_version:
        raise InvalidArgument(
            "The window was not counted like this reference", hint="Use profile_like(reference, rows)."
        )
    return [_feature(name, one, window.features[name]) for name, one in reference.features.items()]


def cells_of(reference: FeatureProfile, window: FeatureProfile) -> tuple[Floats, Floats]:
    """The two histograms to compare: the cells either side uses, unseen categories in a cell of their own."""
    if cells_differ(reference, window):
        raise InvalidArgument("The window was not counted in the reference's cells")
    ref = np.array([*reference.counts, reference.unseen], dtype=np.float64)
    cur = np.array([*window.counts, window.unseen], dtype=np.float64)
    used = (ref > 0) | (cur > 0)
    return ref[used], cur[used]


def _feature(name: str, reference: FeatureProfile, window: FeatureProfile) -> FeatureDrift:
    ref, cur = cells_of(reference, window)
    n_ref, n_cur = int(ref.sum()), int(cur.sum())
    area = _area(reference, window)
    missing_ref, missing_cur = reference.rate(reference.absent), window.rate(window.absent)
    return FeatureDrift(
        name=name,
        kind=reference.kind,
        n_ref=n_ref,
        n_cur=n_cur,
        psi=distances.psi(ref, cur),
        expected_psi=distances.expected_null_psi(len(ref), n_ref, n_cur),
        js=distances.js_dist(ref, cur),
        hellinger=distances.hellinger(ref, cur),
        tvd=distances.tvd(ref, cur),
        ks=_ks(reference, window),
        wasserstein=area,
        wasserstein_scaled=None if area is None or not reference.scale else finite_or_none(area / reference.scale),
        chi2_p=two_sample(ref, cur).p,
        mean_ref=reference.moments.mean if reference.moments.n else None,
        mean_cur=window.moments.mean if window.moments.n else None,
        missing_ref=missing_ref,
        missing_cur=missing_cur,
        missing_change=None if missing_ref is None or missing_cur is None else missing_cur - missing_ref,
        unseen_rate=window.rate(window.unseen),
        out_of_range_rate=window.rate(window.below + window.above),
        infinite_rate=window.rate(window.infinite),
        insufficient_data=min(n_ref, n_cur) < MIN_ROWS,
    )


def _ks(reference: FeatureProfile, window: FeatureProfile) -> float | None:
    if reference.kind not in ORDERED:
        return None
    pair = distances.both_shares(reference.counts, window.counts)
    # k/n - j/m may miss by a rounding step what the exact fractions give; twelve digits are kept
    return None if pair is None else round(float(np.abs(np.cumsum(pair[0]) - np.cumsum(pair[1])).max()), 12)


def _area(reference: FeatureProfile, window: FeatureProfile) -> float | None:
    """The area between the distribution functions from what is known of them.

    Between the edges both are taken as linear. Beyond them only the signed area is known, because all of it is the
    difference of the means; its size is a lower bound, and exact when a tail moved one way.
    """
    if reference.kind not in ORDERED or not reference.moments.n or not window.moments.n:
        return None
    below = [np.cumsum(side.counts)[:-1] / side.used for side in (reference, window)]
    gap, width = below[0] - below[1], np.diff(np.array(reference.edges, dtype=np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        inside = (_mean_abs(gap[:-1], gap[1:]) * width).sum()
        signed = ((gap[:-1] + gap[1:]) / 2 * width).sum()
        return finite_or_none(inside + abs(window.moments.mean - reference.moments.mean - signed))


def _mean_abs(a: Floats, b: Floats) -> Floats:
    """Mean of |gap| on a step where the gap goes linearly from a to b, crossing zero or not."""
    total = np.abs(a) + np.abs(b)
    crossing = np.divide(a**2 + b**2, 2 * total, out=np.zeros_like(total), where=total > 0)
    return np.where(a * b < 0, crossing, total / 2)
