"""Every noun: lists with pages, single things, and things that do not exist."""

from __future__ import annotations

from typing import Any

import pytest
from litestar.testing import TestClient

from tidemill.api.app import PREFIX
from tidemill.core.clock import ManualClock
from tidemill.platform import Platform


def get(client: TestClient, path: str, **query: Any) -> Any:
    response = client.get(f"{PREFIX}{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


LISTS = ["/runs", "/datasets", "/models", "/endpoints", "/endpoints/late-flight/generations", "/models/late-flight/aliases",
         "/monitors/watch/windows", "/monitors/watch/series", "/alerts", "/notifications", "/decisions",
         "/sources/flights/arrivals"]  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
def test_pages_of_a_list_join_without_gap_or_overlap(client: TestClient, path: str) -> None:
    whole = get(client, path, limit=1000)
    assert whole["total"] >= len(whole["items"])
    joined: list[Any] = []
    offset = 0
    while len(joined) < min(whole["total"], 60):
        page = get(client, path, limit=20, offset=offset)
        joined += page["items"]
        if page["next_offset"] is None:
            break
        offset = page["next_offset"]
    assert joined == whole["items"][: len(joined)]
    assert get(client, path, limit=5, offset=10**6) == {"items": [], "total": whole["total"], "next_offset": None}


def test_the_project(client: TestClient, platform: Platform) -> None:
    assert get(client, "/projects") == [{"name": "flights", "principal": "ada", "now": platform.scope.now()}]


def test_runs_are_searched_and_sorted(client: TestClient) -> None:
    trials = get(client, "/runs", kind="trial", order="metrics.roc_auc DESC")["items"]
    assert trials[0]["params"]["max_depth"] == 6
    assert get(client, "/runs", filter="metrics.roc_auc > 0.74 AND status = 'finished'")["total"] > 0
    assert get(client, "/runs", status="failed")["total"] == 1
    response = client.get(f"{PREFIX}/runs", params={"filter": "metrics.roc_auc >>"})
    assert response.status_code == 400


def test_a_run_with_its_metrics_files_and_lineage(client: TestClient) -> None:
    run = get(client, "/runs", kind="pipeline", status="finished")["items"][0]
    detail = get(client, f"/runs/{run['id']}")
    assert detail["metrics"]["roc_auc"] == pytest.approx(0.7412345)
    assert len(detail["children"]) == 1
    curve = get(client, f"/runs/{run['id']}/metrics/loss")
    assert (curve["total"], curve["items"][0]["step"]) == (60, 0)
    file = client.get(f"{PREFIX}/runs/{run['id']}/artifacts/report.json")
    assert file.json() == {"roc_auc": 0.741}
    assert file.headers["content-disposition"] == "attachment"
    graph = get(client, "/lineage", uri=f"run/{run['id']}", direction="up")
    assert {"table", "arrival", "archive"} <= {node["kind"] for node in graph["nodes"]}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/runs/00000000", "Run with id="),
        ("/runs/x", "is not the id of a run"),
        ("/models/late-fligt", "Did you mean 'late-flight'"),
        ("/models/late-flight/versions/99", "99"),
        ("/models/nothing/aliases", "nothing"),
        ("/endpoints/late-fligt", "late-flight"),
        ("/alerts/7", "no alert"),
        ("/datasets/7", "no dataset"),
        ("/sources/flihgts", "flights"),
        ("/definitions/monitor/wach", "watch"),
        ("/lineage?uri=run/1&direction=left", "left"),
    ],
)
def test_what_is_not_there_is_said_in_words(client: TestClient, path: str, said: str) -> None:
    response = client.get(f"{PREFIX}{path}")
    assert response.status_code in (400, 404)
    assert said in response.json()["error"]["message"] + " ".join(response.json()["error"]["known"])


def test_models_versions_and_aliases(client: TestClient) -> None:
    assert [model["name"] for model in get(client, "/models")["items"]] == ["late-flight"]
    model = get(client, "/models/late-flight")
    newest = model["versions"][0]["version"]
    assert model["aliases"]["champion"] == newest
    assert get(client, f"/models/late-flight/versions/{newest}")["format"] == "skops"


def test_an_alias_moves_with_a_reason(client: TestClient) -> None:
    response = client.put(f"{PREFIX}/models/late-flight/aliases/reviewed", json={"version": 1, "reason": "looked at"})
    assert response.status_code == 200
    assert response.json()["reviewed"] == 1
    move = get(client, "/models/late-flight/aliases")["items"][0]
    assert (move["alias"], move["after"], move["reason"]) == ("reviewed", 1, "looked at")
    wrong = client.put(f"{PREFIX}/models/late-flight/aliases/reviewed", json={"version": 99, "reason": "no"})
    assert wrong.status_code == 404


def test_endpoints_and_monitors(client: TestClient) -> None:
    assert get(client, "/endpoints/late-flight")["graph"]["steps"][0][0] == "enrich"
    assert [one["name"] for one in get(client, "/monitors")] == ["watch"]
    only = get(client, "/monitors/watch/series", series="roc_auc")["items"]
    assert {one["series"] for one in only} == {"roc_auc"}
    assert get(client, "/monitors/watch/evidence") == []


def test_alerts_and_decisions(client: TestClient) -> None:
    for alert in get(client, "/alerts")["items"]:
        assert get(client, f"/alerts/{alert['id']}")["name"] == "DriftDetected"
    assert all(one["state"] == "resolved" for one in get(client, "/alerts", state="resolved")["items"])
    assert all(one["action"] == "retrain" for one in get(client, "/decisions", action="retrain")["items"])


def test_events_are_followed_by_sequence(client: TestClient) -> None:
    first = get(client, "/events", limit=5)
    assert [event["seq"] for event in first["items"]] == sorted(event["seq"] for event in first["items"])
    rest = get(client, "/events", after=first["last"], limit=1000)
    assert rest["items"][0]["seq"] > first["last"]
    assert get(client, "/events", after=rest["last"]) == {"items": [], "last": rest["last"]}
    assert {event["kind"] for event in get(client, "/events", kind="run.ended", limit=50)["items"]} == {"run.ended"}


def test_definitions(client: TestClient) -> None:
    assert [one["name"] for one in get(client, "/definitions", kind="monitor")] == ["watch"]
    assert get(client, "/definitions/monitor/watch")[0]["version"] == 1
    assert get(client, "/sources")[0]["name"] == "flights"
    assert get(client, "/sources/flights")["arrivals"][0]["rows"] == 80_789


def test_pushed_rows_are_there_when_it_answers(live: tuple[Platform, TestClient], clock: ManualClock) -> None:
    platform, client = live
    rows = [
        {"flight_id": f"f{i}", "carrier": "UA", "landed_at": "2023-12-31T12:00:00Z", "delay": 10.0 * i}
        for i in range(4)
    ]
    for part in (rows[:1], rows[1:]):
        response = client.post(f"{PREFIX}/sources/landings/rows", json={"rows": part})
        assert response.status_code == 200, response.text
        platform.features.materialize()
    assert platform.data.scan("landings").collect().height == 4
    vectors = client.post(f"{PREFIX}/features/service", json={"rows": [{"carrier": "UA"}, {"carrier": "ZZ"}]})
    assert vectors.status_code == 200, vectors.text
    assert [next(iter(row.values())) for row in vectors.json()] == [4, 0]
    assert get(client, "/features")["views"][0]["name"] == "lateness"


def test_the_catalog_finds_shows_and_plans(live: tuple[Platform, TestClient]) -> None:
    client = live[1]
    assert [one["name"] for one in get(client, "/feature-catalog", q="LANDINGS late")] == ["lateness"]
    assert get(client, "/feature-catalog", tag="none") == []
    assert get(client, "/feature-catalog", tag=["none", "other"]) == []
    assert "feature_service/service" in get(client, "/feature-views/lateness")["consumers"]
    assert get(client, "/feature-services/service")["entry"]["uses"] == ["lateness"]
    assert client.get(f"{PREFIX}/feature-services/lateness").status_code == 404
    assert {one["kind"] for one in get(client, "/feature-catalog/plan")} >= {
        "source",
        "feature_view",
        "feature_service",
    }


def test_rows_for_nobody_and_no_rows_are_errors(live: tuple[Platform, TestClient]) -> None:
    client = live[1]
    assert client.post(f"{PREFIX}/sources/landing/rows", json={"rows": [{"a": 1}]}).status_code == 404
    assert client.post(f"{PREFIX}/sources/landings/rows", json={"rows": []}).status_code == 400
    assert client.post(f"{PREFIX}/features/service", json={"rows": []}).status_code == 400
    assert client.post(f"{PREFIX}/features/servic", json={"rows": [{"carrier": "UA"}]}).status_code == 404


def test_labels_are_counted_when_it_answers(live: tuple[Platform, TestClient]) -> None:
    client = live[1]
    rows = [{"id": "f1", "label": True, "known_at": "2023-12-31T12:00:00Z"}, {"id": "f2", "label": False}]
    first = client.post(f"{PREFIX}/labels/late", json={"rows": rows})
    assert first.status_code == 200, first.text
    assert first.json()["accepted"] == 2
    again = client.post(f"{PREFIX}/labels/late", json={"rows": [{"id": "f1", "label": False}, rows[1]]})
    assert (again.json()["corrections"], again.json()["duplicates"]) == (1, 1)
