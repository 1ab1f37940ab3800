"""The pages in a real browser: light and dark, wide and narrow, with and without scripts, by keyboard."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tidemill.api.server import bind, make_server
from tidemill.platform import Platform

sync_api = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--no-first-run", "--disable-dev-shm-usage",
]  # fmt: skip
SERIOUS = ("serious", "critical")
ADDRESSES = {
    "overview": "/",
    "features": "/features",
    "feature": "/features/views/airport_weather",
    "service": "/features/services/weather_now",
    "runs": "/runs",
    "run": "/runs/{run}",
    "endpoints": "/endpoints",
    "endpoint": "/endpoints/late-flight",
    "monitoring": "/monitoring",
    "monitor": "/monitoring/watch?feature=airport_weather__temp",
    "patterns": "/_patterns",
    "failure": "/monitoring/wach",
}


@pytest.fixture(scope="module")
def server(seeded_platform: Platform) -> Iterator[str]:
    server = make_server(seeded_platform)
    with bind("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def axe() -> str:
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


class Watched:
    """A page, everything it said and everything it asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("request", lambda request: self.asked.append(request.url))

    def check(self, *, error_page: bool = False) -> None:
        # A browser itself reports that an error page is one.
        said = [one for one in self.said if not (error_page and "status of 404" in one)]
        assert said == []
        outside = [url for url in self.asked if not url.startswith("data:") and urlsplit(url).hostname != "127.0.0.1"]
        assert outside == []


@contextmanager
def looking(browser: Any, **options: Any) -> Iterator[Watched]:
    context = browser.new_context(**options)
    try:
        yield Watched(context.new_page())
    finally:
        context.close()


def address(platform: Platform, name: str) -> str:
    return ADDRESSES[name].format(run=platform.tracking.find(kind="pipeline", status="finished")[0].id)


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ADDRESSES)
def test_every_page_is_quiet_stays_here_and_can_be_used_by_all(
    server: str, browser: Any, axe: str, seeded_platform: Platform, tmp_path: Path, name: str, scheme: str, width: int
) -> None:
    with looking(browser, viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True) as watched:
        page = watched.page
        page.goto(server + address(seeded_platform, name))
        page.wait_for_load_state("load")
        if page.locator("figure[data-chart]").count():
            page.wait_for_selector(".plot.alive canvas")
        page.screenshot(path=tmp_path / f"{name}-{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (
            "the page itself must not scroll sideways"
        )
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        bad = [
            (one["id"], [node["html"][:160] for node in one["nodes"]][:3])
            for one in found["violations"]
            if one["impact"] in SERIOUS
        ]
        assert bad == []
        watched.check(error_page=name == "failure")


@pytest.mark.parametrize("name", ADDRESSES)
def test_the_policy_for_scripts_and_styles_is_kept(
    server: str, browser: Any, seeded_platform: Platform, name: str
) -> None:
    with looking(browser) as watched:
        watched.page.goto(server + address(seeded_platform, name))
        watched.page.wait_for_load_state("load")
        if watched.page.locator("figure[data-chart]").count():
            watched.page.wait_for_selector(".plot.alive canvas")
        watched.check(error_page=name == "failure")


OUTSIDE = """() => [...document.querySelectorAll('.graph .node')].flatMap(node => {
    const box = node.querySelector('rect').getBBox()
    return [...node.querySelectorAll('text')]
        .filter(text => text.getBBox().x + text.getBBox().width > box.x + box.width
                        || text.getBBox().y + text.getBBox().height > box.y + box.height)
        .map(text => text.textContent)
})"""
"""Texts of boxes that reach beyond their box."""


@pytest.mark.parametrize("name", ["endpoint", "run", "service", "feature", "patterns"])
def test_the_labels_of_boxes_fit_in(server: str, browser: Any, seeded_platform: Platform, name: str) -> None:
    with looking(browser, viewport={"width": 1280, "height": 900}) as watched:
        watched.page.goto(server + address(seeded_platform, name))
        assert watched.page.locator(".graph .node").count() > 1
        assert watched.page.evaluate(OUTSIDE) == []


def test_the_live_part_is_replaced(server: str, browser: Any) -> None:
    with looking(browser) as watched:
        watched.page.goto(server + "/")
        watched.page.evaluate("document.querySelector('#live').dataset.before = 'yes'")
        watched.page.wait_for_selector("#live:not([data-before])")
        assert watched.page.get_by_role("heading", name="Needs attention").is_visible()
        watched.check()


def test_without_scripts_everything_can_be_read(server: str, browser: Any, seeded_platform: Platform) -> None:
    with looking(browser, java_script_enabled=False) as watched:
        page = watched.page
        page.goto(server + "/monitoring/watch")
        assert page.locator("figure svg.lines path.line").count() >= 4
        link = page.locator("a.cell-link").last
        page.goto(server + link.get_attribute("href"))
        assert page.get_by_text("share of rows").is_visible()
        page.goto(server + address(seeded_platform, "run"))
        assert page.get_by_text("report.json").is_visible()


def test_by_keyboard(server: str, browser: Any) -> None:
    with looking(browser, viewport={"width": 1280, "height": 900}) as watched:
        page = watched.page
        page.goto(server + "/runs")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.name") == "filter"
        page.keyboard.type("status = 'failed'")
        page.keyboard.press("Enter")
        page.wait_for_url("**filter=status*")
        page.locator("table.rows tbody th a").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/runs/*")
        assert page.get_by_role("heading", level=1).inner_text() == "nightly"

        page.goto(server + "/monitoring/watch")
        assert page.locator("a.cell-link[tabindex='0']").count() == 1, "the grid is one stop of the tab key"
        page.locator("a.cell-link[tabindex='0']").focus()
        before = page.evaluate("document.activeElement.dataset.column")
        page.keyboard.press("ArrowLeft")
        assert int(page.evaluate("document.activeElement.dataset.column")) == int(before) - 1
        page.keyboard.press("Enter")
        page.wait_for_url("**feature=*")
        page.keyboard.press("Tab")
        watched.check()


def test_an_id_is_copied_by_a_click(server: str, browser: Any, seeded_platform: Platform) -> None:
    with looking(browser, permissions=["clipboard-read", "clipboard-write"]) as watched:
        page = watched.page
        page.goto(server + address(seeded_platform, "run"))
        button = page.locator("dl.facts button.copy").first
        button.click()
        sync_api.expect(button).to_have_text("copied")
        assert len(page.evaluate("navigator.clipboard.readText()")) == 32


def test_twice_as_large_text_still_fits(server: str, browser: Any) -> None:
    with looking(browser, viewport={"width": 640, "height": 450}, device_scale_factor=2) as watched:
        watched.page.goto(server + "/")
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 640
