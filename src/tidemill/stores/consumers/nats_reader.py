"""Messages of a JetStream stream from one place on."""

from __future__ import annotations

from nats.aio.msg import Msg
from nats.errors import TimeoutError as NoMessage
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from tidemill.stores.consumers.nats_link import NatsLink
from tidemill.stores.consumers.sharing import made_anew

_FORGET = 60.0
"""Seconds after which the server forgets a reader that does not read."""

_GATHER = 2.0
"""Seconds in which messages that are there must come."""


class NatsReader:
    """Reads on from a place, over one connection, without a gap.

    Args:
        link: The connection.
        stream: The stream.
        subject: The subject, possibly with wildcards.
        after: The sequence number after which to read.
    """

    def __init__(self, link: NatsLink, stream: str, subject: str, after: int) -> None:
        self._link = link
        self._stream = stream
        self._subject = subject
        self._after = after
        self._subscription: JetStreamContext.PullSubscription | None = None
        self._session = -1
        self._count = 0

    def read(self, limit: int, wait: float) -> list[Msg]:
        """The next messages, up to `limit`; waits up to `wait` seconds for the first."""
        return self._link.run(lambda js: self._read(js, limit, wait), wait + _GATHER)

    def pending(self) -> int:
        """The messages not yet read."""
        return self._link.run(self._pending)

    async def _read(self, js: JetStreamContext, limit: int, wait: float) -> list[Msg]:
        pending = await self._pending(js)
        subscription = await self._open(js)
        found: list[Msg] = []
        try:
            if not pending and wait > 0:
                found = await subscription.fetch(1, timeout=wait)
                pending = found[-1].metadata.num_pending or 0
            if pending and len(found) < limit:
                found += await subscription.fetch(min(pending, limit - len(found)), timeout=_GATHER)
        except NoMessage:
            pass
        return self._connected(found)

    def _connected(self, found: list[Msg]) -> list[Msg]:
        """Those that follow one another: what was lost on the way, and all after it, is read again."""
        whole = []
        for message in found:
            if message.metadata.sequence.consumer != self._count + 1:
                self._subscription = None
                break
            self._count += 1
            self._after = message.metadata.sequence.stream
            whole.append(message)
        return whole

    async def _pending(self, js: JetStreamContext) -> int:
        try:
            info = await (await self._open(js)).consumer_info()
        except NotFoundError:  # forgotten by the server; without its stream, opening it anew fails
            self._subscription = None
            info = await (await self._open(js)).consumer_info()
        return info.num_pending or 0

    async def _open(self, js: JetStreamContext) -> JetStreamContext.PullSubscription:
        if self._subscription is None or self._session != self._link.session:
            config = ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self._after + 1,
                ack_policy=AckPolicy.NONE,
                inactive_threshold=_FORGET,
            )
            if (await js.stream_info(self._stream)).state.last_seq < self._after:
                raise made_anew(self._stream)
            self._subscription = await js.pull_subscribe(self._subject, stream=self._stream, config=config)
            self._session, self._count = self._link.session, 0
        return self._subscription
