"""Monitors and what they do on an alarm."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tidemill.core.errors import InvalidArgument
from tidemill.core.ids import check_name
from tidemill.core.specs.definition import Definition
from tidemill.core.specs.features import Label
from tidemill.core.specs.serving import Graph
from tidemill.core.times import Duration, parse_duration

if TYPE_CHECKING:
    from tidemill.core.steps import Pipeline

_BUDGET = re.compile(r"(\d+(?:\.\d+)?) per (day|week|month|year)")
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}


@dataclass(frozen=True)
class Notify:
    """Tells a channel of `tidemill.toml`."""

    channel: str

    def describe(self) -> list[Any]:
        return ["notify", self.channel]


@dataclass(frozen=True)
class Retrain:
    """Starts a pipeline, at most once per cool-down."""

    pipeline: Pipeline[..., Any]
    cooldown: int
    """Microseconds that must pass between two retrains."""

    def describe(self) -> list[Any]:
        return ["retrain", self.pipeline.name, self.cooldown]


Action = Notify | Retrain


def notify(channel: str) -> Notify:
    """On an alarm, tell a channel named in `[channels]` of tidemill.toml."""
    return Notify(check_name(channel, "channel name"))


def retrain(pipeline: Pipeline[..., Any], *, cooldown: Duration = "1d") -> Retrain:
    """On an alarm, start a pipeline, unless it was started less than `cooldown` ago."""
    return Retrain(pipeline, parse_duration(cooldown))


@dataclass(frozen=True, eq=False)
class Monitor(Definition):
    """Watches an endpoint: drift of its inputs and predictions, and its performance once labels are there.

    Args:
        graph: The graph whose endpoint is watched.
        label: The truth, if there is one.
        every: Length of a window.
        false_alarms: The budget, such as "1 per month".
        on_alarm: What to do on an alarm.
        effect: The smallest effect size (Jensen-Shannon distance, 0 to 1) of a drift that may alarm.
        tolerance: How much the loss may rise above the reference before performance alarms, as a share of the reference's.
        name: Its name; the variable's when absent.
    """

    kind: ClassVar[str] = "monitor"

    graph: Graph
    label: Label | None = None
    every: Duration = "1d"
    false_alarms: str = "1 per month"
    on_alarm: Sequence[Action] = ()
    effect: float = 0.1
    tolerance: float = 0.05

    def __init__(self, graph: Graph, *, label: Label | None = None, every: Duration = "1d",
                 false_alarms: str = "1 per month", on_alarm: Sequence[Action] = (), effect: float = 0.1,
                 tolerance: float = 0.05, name: str | None = None) -> None:  # fmt: skip
        values = {"graph": graph, "label": label, "every": every, "false_alarms": false_alarms,
                  "on_alarm": tuple(on_alarm), "effect": effect, "tolerance": tolerance}  # fmt: skip
        for key, value in values.items():
            object.__setattr__(self, key, value)
        if not isinstance(graph, Graph):
            raise InvalidArgument(f"{graph!r} is not a graph", expected='tm.Graph("name")...')
        for action in self.on_alarm:
            if not isinstance(action, Notify | Retrain):
                raise InvalidArgument(f"{action!r} is no action", expected="tm.notify(...) or tm.retrain(...)")
        if self.every_micros == 0 or self.budget_per_day <= 0:
            raise InvalidArgument("every= and false_alarms= must be positive")
        if name is not None:
            self.bind(name)

    @property
    def every_micros(self) -> int:
        """Length of a window in microseconds."""
        return parse_duration(self.every)

    @property
    def budget_per_day(self) -> float:
        """False alarms allowed per day."""
        match = _BUDGET.fullmatch(self.false_alarms)
        if match is None:
            raise InvalidArgument(f"false_alarms={self.false_alarms!r} is no budget", expected='such as "1 per month"')
        return float(match[1]) / _DAYS[match[2]]

    def describe(self) -> dict[str, Any]:
        return {
            "graph": self.graph.name,
            "label": None if self.label is None else self.label.name,
            "every": self.every_micros,
            "false_alarms": self.false_alarms,
            "on_alarm": [action.describe() for action in self.on_alarm],
            "effect": self.effect,
            "tolerance": self.tolerance,
        }
