"""Servers of the online stores."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import create_engine

Require = Callable[[str, Callable[[], object]], None]


@pytest.fixture(scope="session")
def mariadb_url(require: Require) -> str:
    """The URL of the MariaDB of TIDEMILL_TEST_MARIADB_URL."""
    url = os.environ.get("TIDEMILL_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test")

    def reach() -> None:
        engine = create_engine(url, connect_args={"connect_timeout": 3})
        engine.connect().close()
        engine.dispose()

    require(f"MariaDB at {url.rpartition('@')[2]}", reach)
    return url


@pytest.fixture
def own_redis(require: Require, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis of this test's own, on a socket."""
    program = shutil.which("redis-server")
    require("redis-server", lambda: program is not None)
    assert program is not None
    path = tmp_path_factory.mktemp("r") / "s"
    command = [program, "--port", "0", "--unixsocket", str(path), "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    for line in server.stdout:
        if "eady to accept connections" in line:
            break
    yield f"unix://{path}"
    server.terminate()
    server.communicate()
