"""What happened last: decisions with their reasons, alias moves, alerts, runs, newest first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

import msgspec
from msgspec import structs

from tidemill.core.records.alerting import Decision
from tidemill.core.records.events import Event
from tidemill.core.records.models import AliasMove
from tidemill.stores.metadata.protocol import Reader
from tidemill.ui.formats import short_id

TOLD = (
    "run.ended", "version.created", "generation.changed", "alert.firing", "alert.resolved", "definition.applied",
)  # fmt: skip
"""Kinds of events on the time line; decisions and alias moves come from their own records, which hold the reasons."""

APPLIED = "applied"

STATES = {
    "retrain": "attention", "defer": "idle", "skip": "idle", "promote": "good", "refuse": "attention", "refit": "good",
    "rollback": "broken",
}  # fmt: skip


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the time line.

    Attributes:
        at: Microseconds UTC.
        word: What it was.
        state: `idle`, `good`, `attention` or `broken`.
        subject: What it was about.
        text: What happened and why.
        href: Where to read more.
        decision: Whether somebody, or a policy, decided it.
    """

    at: int
    word: str
    subject: str
    text: str
    state: str = "idle"
    href: str | None = None
    decision: bool = False


def happenings(reader: Reader, project: str, *, limit: int) -> list[Happening]:
    """The latest entries."""
    decisions = reader.find(Decision, {"project": project}, order=["-created_at"], limit=limit)
    moves = reader.find(AliasMove, {"project": project}, order=["-created_at"], limit=limit)
    events = reader.find(Event, {"project": project, "kind": list(TOLD)}, order=["-seq"], limit=4 * limit)
    told = [_EVENTS[event.kind](event) for event in events]
    found = [*map(of_decision, decisions), *map(_of_move, moves), *(one for one in told if one is not None)]
    return _together(sorted(found, key=lambda one: -one.at))[:limit]


def _together(entries: list[Happening]) -> list[Happening]:
    """Definitions applied one after the other become one entry."""
    found: list[Happening] = []
    for applied, group in groupby(entries, key=lambda one: one.word == APPLIED):
        run = list(group)
        if not applied or len(run) == 1:
            found += run
        else:
            names = ", ".join(one.subject for one in reversed(run))
            found.append(structs.replace(run[0], subject=f"{len(run)} definitions", text=names))
    return found


def of_decision(decision: Decision) -> Happening:
    """A decision as an entry."""
    return Happening(
        at=decision.created_at, word=decision.action, state=STATES.get(decision.action, "idle"),
        subject=decision.subject, text=decision.reason, decision=True, href=link_to(decision.subject, decision.run_id),
    )  # fmt: skip


def link_to(subject: str, run_id: str | None = None) -> str | None:
    """The page of what an event or decision is about; null when there is none."""
    if run_id:
        return f"/runs/{run_id}"
    kind, _, name = subject.partition("/")
    page = {"run": "/runs", "monitor": "/monitoring", "endpoint": "/endpoints"}.get(kind)
    return None if page is None else f"{page}/{name.partition('/')[0]}"


def page_of(labels: Mapping[str, Any]) -> str | None:
    """The page of what an alert with such labels is about; null when there is none."""
    if "service" in labels:
        return f"/features/services/{labels['service']}"
    return f"/monitoring/{labels['monitor']}" if "monitor" in labels else None


def _of_move(move: AliasMove) -> Happening:
    before = "nothing" if move.before is None else f"v{move.before}"
    after = "nothing" if move.after is None else f"v{move.after}"
    return Happening(
        at=move.created_at, word="alias", state="good" if move.alias == "champion" else "idle",
        subject=f"{move.model}@{move.alias}", text=f"{before} → {after}: {move.reason}", decision=True,
    )  # fmt: skip


def _run(event: Event) -> Happening | None:
    body = event.body
    if body.get("parent"):
        return None  # the parts of a pipeline are on its own page
    status = str(body.get("status", "ended"))
    state = {"failed": "broken", "killed": "broken", "finished": "good"}.get(status, "idle")
    name = body.get("name") or short_id(event.subject)
    return Happening(
        at=event.created_at, word="run", state=state, subject=str(name), text=status, href=link_to(event.subject)
    )


def _version(event: Event) -> Happening:
    subject = event.subject.removeprefix("model/")
    return Happening(
        at=event.created_at, word="version", subject=subject, text=f"v{event.body.get('version', '')} registered"
    )


def _generation(event: Event) -> Happening:
    body = event.body
    state = str(body.get("state", "changed"))
    return Happening(
        at=event.created_at, word="generation", state={"serving": "good", "failed": "broken"}.get(state, "idle"),
        subject=event.subject, text=" ".join(str(part) for part in (state, body.get("detail") or "") if part),
        href=link_to(event.subject),
    )  # fmt: skip


def _alert(event: Event) -> Happening:
    state = event.kind.partition(".")[2]
    body = event.body
    return Happening(
        at=event.created_at, word=state, state="attention" if state == "firing" else "good",
        subject=str(body.get("name") or event.subject), text=str(body.get("summary") or body.get("reason") or ""),
        href=page_of(body.get("labels") or body),
    )  # fmt: skip


def _definition(event: Event) -> Happening:
    return Happening(
        at=event.created_at, word=APPLIED, subject=event.subject, text=str(event.body.get("action", "changed"))
    )


_EVENTS: dict[str, Callable[[Event], Happening | None]] = {
    "run.ended": _run,
    "version.created": _version,
    "generation.changed": _generation,
    "alert.firing": _alert,
    "alert.resolved": _alert,
    "definition.applied": _definition,
}
