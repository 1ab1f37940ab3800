"""Who acts, in which project, at what time: what every record is stamped with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from tidemill.core.clock import Clock
from tidemill.core.ids import new_id


class Stamp(TypedDict):
    """The fields every record starts with."""

    project: str
    principal: str
    created_at: int


@dataclass(frozen=True)
class Scope:
    """A project, the principal acting in it, and the clock.

    Example:
        >>> from tidemill.core.clock import ManualClock
        >>> Scope("bikes", "ada", ManualClock(7)).stamp()
        {'project': 'bikes', 'principal': 'ada', 'created_at': 7}
    """

    project: str
    principal: str
    clock: Clock

    def now(self) -> int:
        """Microseconds UTC."""
        return self.clock.now()

    def new_id(self) -> str:
        """A new id, sortable by time."""
        return new_id(self.clock)

    def stamp(self) -> Stamp:
        """Project, principal and creation time, to start a record with."""
        return {"project": self.project, "principal": self.principal, "created_at": self.clock.now()}
