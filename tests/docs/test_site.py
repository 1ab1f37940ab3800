"""The documentation builds without a warning and asks nothing of any other host when it is read."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


class Resources(HTMLParser):
    """Collects every address that a browser fetches by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag in {"script", "img", "iframe", "source", "video", "audio"}:
            self.addresses.append(values.get("src") or "")
        elif tag == "link" and values.get("rel") not in {"canonical", "prev", "next"}:
            self.addresses.append(values.get("href") or "")


def test_every_page_is_built(site):
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    built = [page.parent if page.stem == "index" else page.with_suffix("") for page in pages]
    assert [page for page in built if not (site / page / "index.html").is_file()] == []


def test_no_page_fetches_anything_from_another_host(site):
    found = {}
    for path in site.rglob("*.html"):
        reader = Resources()
        reader.feed(path.read_text(encoding="utf-8"))
        found[path.name] = [address for address in reader.addresses if "//" in address]
    assert {page: addresses for page, addresses in found.items() if addresses} == {}


def test_no_style_sheet_fetches_anything_from_another_host(site):
    fetched = [path.name for path in site.rglob("*.css") if "url(http" in path.read_text(encoding="utf-8")]
    assert fetched == []
