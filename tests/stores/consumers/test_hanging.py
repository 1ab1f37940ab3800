"""Brokers that take connections and then never answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tidemill.core.errors import Unavailable
from tidemill.stores.consumers import nats_link, rabbitmq, redis
from tidemill.stores.consumers.open import open_consumer


@pytest.fixture
def silent() -> Iterator[str]:
    """HOST:PORT of somebody who listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("url", ["redis://{}/0?stream=s", "nats://{}/subject", "amqp://{}/?queue=q"])
def test_it_is_told_that_no_answer_comes(
    url: str, silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (nats_link, rabbitmq, redis):
        monkeypatch.setattr(module, "_CONNECT", 0.3)
        monkeypatch.setattr(module, "_ANSWER", 0.3)
    with closing(open_consumer(url.format(silent), tmp_path, group="g")) as consumer:
        for _ in range(2):
            with pytest.raises(Unavailable, match="does not answer"):
                consumer.poll(10, timeout=0.1)
        with pytest.raises(Unavailable, match="does not answer"):
            consumer.lag()
