"""What starts pipelines besides people and monitors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tidemill.core.records.events import Event
from tidemill.core.specs.definition import Definitions


@dataclass(frozen=True)
class Firing:
    """A trigger that fired: what to start, and what makes it start only once."""

    pipeline: str
    reason: str
    fingerprint: str


def fired(events: Iterable[Event], definitions: Definitions) -> list[Firing]:
    """Which pipelines some events start: those triggered by a feature view of which a changed version was applied.

    Args:
        events: New entries of the event log.
        definitions: The project's definitions.
    """
    watching = [
        (f"feature_view/{trigger.view.name}", name)
        for name, pipeline in definitions.of_kind("pipeline").items()
        for trigger in pipeline.triggers
    ]
    return [
        Firing(pipeline, f"{subject} has version {event.body['version']}", f"{subject}@{event.body['version']}")
        for event in events
        if event.kind == "definition.applied" and event.body.get("action") == "changed"
        for subject, pipeline in watching
        if subject == event.subject
    ]
