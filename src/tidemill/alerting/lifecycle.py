"""The states of an alert rule, as in Prometheus: inactive, pending, firing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

State = Literal["inactive", "pending", "firing"]


class Rule(Struct, frozen=True):
    """How long a condition must hold to fire, and must be gone to stop.

    Attributes:
        hold: A condition true without interruption for so long fires.
        keep: A firing rule stops once the condition was false for so long without interruption.
    """

    hold: int = 0
    keep: int = 0


class RuleState(Struct, frozen=True):
    """Where a rule is.

    Attributes:
        state: Its state.
        since: When the condition last changed its mind: turned true while pending, turned false while firing.
    """

    state: State = "inactive"
    since: int | None = None


def step(rule: Rule, before: RuleState, at: int, condition: bool) -> RuleState:
    """Evaluate a rule once.

    Args:
        rule: The rule.
        before: Its state after the evaluation before.
        at: Time of the evaluation, in the unit of the rule.
        condition: Whether the condition is true.

    Example:
        >>> step(Rule(hold=2), RuleState(), at=0, condition=True)
        RuleState(state='pending', since=0)
    """
    if condition:
        if before.state == "firing":
            return RuleState("firing")
        since = before.since if before.state == "pending" and before.since is not None else at
        return RuleState("firing") if at - since >= rule.hold else RuleState("pending", since)
    if before.state != "firing":
        return RuleState()
    since = at if before.since is None else before.since
    return RuleState() if at - since >= rule.keep else RuleState("firing", since)


def states(rule: Rule, conditions: Iterable[bool], every: int) -> list[State]:
    """The state after each of equally spaced evaluations.

    Example:
        >>> states(Rule(hold=60), [True, True, False], every=60)
        ['pending', 'firing', 'inactive']
    """
    found: list[State] = []
    now = RuleState()
    for number, condition in enumerate(conditions):
        now = step(rule, now, number * every, condition)
        found.append(now.state)
    return found


def counted(times: Iterable[float], count: int, period: float) -> list[float]:
    """When a rule "so many events within a period" notifies, if each notification forgets the events before it.

    Args:
        times: When events happened, ascending.
        count: How many it takes.
        period: Within which time; an event exactly so long ago no longer counts.

    Example:
        >>> counted([0, 300, 590, 600], count=3, period=600)
        [590]
    """
    notified: list[float] = []
    recent: list[float] = []
    for time in times:
        recent = [*(one for one in recent if one > time - period), time]
        if len(recent) >= count:
            notified.append(time)
            recent = []
    return notified
