"""A worker's HTTP application, through a real server."""

from __future__ import annotations

import gzip
import socket
import zlib
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving_harness import Server, wait_until

HOUR = 3_600_000_000


def test_rows(served: Server) -> None:
    status, answer, headers = served.ask(1.0, 2, None)
    assert status == 200
    assert [row["prediction"] for row in answer["predictions"]] == [2.0, 4.0, 0.0]
    assert [row["row_id"] for row in answer["predictions"]] == ["0", "1", "2"]
    assert answer["model_version"] == 1
    assert answer["generation"] == 1
    assert headers["x-request-id"] == answer["request_id"]


def test_a_bare_list_of_rows_and_no_rows(served: Server) -> None:
    assert served.call("POST", "/predict/fare", [{"x": 3}])[1]["predictions"][0]["prediction"] == 6.0
    assert served.call("POST", "/predict/fare", [])[1]["predictions"] == []


def test_rows_without_an_id_get_one(served: Server) -> None:
    rows = served.call("POST", "/predict/fare", [{"x": 3}, {"x": 4, "ride": 7}])[1]["predictions"]
    assert len(rows[0]["row_id"]) == 32
    assert rows[1]["row_id"] == "7"


def test_features_are_added_by_key(served: Server) -> None:
    rows = [{"ride": 1, "station": "north", "at": "2013-04-01T00:00:00"}, {"ride": 2, "station": None, "at": None}]
    status, answer, _ = served.call("POST", "/predict/enriched", {"rows": rows})
    assert status == 200
    assert answer["predictions"][0]["prediction"] == pytest.approx(50.0)


def test_everything_answered_is_captured_first(served: Server) -> None:
    _, answer, _ = served.ask(1.0, 2.0, X_Request_ID="kept-1")
    assert served.home is not None
    (kept,) = [one for one in served.home.captured() if one["request_id"] == "kept-1"]
    assert kept["endpoint"] == "fare"
    assert kept["generation"] == answer["generation"]
    assert [row["prediction"] for row in kept["rows"]] == [2.0, 4.0]
    assert [row["row_id"] for row in kept["rows"]] == ["0", "1"]
    assert all(row["prediction_time"] > HOUR and row["model_version"] == 1 for row in kept["rows"])


def test_the_row_s_time_is_the_prediction_time(served: Server) -> None:
    body = [{"x": 1, "at": "1970-01-01T01:00:00Z"}]
    served.call("POST", "/predict/fare", body, X_Request_ID="kept-2")
    assert served.home is not None
    (kept,) = [one for one in served.home.captured() if one["request_id"] == "kept-2"]
    assert kept["rows"][0]["prediction_time"] == HOUR


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "is not rows as JSON"),
        (b"", "is not rows as JSON"),
        (b"\xff\xfe", "is not rows as JSON"),
        (b"[1]", "is not rows as JSON"),
        (b'{"row": []}', "is not rows as JSON"),
        (b'{"rows": [], "more": 1}', "is not rows as JSON"),
        (b'[{"y": 1}]', "row 0 has no column 'x'"),
        (b'[{"x": "1"}]', "row 0, column 'x' is '1'. Expected a number or null."),
        (b'[{"x": 1, "at": "2999-01-01"}]', "row 0, column 'at' is 2999-01-01T00:00:00Z. Expected no time after now"),
        (b"[" * 5000, "is not rows as JSON"),
    ],
)
def test_bad_bodies_are_400_and_say_why(served: Server, body: bytes, said: str) -> None:
    status, answer, headers = served.call("POST", "/predict/fare", body)
    assert status == 400
    assert said in answer["error"]["message"]
    assert answer["error"]["code"] == "invalid_data"
    assert answer["request_id"] == headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict/fare", 405), ("PUT", "/predict/fare", 405), ("POST", "/health", 405),
        ("DELETE", "/metrics", 405), ("GET", "/nothing", 404), ("POST", "/predict", 404), ("POST", "/predict/a/b", 404),
        ("POST", "/predict/fair", 404), ("GET", "/health/well", 404), ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/fare/nothing", 404), ("GET", "/v2/models/fare/infer", 405), ("GET", "/", 200),
        ("GET", "/health", 200), ("GET", "/health/live", 200), ("GET", "/health/ready", 200), ("GET", "/ready", 200),
        ("HEAD", "/health", 200), ("HEAD", "/", 200), ("POST", "/", 405),
    ],
)  # fmt: skip
def test_routes(served: Server, method: str, path: str, status: int) -> None:
    found, body, headers = served.call(method, path)
    assert found == status
    assert headers["content-type"] == "application/json"
    if status == 405:
        assert headers["allow"] in ("GET, HEAD", "POST")
    if method == "HEAD":
        assert body == b""
        assert int(headers["content-length"]) > 2


def test_a_misspelled_endpoint_is_told_the_right_one(served: Server) -> None:
    _, answer, _ = served.call("POST", "/predict/fair", [])
    assert answer["error"]["message"].endswith("Did you mean 'fare'?")
    assert answer["error"]["known"] == ["enriched", "fare"]


def test_a_request_id_is_kept_unless_it_is_none(served: Server) -> None:
    assert served.call("GET", "/health", X_Request_ID="abc-1")[2]["x-request-id"] == "abc-1"
    assert len(served.call("GET", "/health", X_Request_ID="a b\x80")[2]["x-request-id"]) == 32
    assert len(served.call("GET", "/health", X_Request_ID="a" * 129)[2]["x-request-id"]) == 32


def test_bodies_too_large_are_refused(served: Server) -> None:
    status, answer, _ = served.call("POST", "/predict/fare", b" " * (33 << 20))
    assert status == 413
    assert "larger than" in answer["error"]["message"]
    bomb = gzip.compress(b" " * (64 << 20))
    assert served.call("POST", "/predict/fare", bomb, Content_Encoding="gzip")[0] == 413
    status, answer, _ = served.call("POST", "/predict/fare", {"rows": [{"x": 1}] * 10_001})
    assert status == 400
    assert "10001 rows. Expected at most 10000" in answer["error"]["message"]


def test_compressed_bodies(served: Server) -> None:
    body = msgspec.json.encode([{"x": 3}])
    for encoding, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body)), ("identity", body)):
        status, answer, _ = served.call("POST", "/predict/fare", packed, Content_Encoding=encoding)
        assert (status, answer["predictions"][0]["prediction"]) == (200, 6.0)
    assert served.call("POST", "/predict/fare", body, Content_Encoding="gzip")[0] == 400
    assert served.call("POST", "/predict/fare", gzip.compress(body)[:-9], Content_Encoding="gzip")[0] == 400
    assert served.call("POST", "/predict/fare", body, Content_Encoding="br")[0] == 415


def test_a_model_that_raises_is_500_with_the_request_s_id_and_no_traceback(served: Server) -> None:
    status, answer, headers = served.ask(1.0, -1.0, X_Request_ID="bad-1")
    assert status == 500
    assert answer["error"]["code"] == "user_code"
    assert "x is below zero" in answer["error"]["message"]
    assert "Traceback" not in str(answer)
    assert answer["request_id"] == headers["x-request-id"] == "bad-1"
    assert served.ask(1.0)[0] == 200
    assert served.home is not None
    lines = (served.home.folder / "server.log").read_text().splitlines()
    logged = [msgspec.json.decode(line) for line in lines if "bad-1" in line]
    assert logged[0]["level"] == "error"
    assert logged[0]["request_id"] == "bad-1"


def test_connections_are_kept_and_counted(served: Server) -> None:
    connection = served.connect()
    for _ in range(3):
        connection.request("POST", "/predict/fare", b'[{"x": 1}]')
        response = connection.getresponse()
        response.read()
        assert response.getheader("connection") != "close"
    assert gauge(served, "tidemill_connections") >= 2  # this one, and the one that asks
    connection.close()
    wait_until(lambda: gauge(served, "tidemill_connections") == 1)


def gauge(server: Server, name: str) -> float:
    for family in text_string_to_metric_families(server.call("GET", "/metrics")[1].decode()):
        for sample in family.samples:
            if sample.name == name:
                return sample.value
    raise AssertionError(f"no {name}")


def test_metrics(served: Server) -> None:
    def counted() -> dict[Any, float]:
        text = served.call("GET", "/metrics")[1].decode()
        families = text_string_to_metric_families(text)
        return {
            (s.name, s.labels.get("endpoint"), s.labels.get("status")): s.value for f in families for s in f.samples
        }

    served.ask(1.0)
    before = counted()
    served.ask(1.0, 2.0)
    served.ask("wrong")  # type: ignore[arg-type]
    after = counted()
    assert after["tidemill_predictions_total", "fare", None] == before["tidemill_predictions_total", "fare", None] + 2
    for status, more in (("200", 1), ("400", 1)):
        key = ("tidemill_requests_total", "fare", status)
        assert after[key] == before.get(key, 0) + more
    key = ("tidemill_prediction_duration_seconds_count", "fare", None)
    assert after[key] == before[key] + 2
    assert served.call("GET", "/metrics")[2]["content-type"].startswith("text/plain; version=0.0.4")


def test_garbage_on_the_wire_does_no_harm(served: Server) -> None:
    for garbage in (b"\x16\x03\x01\x02", b"GET\r\n\r\n", b"POST /predict/fare HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", served.port)) as raw:
            raw.sendall(garbage)
            raw.shutdown(socket.SHUT_WR)
            raw.recv(1000)
    with socket.create_connection(("127.0.0.1", served.port)) as raw:
        raw.sendall(b"POST /predict/fare HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")
    assert served.ask(1.0)[0] == 200
