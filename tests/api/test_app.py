"""What holds for every address: request ids, safe headers, one shape for errors, a description."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from litestar.testing import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tidemill.api.app import MAX_BODY, PREFIX, create_app
from tidemill.core.records.runs import Run
from tidemill.platform import Platform


def error_of(response: Any) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"error"}
    assert body["error"]["request_id"] == response.headers["x-request-id"]
    return body["error"]


def test_health_tells_of_the_store_and_the_daemon(client: TestClient) -> None:
    response = client.get("/health")
    assert response.status_code == 200
    body = response.json()
    assert (body["status"], body["project"], body["metadata"]) == ("ok", "flights", True)
    assert body["daemon"]["holder"] == "here/1"
    assert body["daemon"]["alive"] is True
    assert 0 <= body["daemon"]["age"] < 3600


def test_health_without_a_metadata_store_is_503(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidemill.core.errors import Unavailable

    class Gone:
        def read(self) -> None:
            raise Unavailable("the metadata store does not answer")

    monkeypatch.setitem(platform.__dict__, "metadata", Gone())
    with TestClient(create_app(platform)) as client:
        response = client.get("/health")
    assert response.status_code == 503
    assert response.json()["detail"].startswith("the metadata store does not answer")


def test_metrics_are_prometheus_text_with_true_numbers(client: TestClient, platform: Platform) -> None:
    found = {
        (sample.name, sample.labels.get("status") or sample.labels.get("state")): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    with platform.metadata.read() as reader:
        finished = reader.count(Run, {"status": "finished"})
    assert found[("tidemill_runs", "finished")] == finished > 0
    assert found[("tidemill_runs", "failed")] == 1
    assert found[("tidemill_events_total", None)] > 10
    assert ("tidemill_daemon_heartbeat_age_seconds", None) in found


def test_an_unknown_address_is_an_error_like_any_other(client: TestClient) -> None:
    for address in ("/nowhere", f"{PREFIX}/nowhere", "/api/other"):
        response = client.get(address)
        assert response.status_code == 404
        assert error_of(response)["code"] == "not_found"


def test_a_wrong_method_is_405(client: TestClient) -> None:
    response = client.delete(f"{PREFIX}/runs")
    assert response.status_code == 405
    assert error_of(response)["code"] == "method_not_allowed"


def test_a_request_id_comes_back_unless_it_is_not_one(client: TestClient) -> None:
    assert client.get("/health", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    made = client.get("/health", headers={"X-Request-ID": "a b<c>"}).headers["x-request-id"]
    assert len(made) == 32


def test_every_request_leaves_one_json_line_in_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tidemill.access"):
        client.get("/health", headers={"X-Request-ID": "line-1"})
        client.get("/nowhere", headers={"X-Request-ID": "line-2"})
    lines = [json.loads(record.message) for record in caplog.records if record.name == "tidemill.access"]
    assert [(line["request_id"], line["path"], line["status"]) for line in lines] == [
        ("line-1", "/health", 200), ("line-2", "/nowhere", 404),
    ]  # fmt: skip


def test_pages_may_load_only_what_is_theirs(client: TestClient) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "unsafe" not in policy


def test_a_body_that_is_too_large_is_413(client: TestClient) -> None:
    response = client.post(
        f"{PREFIX}/labels/late", content=b" " * (MAX_BODY + 1), headers={"content-type": "application/json"}
    )
    assert response.status_code == 413
    assert error_of(response)["code"] == "too_large"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"rows": 7}', b'{"rows": [], "more": 1}', b"\xff"])
def test_a_body_that_cannot_be_read_is_400_and_says_where(client: TestClient, body: bytes) -> None:
    response = client.post(f"{PREFIX}/labels/late", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert error_of(response)["code"] == "invalid_argument"


def test_a_number_out_of_range_is_400_and_names_it(client: TestClient) -> None:
    for query in ("limit=0", "limit=x", "offset=-1", "limit=100000"):
        error = error_of(client.get(f"{PREFIX}/runs?{query}"))
        assert query.partition("=")[0] in error["message"]


def test_a_defect_is_500_without_telling_secrets(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(type(platform.registry), "models", broken)
    with TestClient(create_app(platform), raise_server_exceptions=False) as client:
        response = client.get(f"{PREFIX}/models")
    assert response.status_code == 500
    assert error_of(response)["code"] == "internal"
    assert "secret" not in response.text
    assert any(record.exc_info for record in caplog.records if record.name == "tidemill.api")


def routes(app: Any) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        for method in getattr(route, "methods", ()):
            yield method, route.path_format


def test_the_description_names_every_route_and_nothing_from_elsewhere(client: TestClient) -> None:
    response = client.get(f"{PREFIX}/openapi.json")
    assert response.status_code == 200
    assert "http://" not in response.text.replace("http://127.0.0.1", "")
    described = response.json()["paths"]
    api = {path for method, path in routes(client.app) if path.startswith(PREFIX) and "openapi" not in path}
    assert api <= {path.replace("{name}", "{name}") for path in described}
    for path, operations in described.items():
        for operation in operations.values():
            assert operation.get("summary"), path


def test_two_applications_live_in_one_process(client: TestClient, live: tuple[Platform, TestClient]) -> None:
    assert client.get(f"{PREFIX}/runs").json()["total"] > 0
    assert live[1].get(f"{PREFIX}/runs").json()["total"] == 0
