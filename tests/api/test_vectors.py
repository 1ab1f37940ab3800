"""Features over HTTP: rows in three forms in and out, as of a moment, and what is refused."""

from __future__ import annotations

import io
import json
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from litestar.testing import TestClient

from tidemill.api.app import PREFIX
from tidemill.core.clock import ManualClock
from tidemill.platform import Platform

Live = tuple[Platform, TestClient]
JSON, NDJSON, ARROW = "application/json", "application/x-ndjson", "application/vnd.apache.arrow.stream"
ROWS = [{"carrier": "UA"}, {"carrier": "ZZ"}, {"carrier": "UA"}]
NAME = "lateness__late_count_24h"


@pytest.fixture
def served(live: Live) -> Live:
    platform = live[0]
    landed = ["2023-12-31T06:00:00Z", "2023-12-31T12:00:00Z", "2023-12-31T18:00:00Z"]
    rows = [{"flight_id": f"f{i}", "carrier": "UA", "landed_at": at, "delay": 20.0} for i, at in enumerate(landed)]
    platform.push("landings", rows)
    platform.features.materialize()
    return live


def ask(client: TestClient, content: Any, headers: dict[str, str] | None = None, **query: Any) -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return client.post(f"{PREFIX}/features/service", content=body, headers=headers, params=query)


def arrow(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_ipc_stream(buffer)
    return buffer.getvalue()


BODIES = {
    JSON: json.dumps({"rows": ROWS}).encode(),
    NDJSON: b"\n".join(json.dumps(row).encode() for row in ROWS),
    ARROW: arrow(ROWS),
}
ANSWERS = {
    JSON: json.loads,
    NDJSON: lambda body: [json.loads(line) for line in body.splitlines()],
    # Another reader of Arrow than the one that wrote it.
    ARROW: lambda body: pa.ipc.open_stream(body).read_all().to_pylist(),
}


@pytest.mark.parametrize("accept", ANSWERS)
@pytest.mark.parametrize("kind", BODIES)
def test_rows_come_and_go_in_three_forms(served: Live, kind: str, accept: str) -> None:
    found = ask(served[1], BODIES[kind], {"Content-Type": kind, "Accept": accept})
    assert (found.status_code, found.headers["content-type"].partition(";")[0]) == (200, accept), found.text
    assert ANSWERS[accept](found.content) == [{NAME: 3}, {NAME: 0}, {NAME: 3}]


@pytest.mark.parametrize("accept", ["*/*", "text/html, */*;q=0.1", f"{ARROW};q=0.2, {JSON};q=0.9"])
def test_json_is_what_those_get_who_take_anything(served: Live, accept: str) -> None:
    found = ask(served[1], {"rows": ROWS}, {"Accept": accept})
    assert (found.status_code, found.json()[0]) == (200, {NAME: 3})


@pytest.mark.parametrize("at", ["2023-12-31T13:00:00Z", "2023-12-31T14:00:00+01:00", 1_704_027_600_000_000])
def test_a_moment_of_the_past(served: Live, at: Any) -> None:
    client = served[1]
    expected = [{NAME: 2}, {NAME: 0}, {NAME: 2}]
    assert ask(client, {"rows": ROWS, "at": at}).json() == expected
    assert ask(client, {"rows": ROWS}, at=at).json() == expected
    assert ask(client, BODIES[ARROW], {"Content-Type": ARROW}, at=at).json() == expected


def test_types_survive_arrow(served: Live) -> None:
    found = pl.read_ipc_stream(ask(served[1], BODIES[ARROW], {"Content-Type": ARROW, "Accept": ARROW}).content)
    assert found.schema == pl.Schema({NAME: pl.Int64})


def test_what_is_known_later_is_not_there_before(served: Live, clock: ManualClock) -> None:
    """The clock decides where no moment is given."""
    clock.advance(12 * 3_600_000_000)
    assert ask(served[1], {"rows": ROWS[:1]}).json() == [{NAME: 2}]


@pytest.mark.parametrize(
    ("content", "headers", "query", "said"),
    [
        ({"rows": []}, {}, {}, "no rows in the body"),
        ({"rows": ROWS, "when": 1}, {}, {}, "unknown field `when`"),
        ([], {}, {}, "the body is not right"),
        (b"{", {}, {}, "the body is not right"),
        (b"", {}, {}, "the body is not right"),
        (b"x", {"Content-Type": ARROW}, {}, "no Arrow IPC stream"),
        (b"[1]", {"Content-Type": NDJSON}, {}, "line 1 is no JSON object"),
        (b"a,b", {"Content-Type": "text/csv"}, {}, "rows cannot be read from 'text/csv'"),
        ({"rows": ROWS}, {"Accept": "text/html"}, {}, "rows cannot be answered as 'text/html'"),
        ({"rows": ROWS, "at": 0}, {}, {"at": "2023-12-31"}, "at is given in the address and in the body"),
        ({"rows": ROWS, "at": "yesterday"}, {}, {}, "'yesterday'"),
        ({"rows": ROWS}, {}, {"at": "9" * 30}, "is no time"),
        ({"rows": ROWS, "at": -(10**25)}, {}, {}, "is no time"),
        ({"rows": ROWS, "at": "2024-06-01"}, {}, {}, "is in the future"),
        ({"rows": [{"carrier": "UA"}, {"carrier": [1]}]}, {}, {}, "the rows are no table"),
        ({"rows": [{"carrier": 2**70}]}, {}, {}, ""),
        ({"rows": [{"carrier": 1}]}, {}, {}, "carrier"),
    ],
)
def test_what_is_wrong_is_told(served: Live, content: Any, headers: dict[str, str], query: Any, said: str) -> None:
    found = ask(served[1], content, headers, **query)
    assert found.status_code == 400, found.text
    assert found.json()["error"]["code"] in ("invalid_argument", "invalid_data")
    assert said in found.json()["error"]["message"]


def test_what_is_not_there_is_named(served: Live) -> None:
    client = served[1]
    found = client.post(f"{PREFIX}/features/servic", json={"rows": ROWS})
    assert found.status_code == 404
    assert found.json()["error"]["known"] == ["service"]
    assert ask(client, {"rows": [{"airline": "UA"}]}).status_code == 404


def test_before_anything_is_materialized_it_is_not_ready(live: Live) -> None:
    found = ask(live[1], {"rows": ROWS})
    assert (found.status_code, found.json()["error"]["code"]) == (503, "not_ready")
    assert "Retry-After" in found.headers


def test_the_forms_are_in_the_description(client: TestClient) -> None:
    described = client.get(f"{PREFIX}/openapi.json").json()["paths"][f"{PREFIX}/features/{{service}}"]["post"]
    assert set(described["requestBody"]["content"]) == set(BODIES)
    assert set(described["requestBody"]["content"][JSON]["schema"]["properties"]) == {"rows", "at"}
    assert set(described["responses"]["200"]["content"]) == set(ANSWERS)
    assert {one["name"] for one in described["parameters"]} == {"service", "at"}
