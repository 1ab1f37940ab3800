"""The reconciler in this process: what it says while it waits for an answer."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from serving_harness import PATIENCE, Home

from tidemill.core.records.events import Lease
from tidemill.serving import reconciler
from tidemill.serving.channel import Channel


def test_a_server_shows_that_it_lives_while_workers_load_a_model(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "BEAT_SECONDS", 0.01)
    supervisor, channel = Channel.pair()
    runtime = SimpleNamespace(serving=home.serving)
    asking = reconciler.Reconciler(channel, {}, runtime, server="host:1", url="http://127.0.0.1:1")  # type: ignore[arg-type]
    replies = []
    thread = threading.Thread(target=lambda: replies.append(asking._ask({"do": "swap"})))
    thread.start()
    beats: set[int] = set()
    ends = time.monotonic() + PATIENCE
    while len(beats) < 3:
        assert time.monotonic() < ends
        with home.metadata.read() as reader:
            beats |= {lease.beat_at for lease in reader.find(Lease, {"holder": "host:1"})}
    assert supervisor.receive() == [{"do": "swap"}]
    supervisor.send({"is": "done"})
    thread.join()
    assert replies == [{"is": "done"}]
    supervisor.close()
    channel.close()
