"""Runs: which run is best, and why?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

import msgspec

from tidemill.core.errors import InvalidArgument
from tidemill.core.records.runs import Run
from tidemill.platform import Platform
from tidemill.tracking.service import KINDS

ROWS = 50
MOST_METRICS = 6
MOST_PARAMS = 6
SIMPLE_ORDERS = {"": "-created_at", "start_time DESC": "-created_at", "start_time ASC": "created_at"}
"""Orders the store can do by itself, one page at a time."""


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A run in the list."""

    id: str
    name: str
    kind: str
    status: str
    state: str
    started_at: int
    duration: int | None
    params: dict[str, object]
    metrics: dict[str, float]


class RunsPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of runs. `total` counts all that match."""

    project: str
    now: int
    filter: str
    kind: str
    order: str
    offset: int
    total: int
    kinds: list[str]
    metrics: list[str]
    runs: list[RunRow]
    problem: str | None = None

    def address(self, **changes: object) -> str:
        """The address of this page with something changed."""
        state = {"filter": self.filter, "kind": self.kind, "order": self.order, "offset": self.offset, **changes}
        asked = {name: value for name, value in state.items() if value}
        return f"/runs?{urlencode(asked)}" if asked else "/runs"

    def sorted_by(self, metric: str) -> str:
        """The address of this page ordered by a metric, the greatest first; the least first when it is already."""
        down = f"metrics.`{metric}` DESC"
        return self.address(order=f"metrics.`{metric}` ASC" if self.order == down else down, offset=0)


STATES = {"running": "running", "finished": "good", "cached": "good", "failed": "broken", "killed": "broken"}


def runs(platform: Platform, *, filter: str = "", kind: str = "", order: str = "", offset: int = 0) -> RunsPage:
    """Read one page. What cannot be understood is told in place, with all runs below."""
    if kind and kind not in KINDS:
        raise InvalidArgument(f"kind={kind!r} is no kind of run", known=KINDS)
    problem = None
    try:
        found, total = _find(platform, filter.strip(), kind, order, max(0, offset))
    except InvalidArgument as error:
        problem = str(error)
        found, total = _find(platform, "", kind, "", 0)
    latest = platform.tracking.latest([run.id for run in found])
    return RunsPage(
        project=platform.scope.project, now=platform.scope.now(), filter=filter, kind=kind, order=order,
        offset=max(0, offset), total=total, kinds=list(KINDS), metrics=_columns(latest.values()),
        runs=[row(run, latest.get(run.id, {})) for run in found], problem=problem,
    )  # fmt: skip


def _find(platform: Platform, filter: str, kind: str, order: str, offset: int) -> tuple[list[Run], int]:
    if filter or order not in SIMPLE_ORDERS:
        found = platform.tracking.find(filter or None, order=order or (), kind=kind or None, limit=None)
        return found[offset : offset + ROWS], len(found)
    where = {"project": platform.scope.project, **({"kind": kind} if kind else {})}
    with platform.metadata.read() as reader:
        page = reader.find(Run, where, order=[SIMPLE_ORDERS[order]], limit=ROWS, offset=offset)
        return page, reader.count(Run, where)


def took(run: Run) -> int | None:
    """How long a run took in microseconds, None while it runs.

    The process's own measure where there is one: the platform's clock may stand still while a run works.
    """
    if run.ended_at is None:
        return None
    seconds = run.resources.get("seconds")
    return round(seconds * 1e6) if isinstance(seconds, int | float) else run.ended_at - run.started_at


def _columns(latest: Iterable[Mapping[str, float]]) -> list[str]:
    """The metrics most of the runs shown have."""
    counts: dict[str, int] = {}
    for metrics in latest:
        for name in metrics:
            counts[name] = counts.get(name, 0) + 1
    often = max(counts.values(), default=0) / 4
    common = [name for name in counts if counts[name] >= often]
    return sorted(common, key=lambda name: (-counts[name], name))[:MOST_METRICS]


def row(run: Run, metrics: dict[str, float]) -> RunRow:
    """A run as a row."""
    return RunRow(
        id=run.id, name=run.name, kind=run.kind, status=run.status, state=STATES.get(run.status, "idle"),
        started_at=run.started_at, duration=took(run),
        params=dict(list(run.params.items())[:MOST_PARAMS]), metrics=metrics,
    )  # fmt: skip
