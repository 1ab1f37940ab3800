from __future__ import annotations

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tidemill.alerting.channels import Console, Webhook, open_channel
from tidemill.alerting.messages import notification
from tidemill.alerting.outbox import MOST_ATTEMPTS, Outbox
from tidemill.core.errors import InvalidArgument
from tidemill.core.records.alerting import Alert, Notification
from tidemill.core.times import parse_duration


class Receiver(HTTPServer):
    """A webhook that answers as told, and keeps what it was sent."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.got = [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hook"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.headers, body))
        status = self.server.answers.pop(0) if self.server.answers else 204
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        raise AssertionError("a redirect was followed")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def receiver():
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def alert(scope):
    return Alert(**scope.stamp(), id="a1", name="DriftDetected", fingerprint="f", labels={"monitor": "watch"},
                 state="firing", severity="warning", summary="temp drifted")  # fmt: skip


def waiting(scope, metadata, alert, channel="team", reason="firing"):
    one = notification(scope, alert, channel, reason, "temp drifted")
    with metadata.write() as writer:
        writer.add(one)
    return one


def stored(metadata, identity):
    with metadata.read() as reader:
        return reader.get(Notification, id=identity)


def test_a_webhook_gets_a_signed_cloud_event(scope, metadata, alert, receiver, monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    sent = waiting(scope, metadata, alert)
    Outbox(scope, metadata, {"team": f"{receiver.url}#secret=HOOK_SECRET"}).deliver()
    ((headers, body),) = receiver.got
    event = json.loads(body)
    assert (event["specversion"], event["type"], event["id"]) == ("1.0", "io.tidemill.alert.firing.v1", sent.id)
    assert event["source"] == "/projects/bikes/monitors/watch"
    assert event["data"]["summary"] == "temp drifted"
    assert headers["Idempotency-Key"] == sent.id
    assert headers["Content-Type"] == "application/cloudevents+json"
    assert headers["X-Tidemill-Signature"] == "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert stored(metadata, sent.id).state == "sent"


def test_sent_is_sent_once(scope, metadata, alert, receiver):
    waiting(scope, metadata, alert)
    outbox = Outbox(scope, metadata, {"team": receiver.url})
    assert len(outbox.deliver()) == 1
    assert outbox.deliver() == []
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_refused_delivery_is_tried_again_later(scope, metadata, alert, receiver, status):
    receiver.answers = [status, status]
    sent = waiting(scope, metadata, alert)
    outbox = Outbox(scope, metadata, {"team": receiver.url})
    outbox.deliver()
    after = stored(metadata, sent.id)
    assert (after.state, after.attempts, after.due_at) == ("waiting", 1, scope.now() + parse_duration("30s"))
    assert str(status) in after.error
    assert outbox.deliver() == []
    scope.clock.advance(parse_duration("30s"))
    outbox.deliver()
    assert stored(metadata, sent.id).due_at == scope.now() + parse_duration("1m")
    scope.clock.advance(parse_duration("1m"))
    outbox.deliver()
    after = stored(metadata, sent.id)
    assert (after.state, after.attempts, after.error, after.sent_at) == ("sent", 3, None, scope.now())
    assert len({headers["Idempotency-Key"] for headers, _ in receiver.got}) == 1


def test_who_never_answers_is_given_up(scope, metadata, alert):
    sent = waiting(scope, metadata, alert)
    with Receiver() as gone:
        url = gone.url
    outbox = Outbox(scope, metadata, {"team": url})
    for _ in range(MOST_ATTEMPTS + 3):
        outbox.deliver()
        scope.clock.advance(parse_duration("1d"))
    after = stored(metadata, sent.id)
    assert (after.state, after.attempts) == ("dead", MOST_ATTEMPTS)


def test_an_unknown_channel_is_said_at_once(scope, metadata, alert):
    sent = waiting(scope, metadata, alert, channel="taem")
    Outbox(scope, metadata, {"team": "console:"}).deliver()
    after = stored(metadata, sent.id)
    assert after.state == "dead"
    assert "Did you mean 'team'?" in after.error


def test_one_channel_does_not_hold_up_another(scope, metadata, alert, capsys):
    with Receiver() as gone:
        url = gone.url
    waiting(scope, metadata, alert, channel="gone")
    waiting(scope, metadata, alert, channel="here")
    Outbox(scope, metadata, {"gone": url, "here": "console:"}).deliver()
    assert capsys.readouterr().err == "2024-01-01T00:00:00Z  warning  DriftDetected firing: temp drifted\n"


def test_channels_by_url():
    assert isinstance(open_channel("team", "console:"), Console)
    assert isinstance(open_channel("team", "https://example.org/x", environ={}), Webhook)
    with pytest.raises(InvalidArgument, match="ftp://x"):
        open_channel("team", "ftp://x")
    with pytest.raises(InvalidArgument, match="SECRET, which is not set"):
        open_channel("team", "https://example.org/x#secret=SECRET", environ={})
