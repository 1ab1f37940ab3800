"""The loop of a model's life as stations: sources, features, runs, models, endpoints, monitors."""

from __future__ import annotations

from collections import Counter

import msgspec

from tidemill.core.records.alerting import Alert
from tidemill.core.records.data import Arrival
from tidemill.core.records.events import DefinitionVersion, Event
from tidemill.core.records.models import Alias, ModelVersion
from tidemill.core.records.monitoring import MonitorWindow
from tidemill.core.records.record import Record
from tidemill.core.records.runs import Run
from tidemill.core.records.serving import Generation
from tidemill.serving.presence import present
from tidemill.stores.metadata.protocol import Reader
from tidemill.ui.formats import count_of

DEFECT = "FeatureDefect"
"""The alert that is about features, not about a monitor."""

IDLE, GOOD, ATTENTION, BROKEN = "idle", "good", "attention", "broken"


class Station(msgspec.Struct, frozen=True, kw_only=True):
    """One station of the loop.

    Attributes:
        name: What it is called.
        count: How many there are.
        noun: Of what.
        detail: What else is worth a word.
        at: When something happened here last, microseconds UTC.
        state: `idle`, `good`, `attention` or `broken`.
        word: The state in a word.
        href: Its page, null when it has none.
        hint: The command that would fill it, when it is empty.
    """

    name: str
    count: int
    noun: str
    detail: str = ""
    at: int | None = None
    state: str = IDLE
    word: str = "empty"
    href: str | None = None
    hint: str | None = None


def stations(reader: Reader, project: str) -> list[Station]:
    """The stations in the order of the loop."""
    defined = Counter(one.kind for one in reader.find(DefinitionVersion, {"project": project, "current": True}))
    return [
        _sources(reader, project, defined["source"]),
        _features(reader, project, defined["feature_view"] + defined["on_demand"], defined["feature_service"]),
        _runs(reader, project),
        _models(reader, project),
        _endpoints(reader, project, defined["graph"]),
        _monitors(reader, project, defined["monitor"]),
    ]


def _latest(reader: Reader, kind: type[Record], project: str, field: str = "created_at") -> int | None:
    found = reader.find(kind, {"project": project}, order=[f"-{field}"], limit=1)
    return None if not found else getattr(found[0], field)


def _sources(reader: Reader, project: str, count: int) -> Station:
    # Rows pushed one by one leave no arrival before they are compacted; the event log knows of both.
    told = reader.find(Event, {"project": project, "kind": "data.arrived"}, order=["-seq"], limit=1)
    at = told[0].created_at if told else _latest(reader, Arrival, project)
    arrived = reader.count(Arrival, {"project": project})
    filled = at is not None
    return Station(
        name="Sources", count=count, noun="source", detail=f"{arrived:,} {'delivery' if arrived == 1 else 'deliveries'}",
        at=at, state=GOOD if filled else (ATTENTION if count else IDLE),
        word="filled" if filled else ("no rows" if count else "empty"), hint=None if filled else "tidemill ingest",
    )  # fmt: skip


def _features(reader: Reader, project: str, views: int, services: int) -> Station:
    where = {"project": project, "kind": ["feature_view", "on_demand", "feature_service"], "current": True}
    newest = reader.find(DefinitionVersion, where, order=["-created_at"], limit=1)
    wrong = reader.count(Alert, {"project": project, "state": "firing", "name": DEFECT})
    return Station(
        name="Features", count=views, noun="view", detail=count_of(services, "service"),
        at=newest[0].created_at if newest else None, state=BROKEN if wrong else (GOOD if views else IDLE),
        word="defects" if wrong else ("defined" if views else "empty"), href="/features",
        hint=None if views else "tidemill apply",
    )  # fmt: skip


def _runs(reader: Reader, project: str) -> Station:
    count = reader.count(Run, {"project": project})
    running = reader.count(Run, {"project": project, "status": "running"})
    last = reader.find(Run, {"project": project, "parent": None}, order=["-created_at"], limit=1)
    status = last[0].status if last else ""
    failed = status in ("failed", "killed")
    return Station(
        name="Runs", count=count, noun="run", detail=f"{running:,} running" if running else "none running",
        at=last[0].created_at if last else None, state=(BROKEN if failed else GOOD) if last else IDLE,
        word=(f"last {status}" if status else "empty"), href="/runs", hint=None if last else "tidemill run PIPELINE",
    )  # fmt: skip


def _models(reader: Reader, project: str) -> Station:
    versions = reader.count(ModelVersion, {"project": project})
    champions = reader.find(Alias, {"project": project, "alias": "champion"}, order=["model"])
    shown = ", ".join(f"{one.model} v{one.version}" for one in champions[:3])
    return Station(
        name="Models", count=versions, noun="version", detail=shown or "no champion",
        at=max((one.created_at for one in champions), default=None),
        state=GOOD if champions else (ATTENTION if versions else IDLE),
        word="champion" if champions else ("no champion" if versions else "empty"),
        hint=None if versions else "tidemill run PIPELINE",
    )  # fmt: skip


def _endpoints(reader: Reader, project: str, count: int) -> Station:
    found = reader.find(Generation, {"project": project, "state": "serving"}, order=["-created_at"])
    serving = [one for one in present(reader, found) if one.state == "serving"]
    return Station(
        name="Endpoints", count=count, noun="endpoint",
        detail=f"generation {serving[0].number}" if serving else "not serving",
        at=serving[0].created_at if serving else None, state=GOOD if serving else (ATTENTION if count else IDLE),
        word="serving" if serving else ("waiting" if count else "empty"), href="/endpoints",
        hint=None if serving else "tidemill serve",
    )  # fmt: skip


def _monitors(reader: Reader, project: str, count: int) -> Station:
    windows = reader.count(MonitorWindow, {"project": project})
    firing = reader.count(Alert, {"project": project, "state": "firing", "name": ("!=", DEFECT)})
    return Station(
        name="Monitors", count=count, noun="monitor", detail=count_of(windows, "window"),
        at=_latest(reader, MonitorWindow, project, "end_at"),
        state=ATTENTION if firing else (GOOD if windows else IDLE),
        word=f"{firing:,} firing" if firing else ("calm" if windows else "no window yet" if count else "empty"),
        href="/monitoring", hint=None if windows else "tidemill monitor",
    )  # fmt: skip
