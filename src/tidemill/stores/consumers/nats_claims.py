"""The claim of a stream as a key of a NATS bucket that expires."""

from __future__ import annotations

import hashlib

from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import (
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NoStreamResponseError,
    NotFoundError,
)
from nats.js.kv import KeyValue

from tidemill.stores.consumers.nats_link import NatsLink


class NatsClaims:
    """See `Claims`. Whoever comes first holds the one partition, so the other members need not be known.

    Args:
        link: The connection.
        place: The group and what it reads.
        me: This process.
        lease: Seconds for which a claim lasts.
    """

    def __init__(self, link: NatsLink, place: str, me: str, lease: float) -> None:
        self._link = link
        self._place = place
        self._me = me
        self._lease = lease
        self._revisions: dict[str, int] = {}

    def members(self) -> list[str]:
        return [self._me]

    def take(self, partition: str) -> bool:
        return self._link.run(lambda js: self._take(js, partition))

    def keep(self, partition: str) -> bool:
        return self._link.run(lambda js: self._keep(js, partition))

    def give(self, partition: str) -> None:
        self._link.run(lambda js: self._give(js, partition))

    def leave(self) -> None:
        """Nobody keeps a list."""

    async def _take(self, js: JetStreamContext, partition: str) -> bool:
        bucket = await self._bucket(js)
        try:
            self._revisions[partition] = await bucket.create(self._key(partition), self._me.encode())
        except (KeyWrongLastSequenceError, KeyNotFoundError):
            return False  # somebody holds it, or did until just now
        return True

    async def _keep(self, js: JetStreamContext, partition: str) -> bool:
        revision = self._revisions.pop(partition, None)
        if revision is None:
            return False  # an attempt to renew it was interrupted, so nobody knows what became of it
        try:
            bucket = await self._bucket(js)
            self._revisions[partition] = await bucket.update(self._key(partition), self._me.encode(), last=revision)
        except (KeyWrongLastSequenceError, NoStreamResponseError, NotFoundError):
            return False
        return True

    async def _give(self, js: JetStreamContext, partition: str) -> None:
        revision = self._revisions.pop(partition, None)
        if revision is not None:
            try:
                await (await self._bucket(js)).delete(self._key(partition), last=revision)
            except (KeyWrongLastSequenceError, NoStreamResponseError, NotFoundError):
                return  # it had ended by itself

    async def _bucket(self, js: JetStreamContext) -> KeyValue:
        name = f"tidemill_claims_{int(self._lease * 1000)}ms"
        try:
            return await js.key_value(name)
        except BucketNotFoundError:
            return await js.create_key_value(KeyValueConfig(name, ttl=self._lease, storage=StorageType.MEMORY))

    def _key(self, partition: str) -> str:
        return hashlib.sha256(f"{self._place}\n{partition}".encode()).hexdigest()
