"""The pages over HTTP: what they say, their JSON twins, their parts, and that names are only text on them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from litestar.testing import TestClient
from tests.ui.seeding import DAY, NASTY

from tidemill.platform import Platform

VOID = {"meta", "link", "input", "br", "hr", "img"}


class Page(HTMLParser):
    """A page taken apart; fails on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self.styled: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.headings: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        if tag == "script":
            self.scripts.append(given)
        if tag == "style" or "style" in given:
            self.styled.append(tag)
        self.handlers += [name for name in given if name.startswith("on")]
        if given.get("id"):
            self.ids.append(given["id"] or "")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())
            if self.open and self.open[-1] in ("h1", "h2", "h3"):
                self.headings.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(self.words)


def page(client: TestClient, path: str, status: int = 200) -> Page:
    response = client.get(path)
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("text/html")
    return Page(response.text)


@pytest.fixture(scope="module")
def pipeline_run(seeded_platform: Platform) -> str:
    return seeded_platform.tracking.find(kind="pipeline", status="finished")[0].id


PAGES = [
    "/",
    "/runs",
    "/runs/{run}",
    "/features",
    "/features?q=nothing+says+this",
    "/features/views/airport_weather",
    "/features/services/weather_now",
    "/features/services/late_flight",
    "/endpoints",
    "/endpoints/late-flight",
    "/monitoring",
    "/monitoring/watch",
    "/monitoring/watch?range=all&effect=psi",
    "/monitoring/watch?feature=carrier",
    "/_patterns",
]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_sound_html_without_inline_scripts_and_styles(
    client: TestClient, path: str, pipeline_run: str
) -> None:
    found = page(client, path.format(run=pipeline_run))
    assert len(found.ids) == len(set(found.ids))
    assert found.headings
    assert found.styled == []
    assert found.handlers == []
    assert all(script.get("src") for script in found.scripts)
    assert all(script["src"].startswith("/static/") for script in found.scripts)


@pytest.mark.parametrize("path", PAGES)
def test_every_link_leads_somewhere(client: TestClient, path: str, pipeline_run: str) -> None:
    base = path.format(run=pipeline_run).partition("?")[0]
    links = dict.fromkeys(link.partition("#")[0] for link in page(client, path.format(run=pipeline_run)).links)
    chosen = [link for link in links if "window=" not in link][:30] + [link for link in links if "window=" in link][-1:]
    for link in chosen:
        address = base + link if link.startswith("?") else link
        if address:
            assert client.get(address).status_code == 200, (path, link)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/runs",
        "/features",
        "/features/views/airport_weather",
        "/features/services/weather_now",
        "/endpoints",
        "/endpoints/late-flight",
        "/monitoring",
        "/monitoring/watch",
        "/_patterns",
    ],
)
def test_every_page_is_also_json(client: TestClient, path: str) -> None:
    twin = client.get(path, params={"format": "json"})
    assert twin.headers["content-type"] == "application/json"
    assert twin.json()["project"] == "flights"
    if path != "/_patterns":
        assert client.get(("/overview" if path == "/" else path) + ".json").json() == twin.json()


def test_features_are_found_and_shown(client: TestClient) -> None:
    shown = page(client, "/features?tag=weather")
    assert "/features/views/airport_weather" in shown.links
    assert "/features/services/late_flight" not in shown.links
    assert [row["entry"]["name"] for row in client.get("/features.json", params={"q": "STATION"}).json()["rows"]] == [
        "airport_weather"
    ]
    found = page(client, "/features/views/airport_weather")
    assert "/features/services/weather_now" in found.links
    assert "What the airport's station saw last." in found.text
    assert "stale" in found.text
    assert "Air <b>outside</b>" in found.text  # as text: no markup of users' words
    state = client.get("/features/views/airport_weather.json").json()
    assert [(one["name"], one["statistics"]["rows"]) for one in state["columns"]] == [
        ("airport_weather__temp", 3),
        ("airport_weather__sky", 3),
    ]
    assert [box["kind"] for box in state["lineage"]["boxes"]] == ["source", "table", "feature view", "feature service"]
    assert "/endpoints/late-flight" in page(client, "/features/services/late_flight").links
    assert "Known: airport_weather" in page(client, "/features/views/airport_wether", 404).text


def test_a_run_is_also_json(client: TestClient, pipeline_run: str) -> None:
    twin = client.get(f"/runs/{pipeline_run}.json").json()
    assert twin == client.get(f"/runs/{pipeline_run}?format=json").json()
    assert twin["metrics"]["roc_auc"] == pytest.approx(0.7412345)


def test_the_overview_says_what_needs_somebody(client: TestClient) -> None:
    text = page(client, "/").text
    assert "Pipeline nightly" in text
    assert "InvalidData: column 'visib' is missing" in text
    assert "DriftDetected: airport_weather__temp" in text
    state = client.get("/overview.json").json()
    assert [station["name"] for station in state["stations"]] == [
        "Sources",
        "Features",
        "Runs",
        "Models",
        "Endpoints",
        "Monitors",
    ]
    assert state["attention"][0]["state"] == "broken"
    assert {"retrain", "promote", "alias"} <= {one["word"] for one in state["happened"]}
    assert state["happened"] == sorted(state["happened"], key=lambda one: -one["at"])


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/", "tidemill apply"),
        ("/runs", "tidemill run"),
        ("/features", "tidemill apply"),
        ("/endpoints", "tidemill apply"),
        ("/monitoring", "tidemill apply"),
    ],
)
def test_an_empty_page_says_what_to_do(empty_client: TestClient, path: str, said: str) -> None:
    assert said in page(empty_client, path).text


def test_a_name_is_text_and_never_markup(client: TestClient) -> None:
    html = client.get("/runs").text
    assert "<script>alert" not in html
    assert NASTY in " ".join(Page(html).words)
    run = next(one for one in client.get("/runs.json").json()["runs"] if one["name"] == NASTY)
    found = page(client, f"/runs/{run['id']}")
    assert found.headings[0] == NASTY
    assert "<b>sea</b>" in found.text


def test_runs_are_filtered_sorted_and_paged_by_the_address(client: TestClient) -> None:
    trials = client.get("/runs.json", params={"kind": "trial", "order": "metrics.`roc_auc` DESC"}).json()
    assert trials["runs"][0]["metrics"]["roc_auc"] == pytest.approx(0.741)
    assert "metrics.%60roc_auc%60+ASC" in client.get("/runs", params={"order": "metrics.`roc_auc` DESC"}).text
    assert client.get("/runs.json", params={"filter": "params.max_depth = '6'"}).json()["total"] > 0
    assert client.get("/runs.json", params={"offset": 10**6}).json()["runs"] == []


def test_a_filter_that_cannot_be_read_is_told_in_place(client: TestClient) -> None:
    found = page(client, "/runs?filter=metrics.auc+%3E%3E")
    assert "not understood" in found.text
    assert client.get("/runs.json?filter=metrics.auc+%3E%3E").json()["runs"]


def test_a_run_shows_where_it_came_from_and_what_came_of_it(client: TestClient, pipeline_run: str) -> None:
    text = page(client, f"/runs/{pipeline_run}").text
    for said in (
        "late_flight_pipeline",
        "0.7412",
        "80,789",
        "report.json",
        "trial-1",
        "archive",
        "late-flight v",
        "ada",
    ):
        assert said in text


def test_what_a_run_records_is_shown_in_its_unit(client: TestClient, pipeline_run: str) -> None:
    found = page(client, f"/runs/{pipeline_run}")
    for said in ("test span 28 d", "promoted yes", "since 2013-11-18 00:55 UTC", "rows dataset/abababab"):
        assert said in found.text
    assert re.search(r"peak memory [\d.]+ [MG]B processor time [\d.]+ m?s wall time [\d.]+ m?s", found.text)
    html = client.get(f"/runs/{pipeline_run}").text
    assert "<summary>FeatureService(view, view, " in html, "a long text is opened by who wants to read it"
    assert client.get(f"/runs/{pipeline_run}.json").json()["result"]["test_span"] == 28 * DAY


def test_the_endpoint_shows_versions_traffic_and_graph(client: TestClient) -> None:
    text = page(client, "/endpoints/late-flight").text
    for said in ("serving", "late-flight@champion", "p99", "enrich", "shadow", "DriftDetected"):
        assert said in text
    seen = client.get("/endpoints/late-flight.json").json()["traffic"]
    assert (seen["requests"], seen["rows"]) == (50, 400)
    assert 0 < seen["p50"] <= seen["p99"]


def test_the_monitor_shows_which_input_moved(client: TestClient) -> None:
    state = client.get("/monitoring/watch.json", params={"range": "90"}).json()
    assert len(state["heat"]["columns"]) == 90
    strongest = next(name for name, _ in state["heat"]["rows"] if name != "prediction")
    assert strongest == "airport_weather__temp"
    assert state["evidence"]["limit"] == pytest.approx(1.4771, abs=1e-3)
    assert {chart["title"] for chart in state["performance"]} == {"roc_auc", "log_loss", "gap"}
    assert next(mark["text"] for mark in state["performance"][0]["marks"]).startswith("v")
    alarms = [cell for _, cells in state["heat"]["rows"] for cell in cells if cell and cell["alarm"]]
    assert alarms


def test_a_cell_leads_to_both_distributions_with_the_bins_named(client: TestClient) -> None:
    state = client.get("/monitoring/watch.json").json()
    _, cells = next(row for row in state["heat"]["rows"] if row[0] == "airport_weather__temp")
    address = cells[-1]["href"].partition("#")[0]
    detail = client.get(address + "&format=json").json()["detail"]
    assert detail["feature"] == "airport_weather__temp"
    assert detail["problem"] is None
    assert detail["responsible"][0].startswith("> ")
    assert sum(one["reference"] for one in detail["bins"]) == pytest.approx(1)
    assert sum(one["window"] for one in detail["bins"]) == pytest.approx(1)
    assert "Most of the difference is in > " in page(client, address).text
    part = client.get(address + "&part=distribution").text
    assert part.lstrip().startswith("<h3>airport_weather__temp")


@pytest.mark.parametrize("path", ["/?part=live", "/monitoring/watch?part=state", "/endpoints/late-flight?part=state"])
def test_the_live_part_is_only_a_part_and_says_when(client: TestClient, path: str) -> None:
    html = client.get(path).text
    assert "<html" not in html
    assert "as of" in html
    assert 'hx-trigger="every 2s"' in html


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/monitoring/wach", 404, "Did you mean 'watch'?"),
        ("/monitoring/watch?range=7", 400, "Known: 30, 90, all"),
        ("/monitoring/watch?effect=x", 400, "Known: effect"),
        ("/monitoring/watch?feature=hour&window=5", 404, "no window"),
        ("/runs/ffffffff", 404, "not found"),
        ("/endpoints/x", 404, "Known: late-flight"),
        ("/runs?kind=x", 400, "Known: run"),
    ],
)
def test_an_error_is_a_page_in_the_words_of_the_error(client: TestClient, path: str, status: int, said: str) -> None:
    assert said in page(client, path, status).text
    twin = client.get(path + ("&" if "?" in path else "?") + "format=json")
    assert (twin.status_code, set(twin.json())) == (status, {"error"})


def test_a_feature_without_a_profile_says_so(client: TestClient) -> None:
    detail = client.get("/monitoring/watch?feature=nothing&format=json").json()["detail"]
    assert "nothing" in detail["problem"]


def test_static_files_are_there_and_nothing_else(client: TestClient) -> None:
    for path in (
        "css/app.css",
        "js/app.js",
        "js/charts.js",
        "icon.svg",
        "vendor/htmx.min.js",
        "vendor/uPlot.iife.min.js",
    ):
        assert client.get(f"/static/{path}").status_code == 200, path
    for path in ("../rendering.py", "%2e%2e/rendering.py", "css/nothing.css"):
        assert client.get(f"/static/{path}").status_code == 404, path


def test_scripts_stay_small(client: TestClient) -> None:
    import gzip

    files = ("vendor/htmx.min.js", "vendor/uPlot.iife.min.js", "js/app.js", "js/charts.js")
    assert sum(len(gzip.compress(client.get(f"/static/{path}").content)) for path in files) < 120_000


def test_many_runs_are_sent_one_page_at_a_time(client: TestClient, seeded_platform: Platform) -> None:
    state: dict[str, Any] = client.get("/runs.json").json()
    with seeded_platform.metadata.read() as reader:
        from tidemill.core.records.runs import Run

        assert state["total"] == reader.count(Run)
    assert len(state["runs"]) <= 50
