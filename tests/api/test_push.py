"""Rows pushed over HTTP: in three forms, again, and too many at once."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import polars as pl
import pytest
from litestar.testing import TestClient

from tidemill.api.app import PREFIX
from tidemill.platform import Platform

Live = tuple[Platform, TestClient]
ROWS = [
    {"flight_id": f"f{n}", "carrier": "UA", "delay": 20.0 + n, "landed_at": f"2023-12-31T2{n}:00:00Z"} for n in range(3)
]


def arrow(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_ipc_stream(buffer)
    return buffer.getvalue()


def ndjson(rows: list[dict[str, Any]]) -> bytes:
    return b"\n\n".join(json.dumps(row).encode() for row in rows) + b"\n"


BODIES = {
    "application/json; charset=utf-8": json.dumps({"rows": ROWS}).encode(),
    "application/x-ndjson": ndjson(ROWS),
    "application/vnd.apache.arrow.stream": arrow(ROWS),
}


def post(client: TestClient, kind: str, body: bytes) -> Any:
    return client.post(f"{PREFIX}/sources/landings/rows", content=body, headers={"Content-Type": kind})


@pytest.mark.parametrize("kind", BODIES)
def test_rows_come_in_three_forms_and_again_in_any(live: Live, kind: str) -> None:
    platform, client = live
    response = post(client, kind, BODIES[kind])
    assert (response.status_code, response.json()["rows"]) == (200, 3), response.text
    for other, body in BODIES.items():
        again = post(client, other, body).json()
        assert (again["rows"], again["duplicates"], again["quarantined"]) == (0, 3, 0)
    changed = post(client, "application/x-ndjson", ndjson([{**ROWS[0], "delay": 1.0}])).json()
    assert changed["reasons"] == {"repeated id": 1}
    assert platform.data.scan("landings").collect().height == 3


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("application/x-ndjson", b'{"a": 1}\n{"b": \n', "line 2 is no JSON object"),
        ("application/x-ndjson", b"[1]", "line 1 is no JSON object"),
        ("application/x-ndjson", b"\n", "no rows"),
        ("application/json", b'{"rows": 7}', "array"),
        ("application/json", b'{"rowz": []}', "rowz"),
        ("application/vnd.apache.arrow.stream", b"ARROW", "no Arrow IPC stream"),
        ("text/csv", b"a,b", "Known: application/json, application/x-ndjson"),
    ],
)
def test_a_body_that_is_no_rows_is_refused_whole(live: Live, kind: str, body: bytes, message: str) -> None:
    platform, client = live
    response = post(client, kind, body)
    assert response.status_code == 400
    assert message in response.json()["error"]["message"]
    assert platform.data.waiting("landings") == 0


def test_too_many_pushes_wait_until_some_are_moved(live: Live) -> None:
    platform, client = live
    up = msgspec.structs.replace(platform.settings.up, backlog=2)
    platform.settings = msgspec.structs.replace(platform.settings, up=up)
    parts = [ndjson([row]) for row in ROWS]
    for body in parts[:2]:
        assert post(client, "application/x-ndjson", body).status_code == 200
    refused = post(client, "application/x-ndjson", parts[2])
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert refused.json()["error"]["code"] == "overloaded"
    platform.data.flush(least=3)
    assert platform.data.waiting("landings") == 2
    platform.data.flush(least=2)
    assert post(client, "application/x-ndjson", parts[2]).json()["rows"] == 1


def test_the_body_is_described(live: Live) -> None:
    _, client = live
    described = client.get(f"{PREFIX}/openapi.json").json()
    body = described["paths"][f"{PREFIX}/sources/{{name}}/rows"]["post"]["requestBody"]
    assert set(body["content"]) == {kind.partition(";")[0] for kind in BODIES}
