"""Sending what the outbox holds: none lost, each marked as sent once it was."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec import structs

from tidemill.alerting.channels import Channel, open_channel
from tidemill.core.errors import InvalidArgument, Unavailable, unknown
from tidemill.core.records.alerting import Notification
from tidemill.core.scope import Scope
from tidemill.core.times import parse_duration
from tidemill.stores.metadata.protocol import MetadataStore

FIRST_RETRY = parse_duration("30s")
"""Wait after the first failure; it doubles with every further one."""

MOST_ATTEMPTS = 8
"""Failures after which a notification is given up: about an hour after the first."""

_log = logging.getLogger("tidemill.alerting")


@dataclass(frozen=True)
class Outbox:
    """Sends waiting notifications, oldest first.

    Args:
        scope: Project, principal and clock.
        metadata: Where they wait.
        channels: URLs by name.
        write: Writes the lines of console channels.
    """

    scope: Scope
    metadata: MetadataStore
    channels: Mapping[str, str]
    write: Callable[[str], None] | None = None

    def deliver(self) -> list[Notification]:
        """Try everything that is due; returns what was tried, as it is now."""
        now = self.scope.now()
        where = {"project": self.scope.project, "state": "waiting", "due_at": ("<=", now)}
        with self.metadata.read() as reader:
            due = reader.find(Notification, where, order=["due_at", "created_at", "id"])
        return [self._send(one) for one in due]

    def _send(self, waiting: Notification) -> Notification:
        try:
            self._channel(waiting.channel).send(waiting)
        except Unavailable as error:
            after = self._later(waiting, str(error))
        except InvalidArgument as error:
            after = structs.replace(waiting, state="dead", attempts=waiting.attempts + 1, error=str(error))
        else:
            after = structs.replace(
                waiting, state="sent", attempts=waiting.attempts + 1, sent_at=self.scope.now(), error=None
            )
        if after.state == "dead":
            _log.error("notification %s was given up: %s", after.id, after.error)
        with self.metadata.write() as writer:
            writer.put(after)
        return after

    def _later(self, waiting: Notification, error: str) -> Notification:
        attempts = waiting.attempts + 1
        if attempts >= MOST_ATTEMPTS:
            return structs.replace(waiting, state="dead", attempts=attempts, error=error)
        due = self.scope.now() + FIRST_RETRY * 2 ** (attempts - 1)
        return structs.replace(waiting, attempts=attempts, due_at=due, error=error)

    def _channel(self, name: str) -> Channel:
        if name not in self.channels:
            found = unknown("channel", name, self.channels, hint="Name it in [channels] of tidemill.toml")
            raise InvalidArgument(str(found))
        return open_channel(name, self.channels[name], write=self.write)
