"""The shadow: a second model that is asked the same rows, whose answers are captured and given to nobody.

It is asked when the lane has nothing else to do, and then for all requests that wait at once: a model takes hardly longer for
two hundred rows than for twenty.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import polars as pl

from tidemill.core.errors import TidemillError
from tidemill.core.protocols import Captured, CaptureSink
from tidemill.serving.generation import Generation, Predicted
from tidemill.serving.lane import Lane
from tidemill.serving.metrics import EndpointMetrics

MOST_WAITING = 64
"""Requests that may wait for a shadow; the rows of more are not asked."""

_log = logging.getLogger(__name__)


class Waiting(NamedTuple):
    """A request that was answered, and is yet to be shown to the shadow."""

    generation: Generation
    done: Predicted
    kept: Captured

    @property
    def kind(self) -> tuple[int, pl.Schema]:
        """Requests of one kind can be asked together."""
        return id(self.generation), self.done.rows.schema


class Shadow:
    """Asks the shadows of one endpoint. All methods belong to the lane's thread.

    Args:
        lane: The thread that computes.
        captures: Where answers are kept.
        metrics: The endpoint's.
    """

    def __init__(self, lane: Lane, captures: CaptureSink, metrics: EndpointMetrics) -> None:
        self._lane, self._captures, self._metrics = lane, captures, metrics
        self._waiting: list[Waiting] = []

    def later(self, one: Waiting) -> None:
        """Ask the shadow of a request's generation about its rows, once there is time; if too many wait, not at all."""
        if len(self._waiting) >= MOST_WAITING or not (self._waiting or self._lane.later(self._work)):
            self._metrics.shadow_dropped(one.done.rows.height)
        else:
            self._waiting.append(one)

    def _work(self) -> None:
        waiting, self._waiting = self._waiting, []
        for _, alike in groupby(waiting, key=lambda one: one.kind):
            self._together([*alike])

    def _together(self, waiting: Sequence[Waiting]) -> None:
        started = time.perf_counter()
        try:
            answers = _ask(waiting)
        except TidemillError as error:
            if len(waiting) > 1:  # one of them need not spoil it for the rest
                for one in waiting:
                    self._together([one])
                return
            self._failed(waiting[0], error)
            return
        duration = int((time.perf_counter() - started) * 1e6)
        for one, rows in zip(waiting, answers, strict=True):
            kept, version = one.kept, one.generation.target.shadow
            self._captures.append(
                Captured(
                    shadow_topic(kept.endpoint), kept.generation, kept.request_id, kept.received_at, duration, rows
                )
            )
            if version is not None:
                self._metrics.shadowed(version.version, rows.height)

    def _failed(self, one: Waiting, error: TidemillError) -> None:
        # Nobody asked the shadow, so nobody is told but the log and the metrics.
        _log.warning("shadow of %s failed: %s", one.kept.endpoint, error, extra={"request_id": one.kept.request_id})
        self._metrics.shadow_dropped(one.done.rows.height)


def _ask(waiting: Sequence[Waiting]) -> list[pl.DataFrame]:
    """The shadow's answers to requests of one kind."""
    rows = pl.concat([one.done.rows for one in waiting]) if len(waiting) > 1 else waiting[0].done.rows
    answers = waiting[0].generation.shadow(rows)
    heights = [one.done.rows.height for one in waiting]
    starts = [sum(heights[:place]) for place in range(len(heights))]
    return [answers.slice(start, height) for start, height in zip(starts, heights, strict=True)]


def shadow_topic(endpoint: str) -> str:
    """Where an endpoint's shadow answers are captured: beside its own captures, found by row id and request id.

    Example:
        >>> shadow_topic("late-flight")
        'late-flight__shadow'
    """
    return f"{endpoint}__shadow"
