"""Reading the partitions of a topic that Kafka assigns."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from tidemill.core.errors import TidemillError
from tidemill.stores.consumers.kafka_errors import REFUSED, UNKNOWN, denied, log, misconfigured, no_topic
from tidemill.stores.consumers.protocol import Checkpoint, Event, earliest
from tidemill.stores.consumers.retry import persist, unavailable
from tidemill.stores.consumers.sharing import made_anew

_ANSWER = 5.0
"""Seconds until an answer counts as missing."""

_BLOCK = 0.5
"""Seconds that one look waits, so that a broken connection is noticed."""


class KafkaConsumer:
    """Reads the partitions that Kafka assigns; see `Consumer`.

    Args:
        settings: The settings of librdkafka.
        topic: The topic.
        who: The broker, for messages.
    """

    replays = True

    def __init__(self, settings: Mapping[str, Any], topic: str, who: str) -> None:
        self._topic = topic
        self._who = who
        self._checkpoint: Checkpoint = earliest
        self._places: dict[str, str | None] = {}
        self._failure: KafkaError | None = None
        self._stale: set[str] = set()
        self._unasked: set[str] = set()
        self._told: TidemillError | None = None
        try:
            self._consumer = Consumer({**settings, "error_cb": self._failed}, logger=log)
        except KafkaException as error:
            raise misconfigured(error) from error
        self._consumer.subscribe([topic], on_assign=self._gain, on_revoke=self._lose, on_lost=self._lose)

    def poll(self, limit: int, timeout: float) -> list[Event]:
        deadline = time.monotonic() + timeout
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            events = persist(lambda wait: self._look(limit, wait), left, (_Away,), self._who)
            if events or time.monotonic() >= deadline:
                return events

    def seek(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._stale.clear()
        self._places = {partition: checkpoint(partition) for partition in self._places}
        for partition in self._places:
            self._go(self._next(partition))

    def commit(self, positions: Mapping[str, str]) -> None:
        """Write the group's offsets, without waiting: they only tell others."""
        offsets = [TopicPartition(self._topic, int(name), int(position) + 1) for name, position in positions.items()]
        try:
            if offsets:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            raise unavailable(self._who, error.args[0].str()) from error

    def lag(self) -> dict[str, int]:
        held = dict(self._places)
        try:
            ends = self._offsets(held, OFFSET_END)
            starts = self._offsets([name for name, place in held.items() if place is None], OFFSET_BEGINNING)
        except KafkaException as error:
            raise unavailable(self._who, error.args[0].str()) from error
        return {
            name: max(ends[name] - (starts[name] if place is None else int(place) + 1), 0)
            for name, place in held.items()
        }

    def close(self) -> None:
        self._consumer.close()

    def _offsets(self, partitions: Iterable[str], logical: int) -> dict[str, int]:
        wanted = [TopicPartition(self._topic, int(partition), logical) for partition in partitions]
        found = self._consumer.offsets_for_times(wanted, timeout=_ANSWER) if wanted else []
        for partition in found:
            if partition.error is not None:
                raise KafkaException(partition.error)
        return {str(partition.partition): partition.offset for partition in found}

    def _look(self, limit: int, wait: float) -> list[Event]:
        self._settle(wait)
        first = self._consumer.poll(min(wait, _BLOCK))
        if first is None:
            return []
        messages = [first, *self._consumer.consume(limit - 1, 0)] if limit > 1 else [first]
        events = [event for message in messages if (event := self._event(message)) is not None]
        for event in events:
            self._places[event.partition] = event.position
        return events

    def _settle(self, wait: float) -> None:
        """Deal with what came up in the last look; not there, since the events that came with it would be lost."""
        if self._told is not None:
            told, self._told = self._told, None
            raise told
        if self._failure is not None:
            self._ask(max(min(wait, _ANSWER), _BLOCK))
        for partition in sorted(self._unasked):
            self._places[partition] = self._checkpoint(partition)
            self._unasked.discard(partition)
            self._go(self._next(partition))
        for partition in list(self._stale):
            self._reset(partition)

    def _event(self, message: Message) -> Event | None:
        error = message.error()
        if error is not None:
            self._refused(error, str(message.partition()))
            return None
        partition, position = str(message.partition()), f"{message.offset():020d}"
        if partition not in self._places:
            return None  # fetched before the partition went to another process
        kind, millis = message.timestamp()
        published = None if kind == TIMESTAMP_NOT_AVAILABLE else millis * 1000
        return Event(partition, position, message.value() or b"", message.key(), published)

    def _ask(self, wait: float) -> None:
        """See whether the broker is there again, where it was not and nothing comes that would show it."""
        try:
            self._consumer.list_topics(self._topic, timeout=wait)
        except KafkaException as error:
            raise _Away((self._failure or error.args[0]).str()) from error
        self._failure = None

    def _failed(self, error: KafkaError) -> None:
        # Called by the library within poll: the reason of what then does not come.
        if error.code() in REFUSED:
            self._told = denied(self._who, error)
        else:
            self._failure = error

    def _refused(self, error: KafkaError, partition: str) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET and partition in self._places:
            self._stale.add(partition)
            return
        if error.code() in UNKNOWN:
            self._told = no_topic(self._who, self._topic)
        elif error.code() in REFUSED:
            self._told = denied(self._who, error)
        else:
            self._failure = error

    def _gain(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        names = [str(partition.partition) for partition in partitions]
        # In a callback of the library nothing can be raised: what fails here, `_settle` tries again.
        for name in names:
            with suppress(Exception):
                self._places[name] = self._checkpoint(name)
        self._unasked |= {name for name in names if name not in self._places}
        consumer.incremental_assign([self._next(name) for name in names])

    def _next(self, partition: str) -> TopicPartition:
        place = self._places.get(partition)
        return TopicPartition(self._topic, int(partition), OFFSET_BEGINNING if place is None else int(place) + 1)

    def _go(self, target: TopicPartition) -> None:
        try:
            self._consumer.seek(target)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:
                raise unavailable(self._who, error.args[0].str()) from error
            # It is not being fetched now, so it can be assigned as if it came anew.
            self._consumer.incremental_unassign([target])
            self._consumer.incremental_assign([target])

    def _reset(self, partition: str) -> None:
        """Go on with the oldest event, where those after the place are no longer kept; say so if it is another topic."""
        place = self._places[partition]
        try:
            end = self._offsets([partition], OFFSET_END)[partition]
        except KafkaException as error:
            raise _Away(error.args[0].str()) from error
        if place is not None and int(place) + 1 > end:
            raise made_anew(partition)
        self._stale.discard(partition)
        self._go(TopicPartition(self._topic, int(partition), OFFSET_BEGINNING))

    def _lose(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            self._places.pop(str(partition.partition), None)
            self._stale.discard(str(partition.partition))
            self._unasked.discard(str(partition.partition))


class _Away(Exception):
    """The broker does not answer."""
