"""A broker that forgets what it was told to: RabbitMQ. What is not acknowledged comes again, and the ids tell."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.streaming.skies import landings, make_project, opened, payloads, send

from tidemill.streaming.options import Options
from tidemill.streaming.stream import Stream

URL = os.environ.get("TIDEMILL_TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672")
ROWS = landings(90)


class Death(BaseException):
    """Ends the process as far as the stream can tell."""


@pytest.fixture
def queue(require: Any) -> Iterator[str]:
    pika = pytest.importorskip("pika")
    parameters = pika.URLParameters(f"{URL}/%2F?socket_timeout=3")
    require(f"RabbitMQ at {urlsplit(URL).hostname}", lambda: pika.BlockingConnection(parameters).close())
    connection, name = pika.BlockingConnection(parameters), f"test-landings-{uuid.uuid4().hex[:8]}"
    channel = connection.channel()
    channel.queue_declare(name, durable=True)
    yield f"{URL}/?queue={name}"
    channel.queue_delete(name)
    connection.close()


@pytest.mark.service
def test_what_was_not_acknowledged_comes_again_and_counts_once(queue: str, tmp_path: Path) -> None:
    folder = make_project(tmp_path / "skies", queue)
    send(queue, folder, payloads(ROWS))
    with opened(folder) as platform:
        source = platform.definitions.get("source", "landings")
        first = Stream(platform, source, Options(limit=30))
        take = platform.data.take

        def dying(*arguments: Any) -> Any:
            take(*arguments)  # durable, but nobody tells the queue
            raise Death

        platform.data.take = dying  # type: ignore[method-assign]
        with pytest.raises(Death):
            first.run(threading.Event())
        platform.data.take = take  # type: ignore[method-assign]
        second = Stream(platform, source, Options(limit=30, drain=True))
        second.run(threading.Event())
        taken = second.gauge.read().taken
        assert (taken.events, taken.rows + taken.duplicates, taken.quarantined) == (90, 90, 0)
        assert taken.duplicates > 0
        assert platform.data.scan(source).collect()["flight_id"].sort().to_list() == sorted(
            row["flight_id"] for row in ROWS
        )
        assert platform.data.positions(source, queue) == {}
