"""When a group of alerts notifies, and which alerts are held back: the rules of Alertmanager as pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

Reason = Literal["first", "new_alerts", "new_resolved", "all_resolved", "repeat"]
Change = tuple[int, str, bool]
"""When, which alert, and whether it began to fire (or resolved)."""


class Timing(Struct, frozen=True):
    """When a group speaks.

    Attributes:
        wait: From its first alert to its first notification.
        interval: Between two looks at whether there is something new.
        repeat: After so long without a notification, one is repeated as long as something fires.
    """

    wait: int = 30
    interval: int = 300
    repeat: int = 4 * 3600


class Sent(Struct, frozen=True):
    """A notification of a group."""

    at: int
    reason: Reason
    firing: tuple[str, ...]
    resolved: tuple[str, ...]


class Silence(Struct, frozen=True):
    """Alerts whose labels match are held back in [start, end)."""

    matchers: dict[str, str]
    start: int
    end: int


class Inhibition(Struct, frozen=True):
    """An alert with `source` labels holds back those with `target` labels that agree with it in `equal`."""

    source: dict[str, str]
    target: dict[str, str]
    equal: tuple[str, ...]


def notifications(changes: Iterable[Change], timing: Timing, until: int) -> list[Sent]:
    """What a group sends.

    Args:
        changes: What happened, in order of time; repeating what is so already changes nothing.
        timing: The group's timing.
        until: The last moment to look at.

    Example:
        >>> notifications([(0, "a", True), (40, "b", True)], Timing(30, 60), until=100)[1].reason
        'new_alerts'
    """
    pending = sorted(changes, key=lambda change: change[0])
    sent: list[Sent] = []
    while pending:
        tick = next((at for at, _, fires in pending if fires), until + 1) + timing.wait
        part, pending = _life_of_group(pending, tick, timing, until)
        sent += part
    return sent


def _life_of_group(changes: Sequence[Change], tick: int, timing: Timing, until: int) -> tuple[list[Sent], list[Change]]:
    """What is sent from the first alert of a group until none fires any more, and what happens after that."""
    left, sent = list(changes), list[Sent]()
    firing, told = dict[str, int](), set[str]()
    while tick <= until:
        while left and left[0][0] <= tick:
            _apply(firing, left.pop(0))
        gone = tuple(sorted(told - firing.keys()))
        reason = _reason(firing.keys() - told, gone, bool(firing), sent, tick, timing)
        if reason is not None:
            sent.append(Sent(tick, reason, tuple(sorted(firing)), gone))
            told = set(firing)
        if not firing:
            return sent, left
        tick += timing.interval
    return sent, []


def _apply(firing: dict[str, int], change: Change) -> None:
    at, name, fires = change
    if fires:
        firing.setdefault(name, at)
    else:
        firing.pop(name, None)


def _reason(
    fresh: set[str], gone: Sequence[str], any_firing: bool, sent: Sequence[Sent], tick: int, timing: Timing
) -> Reason | None:
    if not sent:
        return "first" if any_firing else None
    if gone and not any_firing:
        return "all_resolved"
    if fresh:
        return "new_alerts"
    if gone:
        return "new_resolved"
    return "repeat" if any_firing and tick - sent[-1].at > timing.repeat else None


def suppressed(
    alerts: Sequence[Mapping[str, str]], silences: Sequence[Silence], inhibitions: Sequence[Inhibition], at: int
) -> list[bool]:
    """Which firing alerts are held back at a time; they stay recorded, and are sent when that ends and they still fire.

    Args:
        alerts: Labels of the alerts that fire.
        silences: What people silenced.
        inhibitions: Which alerts hold back which.
        at: The time.

    Example:
        >>> silence = Silence({"model": "m2"}, 0, 600)
        >>> suppressed([{"model": "m1"}, {"model": "m2"}], [silence], [], at=599)
        [False, True]
    """
    return [_silenced(one, silences, at) or _inhibited(one, alerts, inhibitions) for one in alerts]


def _silenced(alert: Mapping[str, str], silences: Sequence[Silence], at: int) -> bool:
    return any(one.start <= at < one.end and _matches(alert, one.matchers) for one in silences)


def _inhibited(
    alert: Mapping[str, str], alerts: Sequence[Mapping[str, str]], inhibitions: Sequence[Inhibition]
) -> bool:
    return any(
        _matches(alert, rule.target)
        and other is not alert
        and _matches(other, rule.source)
        and not _matches(alert, rule.source)
        and all(alert.get(name) == other.get(name) for name in rule.equal)
        for rule in inhibitions
        for other in alerts
    )


def _matches(labels: Mapping[str, str], matchers: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in matchers.items())
