"""The shared fixtures keep their promises: checked by running small test files under them."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HERE = Path(__file__).parent


@pytest.fixture
def run_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs one test, given as source text, under the repository's conftest in a process of its own."""

    # The conftest takes its fixtures from `tests.fixtures`.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parent / "src"), str(HERE.parent)]))

    def run(source: str) -> pytest.RunResult:
        shutil.copy(HERE / "conftest.py", pytester.path / "conftest.py")
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider")

    return run


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_leaving_loopback_fails_the_test_even_when_the_error_is_swallowed(run_test):
    statements = [
        "socket.create_connection(('192.0.2.1', 80), timeout=1)",
        "socket.create_connection(('2001:db8::1', 80), timeout=1)",
        "socket.getaddrinfo('example.org', 80)",
        "socket.gethostbyname('example.org')",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        "asyncio.run(asyncio.open_connection('192.0.2.1', 80))",
        "urllib.request.urlopen('http://192.0.2.1/')",
    ]
    result = run_test(f"""
        import asyncio, contextlib, socket, urllib.request
        import pytest

        @pytest.mark.parametrize("statement", {statements})
        def test_it(statement):
            with contextlib.suppress(OSError):
                exec(statement)
    """)
    # Each test itself passes; the guard then fails it.
    result.assert_outcomes(passed=len(statements), errors=len(statements))
    result.stdout.fnmatch_lines(["*left loopback: *"])


def test_loopback_stays_open():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()


@pytest.mark.parametrize(("required", "outcome"), [("0", "skipped"), ("1", "errors")])
def test_an_absent_service_skips_or_fails(run_test, monkeypatch, required, outcome):
    monkeypatch.setenv("TIDEMILL_REQUIRE_SERVICES", required)
    port = closed_port()
    monkeypatch.setenv("TIDEMILL_TEST_POSTGRES_URL", f"postgresql+psycopg://postgres@127.0.0.1:{port}/test")
    monkeypatch.setenv("TIDEMILL_TEST_REDIS_URL", f"redis://127.0.0.1:{port}")
    result = run_test("""
        def test_postgres(postgres_url): pass
        def test_postgres_empty(empty_postgres_url): pass
        def test_redis(redis_url): pass
    """)
    result.assert_outcomes(**{outcome: 3})


@pytest.mark.service
def test_a_postgres_database_is_empty_and_one_s_own(postgres_url, empty_postgres_url):
    from sqlalchemy import create_engine, inspect

    assert postgres_url != empty_postgres_url
    engine = create_engine(empty_postgres_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_the_clock_stands_still(clock):
    before = clock.now()
    assert before == 1_704_067_200_000_000
    assert clock.now() == before
