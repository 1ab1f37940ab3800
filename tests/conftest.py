"""What every test shares: a clock that stands still, services that may be absent, no way out."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from hypothesis import HealthCheck, settings

from tidemill.core.clock import ManualClock

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tidemill.core.scope import Scope
    from tidemill.registry.service import Registry
    from tidemill.stores.artifacts.protocol import ArtifactStore
    from tidemill.stores.metadata.protocol import MetadataStore
    from tidemill.stores.streams.protocol import StreamStore
    from tidemill.stores.tables.protocol import TableStore
    from tidemill.tracking.service import Tracking

NEW_YEAR_2024 = 1_704_067_200_000_000  # 2024-01-01T00:00Z in microseconds

# -- hypothesis: TIDEMILL_HYPOTHESIS=dev|ci|thorough -----------------------------------------------

settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=100, derandomize=True, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("TIDEMILL_HYPOTHESIS") or ("ci" if os.environ.get("CI") else "dev"))


# -- order -----------------------------------------------------------------------------------------

LONG = ("system", "test_second_domain.py", "docs/test_docs.py", "streaming", "engines", "data/test_crashes.py")
"""Where single tests take long: they go first, so that at the end no process is left alone with one of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = tuple(str(Path(__file__).parent / place) for place in LONG)
    items.sort(key=lambda item: not str(item.path).startswith(places))


# -- time ------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> ManualClock:
    """A clock at 2024-01-01T00:00Z that moves only when told to."""
    return ManualClock(NEW_YEAR_2024)


# -- a project's stores in a temporary folder, and the services that others build upon ----------------


@pytest.fixture
def scope(clock: ManualClock) -> Scope:
    from tidemill.core.scope import Scope

    return Scope("bikes", "ada", clock)


@pytest.fixture
def metadata(tmp_path: Path) -> Iterator[MetadataStore]:
    from tidemill.stores.metadata.open import open_metadata

    with closing(open_metadata("sqlite:", tmp_path)) as store:
        yield store


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    from tidemill.stores.artifacts.open import open_artifacts

    return open_artifacts("file:", tmp_path)


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[StreamStore]:
    from tidemill.stores.streams.open import open_streams

    with closing(open_streams("file:", tmp_path)) as store:
        yield store


@pytest.fixture
def tables(tmp_path: Path) -> TableStore:
    from tidemill.stores.tables.open import open_tables

    return open_tables("delta:", tmp_path)


@pytest.fixture
def tracking(scope: Scope, metadata: MetadataStore, artifacts: ArtifactStore, tmp_path: Path) -> Tracking:
    from tidemill.tracking.service import Tracking

    return Tracking(scope, metadata=metadata, artifacts=artifacts, folder=tmp_path)


@pytest.fixture
def registry(scope: Scope, metadata: MetadataStore, artifacts: ArtifactStore) -> Registry:
    from tidemill.registry.service import Registry

    return Registry(scope, metadata=metadata, artifacts=artifacts)


# -- services --------------------------------------------------------------------------------------

Require = Callable[[str, Callable[[], object]], None]


def require_service(name: str, reach: Callable[[], object]) -> None:
    """Go on if the service answers. Otherwise skip, or fail where services are part of the deal.

    Args:
        name: What is missing, in the words of the message, such as "PostgreSQL at 127.0.0.1:5432".
        reach: Connects and returns anything but False; raises or returns False if the service is not there.
    """
    try:
        reason = "it is not there" if reach() is False else None
    except Exception as error:  # noqa: BLE001 - whatever a driver raises, it means "not reachable"
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else 'no message'}"
    if reason is None:
        return
    if os.environ.get("TIDEMILL_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{name} is required (TIDEMILL_REQUIRE_SERVICES=1): {reason}", pytrace=False)
    pytest.skip(f"needs {name}: {reason}")


@pytest.fixture(scope="session")
def require() -> Require:
    """`require(name, reach)`: skip, or fail with TIDEMILL_REQUIRE_SERVICES=1, unless `reach()` succeeds."""
    return require_service


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Engine]:
    """An engine on the PostgreSQL of TIDEMILL_TEST_POSTGRES_URL, for making databases."""
    from sqlalchemy import create_engine

    url = os.environ.get("TIDEMILL_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
    engine = create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    require_service(f"PostgreSQL at {engine.url.host}:{engine.url.port}", lambda: engine.connect().close())
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_url(postgres_server: Engine, worker: str) -> Iterator[str]:
    """The URL of a database of this test process's own; empty at the start of the session."""
    with fresh_database(postgres_server, f"tidemill_{worker}") as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server: Engine, worker: str) -> Iterator[str]:
    """The URL of a database that is empty at the start of this very test."""
    with fresh_database(postgres_server, f"tidemill_{worker}_empty") as url:
        yield url


@pytest.fixture(scope="session")
def worker() -> str:
    """A name for this test process that no other test process on the machine has."""
    return f"{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{os.getpid()}"


@contextmanager
def fresh_database(server: Engine, name: str) -> Iterator[str]:
    """Create a database; drop it afterwards, whoever is still connected.

    Its commits do not wait for the disk: tests end clients, not the server.
    """
    drop = f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'
    with server.connect() as connection:
        connection.exec_driver_sql(drop)
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    yield server.url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.exec_driver_sql(drop)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Engine]:
    """An engine on the MariaDB of TIDEMILL_TEST_MARIADB_URL, for making databases."""
    from sqlalchemy import create_engine

    url = os.environ.get("TIDEMILL_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test")
    engine = create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    require_service(f"MariaDB at {engine.url.host}:{engine.url.port}", lambda: engine.connect().close())
    yield engine
    engine.dispose()


@pytest.fixture
def mariadb_url(mariadb_server: Engine, worker: str) -> Iterator[str]:
    """The URL of a MariaDB database that is empty at the start of this very test."""
    with fresh_mariadb(mariadb_server, f"tidemill_{worker}_empty") as url:
        yield url


@contextmanager
def fresh_mariadb(server: Engine, name: str) -> Iterator[str]:
    """Create a database; drop it afterwards."""
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS `{name}`")
        connection.exec_driver_sql(f"CREATE DATABASE `{name}`")
    yield server.url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE `{name}`")


@pytest.fixture(scope="session")
def redis_url(worker: str) -> str:
    """The URL of a Redis database of this test process's own (0 to 15 by worker)."""
    url = os.environ.get("TIDEMILL_TEST_REDIS_URL", "redis://127.0.0.1:6379")
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 6379)
    require_service(f"Redis at {address[0]}:{address[1]}", lambda: answers(address))
    number = int("".join(filter(str.isdigit, worker.split("_")[0])) or 0) % 15 + 1
    return urlunsplit(parts._replace(path=f"/{number}"))


def answers(address: tuple[str, int]) -> bool:
    with socket.create_connection(address, timeout=3):
        return True


# -- browser ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The path of a Chromium: TIDEMILL_TEST_CHROMIUM, one on the PATH, or one that Playwright downloaded."""
    path = find_chromium()
    require_service("a Chromium", lambda: path is not None)
    assert path is not None
    return path


def find_chromium() -> str | None:
    names = (os.environ.get("TIDEMILL_TEST_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    on_path = (shutil.which(name) for name in names if name)
    return next((path for path in on_path if path), None) or playwright_chromium()


def playwright_chromium() -> str | None:
    cache = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or "~/.cache/ms-playwright"
    found = sorted(Path(cache).expanduser().glob("chromium-*/chrome-linux*/chrome"))
    return str(found[-1]) if found else None


# -- offline ---------------------------------------------------------------------------------------


class OutboundGuard:
    """Refuses, and remembers, every connection and name look-up of this process that leaves the machine."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def check(self, host: object) -> None:
        if not is_loopback(host):
            self.refused.append(str(host))
            raise PermissionError(f"A test may not reach {host!r}: only loopback addresses are allowed.")


def is_loopback(host: object) -> bool:
    """Whether a socket address's host stays on this machine; names other than localhost are not resolved."""
    text = host.decode() if isinstance(host, bytes) else host
    if text is None or text in ("", "localhost", socket.gethostname()):
        return True
    if not isinstance(text, str):
        return False
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@pytest.fixture(autouse=True)
def outbound_guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[OutboundGuard]:
    """Fails the test on anything that leaves loopback, even where the code under test swallows the error."""
    guard = OutboundGuard()
    for method in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, method, guarded_method(guard, method))
    for function in ("getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, function, guarded_look_up(guard, getattr(socket, function)))
    yield guard
    if guard.refused:
        pytest.fail(f"left loopback: {', '.join(guard.refused)}", pytrace=False)


def guarded_method(guard: OutboundGuard, name: str) -> Callable[..., Any]:
    original = getattr(socket.socket, name)

    def guarded(self: socket.socket, *arguments: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            guard.check(arguments[-1][0])  # the address is the last argument of all three
        return original(self, *arguments)

    return guarded


def guarded_look_up(guard: OutboundGuard, original: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: object, *arguments: Any, **options: Any) -> Any:
        guard.check(host)
        return original(host, *arguments, **options)

    return guarded
