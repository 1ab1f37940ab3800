"""What a serving process is built from. Nothing heavy is imported here: the supervisor loads this module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from tidemill.core.protocols import CaptureSink, FeatureReader, ModelRef, ModelSource
from tidemill.core.scope import Scope
from tidemill.core.settings import ServeSettings
from tidemill.core.specs.serving import Graph

if TYPE_CHECKING:
    from tidemill.serving.service import Serving


def _nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True)
class Runtime:
    """The parts of one serving process, made inside that process: nothing in it may cross a fork."""

    scope: Scope
    serving: Serving
    models: ModelSource
    features: FeatureReader
    captures: CaptureSink
    graphs: Mapping[str, Graph]
    """Endpoint -> graph."""
    settings: ServeSettings = field(default_factory=ServeSettings)
    close: Callable[[], None] = _nothing


MakeRuntime = Callable[[], Runtime]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One generation as every worker is told to run it: exact versions, no aliases."""

    endpoint: str
    number: int
    graph: str
    """Digest of the graph, so that a worker with other code notices."""
    model: ModelRef
    shadow: ModelRef | None = None
