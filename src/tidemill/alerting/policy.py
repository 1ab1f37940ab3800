"""Whether an alarm leads to a retrain: pure, so that a year of alarms can be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from tidemill.core.reports import AlarmKind
from tidemill.core.times import format_duration, format_time, parse_duration

LEAST_LABELS = 200
"""Fewer new labels than the gate needs to compare two models could only be refused."""

WORTHWHILE = 0.15
"""Drift says that the inputs moved, not that the model is wrong; a retrain for it waits until the rows a candidate can learn
from are so much more than those the model was trained on, because fewer change it little. The number of retrains then grows
with the logarithm of the data, whatever the cool-down is, and all of them together cost a few times as much as the last.
The number was chosen on the flights of the demo; it is no law."""

MOST_PER_WEEK = 2
"""Retrains in seven days; more would be a loop that feeds on itself."""

_WEEK = parse_duration("7d")

Action = Literal["retrain", "defer", "skip"]
Code = Literal["retrain", "defer:min_new_labels", "skip:cooldown", "skip:budget"]


class Policy(Struct, frozen=True):
    """What holds a retrain back.

    Attributes:
        cooldown: Microseconds between two started retrains.
        min_new_labels: Labelled rows there must be since the last one, those the gate tests with left out.
        max_per_7d: Retrains started within the last seven days.
    """

    cooldown: int
    min_new_labels: int = LEAST_LABELS
    max_per_7d: int = MOST_PER_WEEK


def needed_labels(kind: AlarmKind, trained_on: int | None) -> int:
    """How many new labels an alarm must wait for.

    Args:
        kind: Of the alarm: labels that say the model is wrong need not wait for many more.
        trained_on: Rows the model was trained on, None when that is not known.

    Example:
        >>> needed_labels("drift", 80_000), needed_labels("performance", 80_000)
        (12000, 200)
    """
    if kind == "performance" or trained_on is None:
        return LEAST_LABELS
    return max(LEAST_LABELS, round(WORTHWHILE * trained_on))


def decide(policy: Policy, at: int, new_labels: int, started: Sequence[int]) -> Code:
    """What to do about an alarm.

    Args:
        policy: The policy.
        at: Now, microseconds.
        new_labels: Labelled rows since the last started retrain, as far as a candidate may learn from them.
        started: When retrains were started.

    Example:
        >>> decide(Policy(cooldown=10, min_new_labels=1), at=15, new_labels=5, started=[7])
        'skip:cooldown'
    """
    if new_labels < policy.min_new_labels:
        return "defer:min_new_labels"
    if started and at - max(started) < policy.cooldown:
        return "skip:cooldown"
    if sum(at - start < _WEEK for start in started) >= policy.max_per_7d:
        return "skip:budget"
    return "retrain"


def reason_of(code: Code, policy: Policy, new_labels: int, started: Sequence[int]) -> str:
    """A decision in words."""
    if code == "defer:min_new_labels":
        return f"waiting for labels: {new_labels:,} new ones to learn from, {policy.min_new_labels:,} make a retrain worthwhile"
    if code == "skip:cooldown":
        since = format_time(max(started))
        return f"cooling down: the last retrain was started {since}, less than {format_duration(policy.cooldown)} ago"
    if code == "skip:budget":
        return f"out of budget: {policy.max_per_7d} retrains were started within seven days"
    return f"{new_labels:,} new labels to learn from, no retrain within {format_duration(policy.cooldown)}"


def action_of(code: Code) -> Action:
    """The action of a decision.

    Example:
        >>> action_of("skip:budget")
        'skip'
    """
    name = code.partition(":")[0]
    return "retrain" if name == "retrain" else "defer" if name == "defer" else "skip"


def rollback(metric: float, champion: float, labels: int, tolerance: float = 0.02, least_labels: int = 500) -> str:
    """What the live metric of a promoted model says: `wait`, `rollback` or `keep`.

    Args:
        metric: Its metric on live rows, more is better.
        champion: The metric of the champion it replaced.
        labels: Live rows with a label.
        tolerance: How much worse is still fine.
        least_labels: Fewer decide nothing.

    Example:
        >>> rollback(0.70, champion=0.75, labels=600)
        'rollback'
    """
    if labels < least_labels:
        return "wait"
    return "rollback" if metric < champion - tolerance else "keep"
