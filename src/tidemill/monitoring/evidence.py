"""The evidence a monitor gathers about its inputs, and every constant its alarms depend on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from msgspec import Struct, structs

from tidemill.core.specs.monitoring import Monitor
from tidemill.core.times import parse_duration
from tidemill.measures.blocks import BlockDetector, new_block_detector, update_blocks
from tidemill.measures.drift import FeatureDrift, compare
from tidemill.measures.evidence import Detector, Floor, Verdict, new_detector, reaches, update
from tidemill.measures.profile import Profile
from tidemill.measures.reference import Reference
from tidemill.measures.sequential import threshold_for
from tidemill.monitoring.labels import Watermark

LEAST_BLOCKS = 14
"""Windows of the reference from which on a window is judged against their spread. With fewer, the least p-value a window
can get is so large that no evidence comes together; then rows are judged one by one."""

STRANGE_RATE = 0.05
"""A rise of missing or unknown values by this share of rows counts beside the distance of the values."""

COVERED = 0.5
"""Share of a window's rows that must be labelled before it says something about performance."""

_DAY = parse_duration("1d")


class Evidence(Struct, frozen=True, kw_only=True):
    """What a monitor knows about one model version, all of it recomputable from the windows.

    Attributes:
        version: The model version.
        since: Start of the first window it answered.
        drift_since: Start of the first window in the running evidence of drift.
        performance_since: Start of the first window in the running evidence about performance.
        blocks: Evidence with the window as unit; None when rows are the unit.
        rows: Evidence with the row as unit.
        labels: How much of the labels was taken in.
        received: Arrival of the newest captured row taken in.
    """

    version: int | None
    since: int
    drift_since: int
    performance_since: int
    blocks: BlockDetector | None = None
    rows: Detector | None = None
    labels: Watermark = Watermark()
    received: int = -(2**63)


class Crossing(Struct, frozen=True):
    """What a window adds to the evidence of drift.

    Attributes:
        verdict: The evidence per feature and of all.
        responsible: When it crossed with an effect that matters: the features, strongest first.
        effects: The distance of each feature over all windows since the evidence began.
    """

    verdict: Verdict
    responsible: tuple[str, ...]
    effects: dict[str, FeatureDrift]


def alarm_threshold(monitor: Monitor) -> float:
    """Where evidence alarms: the windows in which one false alarm is allowed.

    A statistic that is on average at most n after n windows without a change crosses c at most once in c windows.
    """
    return threshold_for(monitor.budget_per_day, _DAY / monitor.every_micros)


def new_evidence(monitor: Monitor, reference: Reference | None, version: int | None, start: int) -> Evidence:
    """No evidence yet, against the reference of a version that begins to answer."""
    blank = Evidence(version=version, since=start, drift_since=start, performance_since=start)
    if reference is None:
        return blank
    threshold = alarm_threshold(monitor)
    spread = {name: values for name, values in reference.blocks.items() if reference.profile[name].kind != "time"}
    if reference.window == monitor.every_micros and _windows(spread) >= LEAST_BLOCKS:
        return structs.replace(blank, blocks=new_block_detector(threshold, spread))
    if reference.window > monitor.every_micros:
        # Shorter windows differ more from the whole than the reference's own, so they are ranked among themselves.
        return structs.replace(blank, blocks=new_block_detector(threshold, dict.fromkeys(spread, ())))
    return structs.replace(blank, rows=new_detector(reference.profile, threshold))


def add_window(
    evidence: Evidence, monitor: Monitor, reference: Reference, window: Profile, drifts: Sequence[FeatureDrift],
    pooled: Callable[[], Profile], end: int,
) -> tuple[Evidence, Crossing | None]:  # fmt: skip
    """Take in the inputs of one window.

    Args:
        evidence: What is known so far.
        monitor: The monitor.
        reference: What the window is held against.
        window: Its profile.
        drifts: Its distances.
        pooled: Gives the profile of all windows since the evidence began, this one included; asked only on a crossing.
        end: Its end: where the evidence starts again should it cross now.
    """
    if evidence.blocks is not None:
        blocks, verdict = update_blocks(evidence.blocks, {drift.name: strangeness(drift) for drift in drifts})
        evidence = structs.replace(evidence, blocks=blocks)
    elif evidence.rows is not None:
        rows, verdict = update(evidence.rows, window)
        evidence = structs.replace(evidence, rows=rows)
    else:
        return evidence, None
    if not verdict.crossed:
        return evidence, Crossing(verdict, (), {})
    effects = {drift.name: drift for drift in compare(reference.profile, pooled())}
    floor = Floor(js=monitor.effect, missing_change=monitor.effect, rate=monitor.effect)
    responsible = tuple(name for name in verdict.named if name in effects and reaches(effects[name], floor))
    return structs.replace(evidence, drift_since=end), Crossing(verdict, responsible, effects)


def strangeness(drift: FeatureDrift) -> float | None:
    """How strange a feature is in a window: the distance of its values, or the share of rows that have none any more."""
    shares = (drift.missing_change, drift.unseen_rate)
    marked = [share for share in shares if share is not None and share >= STRANGE_RATE]
    return max([*marked, *([] if drift.js is None else [drift.js])], default=None)


def effect_size(drift: FeatureDrift) -> float:
    """The largest of the ways a feature differs: distance, change of the missing rate, unknown values."""
    known = (drift.js, drift.missing_change, drift.unseen_rate, drift.out_of_range_rate)
    return max((abs(value) for value in known if value is not None), default=0.0)


def log10(natural: float | None) -> float | None:
    """A natural logarithm as a decimal one.

    Example:
        >>> log10(math.log(1000.0))
        3.0
    """
    return None if natural is None else round(natural / math.log(10), 12)


def _windows(blocks: dict[str, list[float | None]]) -> int:
    return max((sum(value is not None for value in values) for values in blocks.values()), default=0)
