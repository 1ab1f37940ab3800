"""Reference profiles of the versions that answered."""

from __future__ import annotations

from dataclasses import dataclass, field

from tidemill.core.ids import digest_bytes
from tidemill.core.protocols import ProfileReader
from tidemill.core.specs.monitoring import Monitor
from tidemill.core.specs.serving import Predict
from tidemill.measures.reference import Reference, decode_reference

KEPT = 4
"""References kept in memory: the one in force, and a few around a change of versions."""


@dataclass(frozen=True)
class Known:
    """A reference and the digest that names it."""

    reference: Reference
    digest: str


@dataclass
class References:
    """Reads references, each once while it is in use.

    Args:
        profiles: Where they are.
    """

    profiles: ProfileReader
    _kept: dict[tuple[str, int], Known | None] = field(default_factory=dict)

    def of(self, monitor: Monitor, version: int | None) -> Known | None:
        """The reference of a version of the model a monitor watches; None when it has none."""
        model = model_of(monitor)
        if model is None or version is None:
            return None
        key = (model, version)
        if key not in self._kept:
            data = self.profiles.reference(model, version)
            while len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = None if data is None else Known(decode_reference(data), digest_bytes(data))
        return self._kept[key]


def model_of(monitor: Monitor) -> str | None:
    """The name of the model a monitor's graph asks; None for a graph without one."""
    return next((step.model.name for step in monitor.graph.steps if isinstance(step, Predict)), None)
