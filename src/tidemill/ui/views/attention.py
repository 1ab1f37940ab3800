"""What needs somebody now: one sentence per thing, each with a link."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tidemill.core.records.alerting import Alert, Decision, Notification
from tidemill.core.records.events import DefinitionVersion
from tidemill.core.records.runs import Run
from tidemill.core.records.serving import Endpoint, Generation
from tidemill.serving.presence import GONE, present
from tidemill.stores.metadata.protocol import Reader
from tidemill.ui.formats import count_of, short_id
from tidemill.ui.views.happenings import page_of

RECENT = 7 * 86_400_000_000
"""A failed run or a refused promotion older than a week is history, not news; in microseconds."""
MOST = 5


class Attention(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that needs somebody.

    Attributes:
        state: `broken` or `attention`.
        word: The state in a word.
        text: What is the matter.
        at: Since when, microseconds UTC.
        href: Where to look, null when there is no page for it.
        hint: What to do next.
    """

    state: str
    word: str
    text: str
    at: int | None = None
    href: str | None = None
    hint: str | None = None


def attention(reader: Reader, project: str, now: int) -> list[Attention]:
    """Everything that needs somebody now, the worst first."""
    found = [
        *_nothing_applied(reader, project),
        *_firing(reader, project),
        *_endpoints(reader, project),
        *_failed_runs(reader, project, now - RECENT),
        *_refused(reader, project, now - RECENT),
        *_undelivered(reader, project),
    ]
    return sorted(found, key=lambda one: one.state != "broken")


def _nothing_applied(reader: Reader, project: str) -> Iterator[Attention]:
    if reader.count(DefinitionVersion, {"project": project, "current": True}) == 0:
        yield Attention(
            state="attention", word="empty", text="Nothing is defined in this project yet.", hint="tidemill apply"
        )


def _firing(reader: Reader, project: str) -> Iterator[Attention]:
    where = {"project": project, "state": "firing"}
    for alert in reader.find(Alert, where, order=["-created_at"], limit=MOST):
        yield Attention(
            state="broken" if alert.severity == "critical" else "attention", word="firing",
            text=f"{alert.name}: {alert.summary}", at=alert.created_at,
            href=page_of(alert.labels),
        )  # fmt: skip


def _endpoints(reader: Reader, project: str) -> Iterator[Attention]:
    for endpoint in reader.find(Endpoint, {"project": project}, order=["name"]):
        where = {"project": project, "endpoint": endpoint.name}
        last = present(reader, reader.find(Generation, where, order=["-number"], limit=1))
        serving = present(reader, reader.find(Generation, {**where, "state": "serving"}))
        served = any(one.state == "serving" for one in serving)
        said = _unserved(endpoint.name, last[0] if last else None)
        if said is not None and (said.word == "failed" or not served):
            yield said


def _unserved(name: str, last: Generation | None) -> Attention | None:
    """What is the matter with an endpoint's last generation; None if nothing is."""
    href = f"/endpoints/{name}"
    if last is None:
        return Attention(
            state="attention", word="waiting", href=href, hint="tidemill serve",
            text=f"Endpoint {name} has answered nothing yet: no generation was started.",
        )  # fmt: skip
    if last.state == "failed":
        return Attention(
            state="broken", word="failed", href=href, at=last.created_at,
            text=f"Generation {last.number} of endpoint {name} did not start: {last.detail}",
        )  # fmt: skip
    if last.state in (GONE, "retired"):
        return Attention(
            state="broken" if last.state == GONE else "attention", word="gone" if last.state == GONE else "stopped",
            href=href, at=last.ended_at, hint="tidemill serve",
            text=f"Endpoint {name} is not served: {last.detail or 'its server stopped'}.",
        )  # fmt: skip
    return None


def _failed_runs(reader: Reader, project: str, since: int) -> Iterator[Attention]:
    where = {"project": project, "status": ["failed", "killed"], "parent": None, "created_at": (">=", since)}
    for run in reader.find(Run, where, order=["-created_at"], limit=MOST):
        told = f"{run.kind.capitalize()} {run.name} {short_id(run.id)} {run.status}"
        because = f": {run.error.strip().splitlines()[-1]}" if run.error and run.error.strip() else "."
        yield Attention(
            state="broken", word=run.status, text=told + because,
            at=run.ended_at or run.started_at, href=f"/runs/{run.id}",
        )  # fmt: skip


def _refused(reader: Reader, project: str, since: int) -> Iterator[Attention]:
    where = {"project": project, "action": ["refuse", "promote"], "created_at": (">=", since)}
    latest: dict[str, Decision] = {}
    for decision in reader.find(Decision, where, order=["created_at"]):
        latest[decision.subject] = decision
    for decision in latest.values():
        if decision.action == "refuse":
            yield Attention(
                state="attention", word="refused", at=decision.created_at,
                text=f"The last candidate for {decision.subject} was refused: {decision.reason}",
                href=f"/runs/{decision.run_id}" if decision.run_id else None,
            )  # fmt: skip


def _undelivered(reader: Reader, project: str) -> Iterator[Attention]:
    dead = reader.count(Notification, {"project": project, "state": "dead"})
    if dead:
        yield Attention(
            state="broken", word="undelivered", text=f"{count_of(dead, 'notification')} could not be delivered.",
            hint="Check [channels] in tidemill.toml",
        )  # fmt: skip
