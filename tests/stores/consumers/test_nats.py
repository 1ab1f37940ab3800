"""NATS JetStream as a source of events: the contract, wildcards, lost messages."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nats
import pytest
from nats.js import JetStreamContext
from tests.stores.consumers.behind import BehindProxySuite

from tidemill.core.errors import InvalidArgument, NotFound, PermissionDenied
from tidemill.stores.consumers.nats_link import NatsLink
from tidemill.stores.consumers.nats_reader import NatsReader
from tidemill.stores.consumers.open import open_consumer, open_producer
from tidemill.testing.consumer_suite import (
    LeasedSuite,
    NumberedSuite,
    Place,
    ReplayingSuite,
    payloads,
    poll_until,
)

pytestmark = pytest.mark.service


@pytest.fixture(scope="session")
def nats_url(request: pytest.FixtureRequest) -> str:
    url = os.environ.get("TIDEMILL_TEST_NATS_URL", "nats://127.0.0.1:4222")
    require = request.getfixturevalue("require")
    require(f"NATS with JetStream at {urlsplit(url).netloc}", lambda: on_server(url, account))
    return url


async def account(js: JetStreamContext) -> object:
    return await js.account_info()


def on_server(url: str, work: Callable[[JetStreamContext], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        client = await nats.connect(url, allow_reconnect=False, connect_timeout=3)
        try:
            return await work(client.jetstream())
        finally:
            await client.close()

    return asyncio.run(connected())


@pytest.fixture
def subjects(nats_url: str, name: str) -> Iterator[str]:
    """A JetStream stream of the test's own, with the subjects `name.*`."""
    on_server(nats_url, lambda js: js.add_stream(name=name, subjects=[f"{name}.*"]))
    yield name
    on_server(nats_url, lambda js: js.delete_stream(name))


@pytest.fixture
def place(nats_url: str, subjects: str, tmp_path: Path) -> Place:
    return Place(f"{nats_url}/{subjects}.events?lease=0.9", tmp_path)


@pytest.fixture
def remote_url(nats_url: str, subjects: str) -> str:
    return f"{nats_url}/{subjects}.events?lease=30"


class TestNats(BehindProxySuite, ReplayingSuite, NumberedSuite, LeasedSuite):
    """The contract, of JetStream."""


def test_a_wildcard_reads_several_subjects_in_one_line(place: Place, nats_url: str, subjects: str) -> None:
    with closing(place.producer()) as one, closing(open_producer(f"{nats_url}/{subjects}.b", place.home)) as two:
        one.send([b"1"])
        two.send([b"2"])
        one.send([b"3"])
    wild = open_consumer(f"{nats_url}/{subjects}.*?stream={subjects}", place.home, group="g")
    with closing(wild), closing(place.consumer()) as narrow:
        assert payloads(poll_until(wild, 3)) == [b"1", b"2", b"3"]
        events = poll_until(narrow, 2)
        assert [event.payload for event in events] == [b"1", b"3"]
        assert {event.partition for event in events} == {subjects}
    with pytest.raises(InvalidArgument, match="cannot be sent to the wildcard"):
        open_producer(f"{nats_url}/{subjects}.*", place.home)


def test_what_is_lost_on_the_way_is_read_again(place: Place, subjects: str, nats_url: str) -> None:
    from tidemill.stores.consumers.address import parse_address

    with closing(place.producer()) as producer:
        producer.send([b"1", b"2", b"3", b"4", b"5"])
    link = NatsLink(parse_address(nats_url, 4222))
    reader = NatsReader(link, subjects, f"{subjects}.events", 0)
    assert [message.data for message in reader.read(2, 0.0)] == [b"1", b"2"]
    subscription = reader._subscription
    assert subscription is not None
    link.run(lambda js: subscription.fetch(1, timeout=2.0))  # as if an answer had not arrived
    found = [message.data for _ in range(3) for message in reader.read(2, 0.0)]
    assert found == [b"3", b"4", b"5"]
    link.close()


def test_the_server_has_no_such_stream(nats_url: str, name: str, tmp_path: Path) -> None:
    url = f"{nats_url}/{name}.events"
    with closing(open_consumer(url, tmp_path, group="g")) as consumer:
        with pytest.raises(NotFound, match=f"no JetStream stream with '{name}.events'"):
            consumer.poll(1, timeout=5.0)
        with pytest.raises(NotFound):
            consumer.lag()
        on_server(nats_url, lambda js: js.add_stream(name=name, subjects=[f"{name}.*"]))
        with closing(open_producer(url, tmp_path)) as producer:
            producer.send([b"now"])
        assert payloads(poll_until(consumer, 1)) == [b"now"]
        on_server(nats_url, lambda js: js.delete_stream(name))
    with closing(open_producer(url, tmp_path)) as producer, pytest.raises(NotFound, match="no JetStream stream"):
        producer.send([b"x"])


def test_a_refused_user_is_told_at_once(tmp_path: Path) -> None:
    """The server of the tests takes everybody; this one says what one with users says."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=refuse, args=(server,))
        thread.start()
        url = f"nats://ann:geheim77@127.0.0.1:{server.getsockname()[1]}/events"
        with (
            closing(open_consumer(url, tmp_path, group="g")) as consumer,
            pytest.raises(PermissionDenied, match="refuses") as caught,
        ):
            consumer.poll(1, timeout=60.0)
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert "geheim77" not in str(caught.value)


def refuse(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b'INFO {"server_id":"x","version":"2.9.0","auth_required":true}\r\n')
                connection.recv(4096)
                connection.sendall(b"-ERR 'Authorization Violation'\r\n")


@pytest.mark.parametrize("url", ["nats://h", "nats://h/", "nats:/x", "nats://h/a%20b", "nats://h/a?queue=b"])
def test_wrong_urls(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        open_consumer(url, tmp_path, group="g")
