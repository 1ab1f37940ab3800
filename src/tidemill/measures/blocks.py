"""Evidence when rows of a window resemble each other: the window as a whole is the unit.

Each window gives one number per feature (an effect size such as the Jensen-Shannon distance to the reference); it is
ranked among the same number of the reference's own windows and of all windows since. However strongly rows hang together
inside a window, the guarantee holds as long as whole windows are exchangeable.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from msgspec import Struct, structs

from tidemill.core.errors import InvalidArgument
from tidemill.measures.bets import log_calibrated
from tidemill.measures.drift import compare
from tidemill.measures.evidence import FeatureEvidence, Verdict, named_features
from tidemill.measures.profile import Profile
from tidemill.measures.ranks import value_p_value
from tidemill.measures.sequential import log_mean, sr_step

METHOD_VERSION = "blocks-1"


class BlockSeries(Struct, frozen=True):
    """One feature: the values of all windows so far and the log of its Shiryaev-Roberts statistic (None = zero)."""

    past: tuple[float, ...] = ()
    log_sr: float | None = None


class BlockDetector(Struct, frozen=True):
    """The state of detection over whole windows; a value, never changed in place."""

    threshold: float
    features: dict[str, BlockSeries]
    windows: int = 0
    crossings: int = 0
    seed: int = 0
    method_version: str = METHOD_VERSION


def new_block_detector(
    threshold: float, reference_values: Mapping[str, Iterable[float | None]], seed: int = 0
) -> BlockDetector:
    """A detector that knows how the reference's own windows differ from it.

    Args:
        threshold: Windows per period / false alarms allowed in it.
        reference_values: Per feature, the number on every window of the reference; larger = stranger.
        seed: Seed of the random ties.

    Raises:
        InvalidArgument: If the threshold is below 1.

    Example:
        >>> len(new_block_detector(30.0, {"x": [0.1, 0.2, None]}).features["x"].past)
        2
    """
    if threshold < 1:
        raise InvalidArgument(f"A threshold of {threshold} would alarm always", expected="at least 1")
    features = {
        name: BlockSeries(tuple(float(v) for v in values if v is not None and math.isfinite(v)))
        for name, values in reference_values.items()
    }
    return BlockDetector(threshold, features, seed=seed)


def block_values(reference: Profile, windows: Iterable[Profile]) -> dict[str, list[float | None]]:
    """The Jensen-Shannon distance of each window to the reference, per feature, in order."""
    values: dict[str, list[float | None]] = {name: [] for name in reference.features}
    for window in windows:
        for drift in compare(reference, window):
            values[drift.name].append(drift.js)
    return values


def update_blocks(detector: BlockDetector, values: Mapping[str, float | None]) -> tuple[BlockDetector, Verdict]:
    """Take in one window.

    Args:
        detector: The state so far.
        values: The window's number per feature; None or an absent feature adds no evidence.

    Returns:
        The next state and the verdict; on a crossing all statistics start at zero again.

    Example:
        >>> state = new_block_detector(30.0, {"x": [i / 1000 for i in range(90)]})
        >>> for _ in range(6):
        ...     state, verdict = update_blocks(state, {"x": 0.9})
        >>> state.crossings > 0
        True
    """
    rng = np.random.default_rng([detector.seed, detector.windows])
    stepped, found = {}, []
    for name, series in detector.features.items():
        stepped[name], log_e = _step(series, values.get(name), rng)
        found.append(FeatureEvidence(name, {"window": log_e}, stepped[name].log_sr or 0.0))
    log_sr = log_mean([one.log_sr for one in found])
    crossed = log_sr is not None and log_sr >= math.log(detector.threshold)
    named = named_features(found, detector.threshold) if crossed else ()
    features = {n: structs.replace(s, log_sr=None) for n, s in stepped.items()} if crossed else stepped
    after = structs.replace(
        detector, features=features, windows=detector.windows + 1, crossings=detector.crossings + crossed
    )
    return after, Verdict(crossed, log_sr, named, tuple(found))


def _step(series: BlockSeries, value: float | None, rng: np.random.Generator) -> tuple[BlockSeries, float]:
    if value is None or not math.isfinite(value) or not series.past:
        past = (float(value),) if value is not None and math.isfinite(value) else ()
        return BlockSeries(series.past + past, sr_step(series.log_sr, 0.0)), 0.0
    log_e = log_calibrated(value_p_value(np.array(series.past), float(value), rng))
    return BlockSeries((*series.past, float(value)), sr_step(series.log_sr, log_e)), log_e
