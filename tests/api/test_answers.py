"""Rows pushed over HTTP and answered with features: one and many, again, in the order of their times, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import polars as pl
import pytest
from litestar.testing import TestClient
from tests.api.test_push import arrow

from tidemill.api.app import PREFIX
from tidemill.platform import Platform

Live = tuple[Platform, TestClient]
NAME = "lateness__late_count_24h"
FIRST = {"flight_id": "f0", "carrier": "UA", "delay": 20.0, "landed_at": "2023-12-31T06:00:00Z"}


def landing(number: int, time: str, carrier: str = "UA") -> dict[str, Any]:
    return {**FIRST, "flight_id": f"f{number}", "carrier": carrier, "landed_at": f"2023-12-31T{time}:00Z"}


@pytest.fixture
def served(live: Live) -> Live:
    live[0].push("landings", [FIRST])
    live[0].features.materialize()
    return live


def respond(client: TestClient, rows: list[dict[str, Any]], service: str = "service", **headers: str) -> Any:
    body = json.dumps({"rows": rows})
    return client.post(f"{PREFIX}/sources/landings/answers/{service}", content=body, headers=headers)


def counts(client: TestClient, rows: list[dict[str, Any]]) -> list[int]:
    response = respond(client, rows)
    assert response.status_code == 200, response.text
    return [row[NAME] for row in response.json()]


def test_rows_are_answered_with_what_came_before_them(served: Live) -> None:
    platform, client = served
    assert counts(client, [landing(1, "07:00")]) == [1]
    assert counts(client, [landing(2, "08:00")]) == [2]
    assert counts(client, [landing(3, "06:30", "AA")]) == [0]
    assert counts(client, [landing(4, "09:00"), landing(5, "08:30"), landing(6, "08:30", "AA")]) == [4, 3, 1]
    assert counts(client, [landing(2, "08:00")]) == [2]  # it came again
    assert counts(client, [landing(7, "10:00"), landing(2, "08:00")]) == [5, 2]
    assert platform.data.scan("landings").collect().height == 8
    found = platform.features.online("service", pl.DataFrame({"carrier": ["UA"]}))
    assert found[NAME].to_list() == [6]


def test_frames_travel_as_arrow(served: Live) -> None:
    kind = "application/vnd.apache.arrow.stream"
    response = served[1].post(f"{PREFIX}/sources/landings/answers/service", content=arrow([landing(1, "07:00")]),
                              headers={"Content-Type": kind, "Accept": kind})  # fmt: skip
    assert pl.read_ipc_stream(response.content)[NAME].to_list() == [1]


def test_of_rows_with_a_fault_none_is_taken(served: Live) -> None:
    platform, client = served
    response = respond(client, [landing(1, "07:00"), {**landing(2, "08:00"), "landed_at": "no time"}])
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_data")
    changed = respond(client, [{**FIRST, "delay": 1.0}])
    assert "repeated id" in changed.json()["error"]["message"]
    assert platform.data.scan("landings").collect().height == 1


def test_names_that_are_not_known_are_refused_before_a_row_is_taken(served: Live) -> None:
    platform, client = served
    for path in ("sources/landings/answers/servise", "sources/landing/answers/service"):
        response = client.post(f"{PREFIX}/{path}", content=json.dumps({"rows": [landing(1, "07:00")]}))
        assert response.status_code == 404
        assert "Did you mean" in response.json()["error"]["message"]
    assert platform.data.scan("landings").collect().height == 1


def test_rows_of_a_view_that_was_never_materialized_are_durable_and_answered_later(live: Live) -> None:
    platform, client = live
    response = respond(client, [FIRST])
    assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")
    platform.features.materialize()
    assert counts(client, [FIRST, landing(1, "07:00")]) == [0, 1]


def test_too_many_rows_wait_until_some_are_moved(served: Live) -> None:
    platform, client = served
    up = msgspec.structs.replace(platform.settings.up, backlog=1)
    platform.settings = msgspec.structs.replace(platform.settings, up=up)
    assert counts(client, [landing(1, "07:00")]) == [1]
    platform.data.flush()
    assert counts(client, [landing(2, "08:00")]) == [2]  # by now it is known what the table is like: nothing is moved
    assert respond(client, [landing(3, "09:00")]).status_code == 429
    platform.data.flush()
    assert counts(client, [landing(3, "09:00")]) == [3]
