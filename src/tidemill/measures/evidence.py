"""Sequential evidence of drift from counts: a detector whose false alarms keep a budget.

Per window every feature gives e-values (where its values rank, how often it is missing, unseen, out of range). Each series
runs a Shiryaev-Roberts statistic; the project's is their mean; it crosses when it reaches windows per period / false
alarms allowed in it. Rows of a window that resemble each other (same hour, same weather) are not exchangeable with
the reference: thin them (`rows_per_window`, `design_effect`) or judge whole windows (`tidemill.measures.blocks`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct, structs
from numpy.random import Generator

from tidemill.core.errors import InvalidArgument
from tidemill.measures.arrays import Ints
from tidemill.measures.bets import log_average, log_calibrated, log_dirichlet, log_mixture
from tidemill.measures.drift import FeatureDrift
from tidemill.measures.multiplicity import e_bh
from tidemill.measures.profile import ORDERED, FeatureProfile, Profile, cells_id
from tidemill.measures.ranks import conformal_ranks, rate_p_values, thinned
from tidemill.measures.sequential import log_mean, sr_step

METHOD_VERSION = "conformal-1"
SHARES, MISSING, UNSEEN, OUT_OF_RANGE = "shares", "missing", "unseen", "out_of_range"
RISE_ONLY = frozenset({UNSEEN, OUT_OF_RANGE})  # fewer of these is no harm


class Series(Struct, frozen=True):
    """One running bet.

    Attributes:
        past: Rows per cell so far: the reference and all windows since. Of a rate: unmarked, marked.
        widths: Share of each cell in the reference, only for `shares`.
        ordered: Whether the cells have an order to bet on.
        log_sr: Log of the Shiryaev-Roberts statistic, None = zero.
    """

    past: tuple[int, ...]
    widths: tuple[float, ...] = ()
    ordered: bool = False
    log_sr: float | None = None


class Detector(Struct, frozen=True):
    """The state of drift detection; a value, never changed in place.

    Attributes:
        threshold: Where it crosses: `sequential.threshold_for(false_alarms, windows)`.
        features: Series by feature and name ("shares", "missing", "unseen" or "out_of_range").
        windows: Windows taken in.
        crossings: How often it crossed.
        seed: Seed of the random ranks; the same state and window give the same answer.
        cells: Which cells it counts in: `profile.cells_id` of the reference.
        rows_per_window: At most so many rows of a window are ranked, drawn at random.
        design_effect: How many rows carry the information of one independent row, at least 1.
        method_version: How the evidence is computed.
    """

    threshold: float
    features: dict[str, dict[str, Series]]
    windows: int = 0
    crossings: int = 0
    seed: int = 0
    cells: str = ""
    rows_per_window: int = 1000
    design_effect: float = 1.0
    method_version: str = METHOD_VERSION


class FeatureEvidence(Struct, frozen=True):
    """What a window says about one feature: natural logs of e-values, by series, and of its running statistic."""

    name: str
    log_e: dict[str, float]
    log_sr: float


class Verdict(Struct, frozen=True):
    """What a window says about a project.

    Attributes:
        crossed: Whether the evidence reached the threshold; all statistics then start at zero again.
        log_sr: Natural log of the project's statistic, before that; None without a feature.
        named: The features behind a crossing, strongest first.
        features: The evidence of each.
    """

    crossed: bool
    log_sr: float | None
    named: tuple[str, ...]
    features: tuple[FeatureEvidence, ...]


class Floor(Struct, frozen=True):
    """The least effect that is worth an alarm, however significant; any one suffices.

    Attributes:
        js: Jensen-Shannon distance (base 2) of the values.
        missing_change: Absolute change of the missing rate.
        rate: Share of unseen or out-of-range rows.
    """

    js: float = 0.1
    missing_change: float = 0.05
    rate: float = 0.05


def new_detector(
    reference: Profile,
    threshold: float,
    *,
    features: Iterable[str] | None = None,
    seed: int = 0,
    rows_per_window: int = 1000,
    design_effect: float = 1.0,
) -> Detector:
    """A detector that has seen the reference and no window yet.

    Args:
        reference: The reference's profile.
        threshold: Windows per period / false alarms allowed in it.
        features: Which to watch; None = all but times, which always move.
        seed: Seed of the random ranks.
        rows_per_window: At most so many rows of a window are ranked.
        design_effect: Rows per independent row, at least 1.

    Raises:
        InvalidArgument: If a feature is not in the reference or a setting is out of range.

    Example:
        >>> from tidemill.measures.profiling import reference_profile
        >>> new_detector(reference_profile({"x": [1.0, 2.0, 3.0]}), 30.0).features["x"]["missing"].past
        (3, 0)
    """
    chosen = [n for n, f in reference.features.items() if f.kind != "time"] if features is None else list(features)
    unknown = [name for name in chosen if name not in reference.features]
    if unknown:
        raise InvalidArgument(f"The reference has no {', '.join(unknown)}", known=reference.features)
    if threshold < 1 or design_effect < 1 or rows_per_window < 1:
        raise InvalidArgument("threshold, design_effect and rows_per_window must be at least 1")
    return Detector(
        threshold=threshold,
        features={name: _new_series(reference[name]) for name in chosen},
        seed=seed,
        cells=cells_id(reference),
        rows_per_window=rows_per_window,
        design_effect=design_effect,
    )


def update(detector: Detector, window: Profile) -> tuple[Detector, Verdict]:
    """Take in one window.

    Args:
        detector: The state so far.
        window: Its profile, counted like the reference.

    Returns:
        The next state and the verdict. A feature the window has no rows of adds no evidence.

    Raises:
        InvalidArgument: If the window was counted in other cells than the reference.

    Example:
        >>> from tidemill.measures.profiling import profile_like, reference_profile
        >>> reference = reference_profile({"x": list(range(1000))})
        >>> _, verdict = update(new_detector(reference, 30.0), profile_like(reference, {"x": [990] * 50}))
        >>> verdict.crossed, verdict.named
        (True, ('x',))
    """
    if detector.cells != cells_id(window):
        raise InvalidArgument(
            "The window was counted in other cells than the detector's reference",
            hint="Count it with profile_like(reference, rows), and start a new detector with a new reference.",
        )
    rng = np.random.default_rng([detector.seed, detector.windows])
    stepped, found = {}, []
    for name, series in detector.features.items():
        stepped[name], evidence = _step_feature(detector, name, series, window.features.get(name), rng)
        found.append(evidence)
    log_sr = log_mean([one.log_sr for one in found])
    crossed = log_sr is not None and log_sr >= math.log(detector.threshold)
    named = named_features(found, detector.threshold) if crossed else ()
    after = structs.replace(
        detector,
        features=_restarted(stepped) if crossed else stepped,
        windows=detector.windows + 1,
        crossings=detector.crossings + crossed,
    )
    return after, Verdict(crossed, log_sr, named, tuple(found))


def named_features(found: Sequence[FeatureEvidence], threshold: float) -> tuple[str, ...]:
    """The features behind a crossing, strongest first: e-BH on the running statistics, at least the strongest."""
    if not found:
        return ()
    capped = np.exp(np.minimum([one.log_sr for one in found], 700.0))
    chosen = e_bh(capped, 1 / threshold) or [int(np.argmax(capped))]
    return tuple(found[i].name for i in sorted(chosen, key=lambda i: -found[i].log_sr))


def large(verdict: Verdict, drifts: Iterable[FeatureDrift], floor: Floor) -> tuple[str, ...]:
    """The named features whose effect reaches the floor: significant and large. An alarm is this being not empty.

    As the statistics restart at every crossing, large or not, alarms are a subset of crossings and keep their budget.

    Args:
        verdict: Of the window.
        drifts: Effect sizes of the same window.
        floor: The least effect that matters.
    """
    effects = {drift.name: drift for drift in drifts}
    return tuple(name for name in verdict.named if name in effects and reaches(effects[name], floor))


def reaches(drift: FeatureDrift, floor: Floor) -> bool:
    """Whether an effect is at least the floor in one respect.

    The Jensen-Shannon distance must also exceed what chance alone gives, about sqrt(expected PSI / (8 ln 2)).
    """
    noise = ((drift.expected_psi or 0.0) / (8 * np.log(2))) ** 0.5
    return (
        (drift.js is not None and not drift.insufficient_data and drift.js >= max(floor.js, noise))
        or abs(drift.missing_change or 0.0) >= floor.missing_change
        or (drift.unseen_rate or 0.0) >= floor.rate
        or (drift.out_of_range_rate or 0.0) >= floor.rate
    )


def _new_series(reference: FeatureProfile) -> dict[str, Series]:
    ordered = reference.kind in ORDERED
    total = sum(reference.counts)
    cells = len(reference.counts)
    widths = tuple((count + 1 / cells) / (total + 1) for count in reference.counts)
    series = {
        SHARES: Series(reference.counts, widths, ordered),
        MISSING: Series((reference.n - reference.absent, reference.absent)),
    }
    # nothing of a reference is outside of itself: what counts is how many of its rows were, had they come later
    series[OUT_OF_RANGE if ordered else UNSEEN] = Series((total - reference.alone, reference.alone))
    return series


def _window_counts(window: FeatureProfile) -> dict[str, tuple[int, ...]]:
    outside = window.below + window.above
    return {
        SHARES: window.counts,
        MISSING: (window.n - window.absent, window.absent),
        OUT_OF_RANGE: (window.used - outside, outside),
        UNSEEN: (window.used, window.unseen),
    }


def _step_feature(
    detector: Detector, name: str, series: dict[str, Series], window: FeatureProfile | None, rng: Generator
) -> tuple[dict[str, Series], FeatureEvidence]:
    seen = _window_counts(window) if window is not None else {}
    stepped, log_e = {}, {}
    for kind, one in series.items():
        counts = np.array(seen.get(kind, (0,) * len(one.past)), dtype=np.int64)
        log_e[kind] = _log_e(detector, kind, one, counts, rng)
        past = tuple((np.array(one.past) + counts).tolist())
        stepped[kind] = structs.replace(one, past=past, log_sr=sr_step(one.log_sr, log_e[kind]))
    log_sr = log_mean([one.log_sr for one in stepped.values()])
    return stepped, FeatureEvidence(name, log_e, log_sr if log_sr is not None else 0.0)


def _log_e(detector: Detector, kind: str, series: Series, counts: Ints, rng: Generator) -> float:
    independent = int(np.ceil(counts.sum() / detector.design_effect))
    past = np.array(series.past, dtype=np.int64)
    if kind != SHARES:
        used = thinned(counts, independent, rng)
        return _log_rate_e(past, used, kind in RISE_ONLY, rng)
    used = thinned(counts, min(independent, detector.rows_per_window), rng)
    if used.sum() == 0 or past.sum() == 0 or len(past) < 2:
        return 0.0
    p = conformal_ranks(past, used, rng)
    dirichlet = log_dirichlet(p, np.array(series.widths))
    return log_average(log_mixture(p), dirichlet) if series.ordered else dirichlet


def _log_rate_e(past: Ints, counts: Ints, rise_only: bool, rng: Generator) -> float:
    pair = rate_p_values((int(past.sum()), int(past[1])), int(counts.sum()), int(counts[1]), rng)
    if pair is None:
        return 0.0
    rise, fall = (log_calibrated(p) for p in pair)
    return rise if rise_only else log_average(rise, fall)


def _restarted(features: dict[str, dict[str, Series]]) -> dict[str, dict[str, Series]]:
    return {
        name: {kind: structs.replace(one, log_sr=None) for kind, one in series.items()}
        for name, series in features.items()
    }
