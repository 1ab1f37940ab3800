"""The clients against a real server: the same answers as in the process, the same errors."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.api.conftest import LIVE_CODE
from tests.api.test_server import running
from tests.ui.seeding import make_project, opened

import tidemill as tm
from tidemill.api.app import PREFIX as SERVED
from tidemill.client import exchange
from tidemill.client.clients import URL, AsyncClient, Client
from tidemill.core.clock import ManualClock
from tidemill.core.errors import (
    DeadlineExceeded,
    InvalidArgument,
    MissingExtra,
    NotFound,
    NotReady,
    TidemillError,
    Unavailable,
)
from tidemill.platform import Platform

ROWS = [{"carrier": "UA"}, {"carrier": "ZZ"}]
NAME = "lateness__late_count_24h"
LANDED = ["2023-12-31T06:00:00Z", "2023-12-31T12:00:00Z", "2023-12-31T18:00:00Z"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, str]]:
    folder = tmp_path_factory.mktemp("landings")
    make_project(folder, code=LIVE_CODE)
    with opened(folder, ManualClock(1_704_067_200_000_000)) as platform:
        platform.catalog.apply(platform.definitions)
        rows = [{"flight_id": f"f{i}", "carrier": "UA", "landed_at": at, "delay": 20.0} for i, at in enumerate(LANDED)]
        platform.push("landings", rows)
        platform.features.materialize()
        with running(platform) as url:
            yield platform, url


def test_it_is_awaited(server: tuple[Platform, str]) -> None:
    async def main() -> list[list[dict[str, Any]]]:
        async with tm.AsyncClient(server[1]) as client:
            return await asyncio.gather(*(client.features("service", ROWS, at=at) for at in LANDED))

    assert [found[0][NAME] for found in asyncio.run(main())] == [0, 1, 2]


@pytest.mark.parametrize("at", [LANDED[2], datetime(2023, 12, 31, 18, tzinfo=UTC), 1_704_045_600_000_000])
def test_the_client_that_waits_gives_the_same(server: tuple[Platform, str], at: Any) -> None:
    with tm.Client(server[1]) as client:
        assert client.features("service", ROWS, at=at) == [{NAME: 2}, {NAME: 0}]
        assert client.features("service", ROWS) == [{NAME: 3}, {NAME: 0}]


@pytest.mark.parametrize("library", ["polars", "pandas", "pyarrow"])
def test_frames_travel_as_arrow(server: tuple[Platform, str], library: str) -> None:
    platform, url = server
    frame = pl.DataFrame(ROWS)
    given = {"polars": frame, "pandas": pd.DataFrame(ROWS), "pyarrow": frame.to_arrow()}[library]
    expected = platform.features.online("service", frame)

    async def main() -> pl.DataFrame:
        async with AsyncClient(url) as client:
            return await client.features("service", given)

    assert_frame_equal(asyncio.run(main()), expected)
    with Client(url) as client:
        assert_frame_equal(client.features("service", given), expected)


def test_rows_are_taken_and_answered(server: tuple[Platform, str]) -> None:
    rows = [{"flight_id": "new", "carrier": "LX", "landed_at": LANDED[0], "delay": 20.0},
            {"flight_id": "later", "carrier": "LX", "landed_at": LANDED[1], "delay": 20.0}]  # fmt: skip

    async def main() -> pl.DataFrame:
        async with AsyncClient(server[1]) as client:
            return await client.respond("landings", pl.DataFrame(rows), "service")

    with Client(server[1]) as client:
        assert client.respond("landings", rows[:1], "service") == [{NAME: 0}]
    assert asyncio.run(main())[NAME].to_list() == [0, 1]
    with Client(server[1]) as client, pytest.raises(NotFound, match="landings"):
        client.respond("landing", rows, "service")


@pytest.mark.parametrize(
    ("service", "rows", "at", "kind"),
    [
        ("servic", ROWS, None, NotFound),
        ("a/b?c", ROWS, None, NotFound),
        ("service", [{"airline": "UA"}], None, NotFound),
        ("service", [{"carrier": 1}], None, InvalidArgument),
        ("service", [], None, InvalidArgument),
        ("service", ROWS, "2030-01-01", InvalidArgument),
    ],
)
def test_errors_are_those_of_the_server(
    server: tuple[Platform, str], service: str, rows: Any, at: Any, kind: Any
) -> None:
    with Client(server[1]) as client, pytest.raises(kind) as there:
        client.features(service, rows, at=at)
    if service == "servic":
        with pytest.raises(NotFound) as here:
            server[0].features.online(service, pl.DataFrame(rows))
        assert str(there.value) == str(here.value)
        assert (there.value.known, there.value.hint) == (here.value.known, here.value.hint)


@pytest.mark.parametrize("rows", ["UA", {"carrier": "UA"}, [1], None])
def test_what_are_no_rows_is_told_before_anything_is_sent(rows: Any) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(InvalidArgument, match="neither rows nor a frame"):
        client.features("service", rows)


def test_a_server_that_is_not_there() -> None:
    async def main() -> None:
        async with AsyncClient("http://127.0.0.1:9") as client:
            await client.features("service", ROWS)

    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 cannot be reached"):
        asyncio.run(main())


@pytest.mark.parametrize("url", ["http://127.0.0.1:x", "ftp://127.0.0.1", "127.0.0.1:7878"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"), Client(url) as client:
        client.features("service", ROWS)


def answering(status: int, content: bytes) -> httpx.MockTransport:
    return httpx.MockTransport(lambda request: httpx.Response(status, content=content))


def test_a_server_that_is_another_one() -> None:
    for content in (b"<html>", b"{}", b'{"error": "no"}'):
        with Client(transport=answering(404, content)) as client, pytest.raises(Unavailable, match="answered 404"):
            client.features("service", ROWS)


def test_an_answer_that_does_not_come() -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow", request=request)

    with Client(transport=httpx.MockTransport(slow)) as client, pytest.raises(DeadlineExceeded, match="did not answer"):
        client.features("service", ROWS)


@pytest.mark.parametrize(
    ("code", "kind"), [("not_ready", NotReady), ("missing_extra", TidemillError), ("new", TidemillError)]
)
def test_every_code_is_an_error(code: str, kind: type[TidemillError]) -> None:
    told = {
        "code": code,
        "message": "No. Expected x. Known: a, b. Do y.",
        "expected": "x",
        "known": ["a", "b"],
        "hint": "Do y",
    }
    content = json.dumps({"error": told}).encode()
    with Client(transport=answering(503, content)) as client, pytest.raises(kind) as raised:
        client.features("service", ROWS)
    assert str(raised.value) == told["message"]
    assert (raised.value.expected, raised.value.known, raised.value.hint) == ("x", ("a", "b"), "Do y")


def test_addresses_are_those_of_the_server() -> None:
    assert exchange.PREFIX == SERVED
    assert URL == "http://127.0.0.1:7878"


def test_without_httpx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    for kind in (Client, AsyncClient):
        with pytest.raises(MissingExtra, match=r"pip install 'tidemill\[client\]'"):
            kind()


def test_rows_need_no_frames(tmp_path: Path) -> None:
    """A program that asks with rows loads httpx, and neither Polars nor NumPy."""
    code = "import sys, tidemill as tm; tm.Client(); print(sorted({'polars', 'numpy', 'litestar'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "[]\n"
