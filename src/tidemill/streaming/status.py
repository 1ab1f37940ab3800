"""How a stream stands: what health, metrics, the progress line and the log show."""

from __future__ import annotations

import time
from collections import deque

import msgspec

from tidemill.data.pushed import Taken

STATES = ("starting", "reading", "away", "stopped", "failed")
"""Of a stream: before the first look, at work, its broker or a store not answering, ended when asked to, ended by an error."""

_RATE_SECONDS = 10.0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a stream stands at one moment."""

    source: str
    state: str
    taken: Taken
    """What became of the events since this process began."""
    rate: float
    """Events a second, lately."""
    lag: dict[str, int]
    """Events not read yet, by partition this process holds."""
    checkpoint: int | None
    """When the last batch became durable, microseconds by the platform's clock."""
    positions: dict[str, str]
    """The last durable position, by partition, as far as this process wrote it."""
    behind: dict[str, str]
    """Why views are not up to the table online, by view."""
    detail: str | None
    """What is wrong, in words."""

    @property
    def well(self) -> bool:
        """Whether there is nothing to attend to."""
        return self.state in ("starting", "reading", "stopped") and not self.behind


class Gauge:
    """Keeps the numbers of one stream; written by its thread, read by any.

    Args:
        source: The source's name.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self.state = "starting"
        self.detail: str | None = None
        self.lag: dict[str, int] = {}
        self.behind: dict[str, str] = {}
        self._taken = Taken()
        self._checkpoint: int | None = None
        self._positions: dict[str, str] = {}
        self._recent: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def took(self, taken: Taken, positions: dict[str, str], now: int) -> None:
        """A batch became durable."""
        self._taken += taken
        self._positions = {**self._positions, **positions}
        self._checkpoint = now
        moment = time.monotonic()
        recent = deque(self._recent)
        recent.append((moment, self._taken.events))
        while len(recent) > 2 and recent[1][0] < moment - _RATE_SECONDS:
            recent.popleft()
        self._recent = recent

    def is_reading(self) -> None:
        """The broker and the stores answer."""
        self.state, self.detail = "reading", None

    def is_away(self, reason: str) -> None:
        """Something does not answer."""
        self.state, self.detail = "away", reason

    def read(self) -> Status:
        """The numbers now."""
        began, before = self._recent[0]
        seconds = max(time.monotonic() - began, 1e-3)
        return Status(
            source=self._source, state=self.state, taken=self._taken, rate=(self._taken.events - before) / seconds,
            lag=dict(self.lag), checkpoint=self._checkpoint, positions=dict(self._positions), behind=dict(self.behind),
            detail=self.detail,
        )  # fmt: skip
