from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tidemill.core.errors import Conflict, Unavailable
from tidemill.demo.servers import Server, end_orphans, free_port


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tidemill.toml").write_text('project = "empty"\n')
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    server = Server(folder, ["up"], port=free_port(), health="/health")
    yield server
    server.stop()


def test_it_is_started_again_when_it_was_killed(server: Server) -> None:
    server.start()
    first = server.pid
    assert first is not None
    assert server.answers()
    assert not server.ensure(), "it lives"
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert not server.answers()
    assert server.ensure()
    assert server.restarts == 1
    assert server.pid != first
    assert server.answers()
    server.stop()
    assert not server.answers()


def test_a_server_that_ends_at_once_says_why(folder: Path) -> None:
    (folder / "tidemill.toml").write_text('project = "empty"\nfiles = ["absent.py"]\n')
    server = Server(folder, ["serve"], port=free_port(), health="/v2/health/ready")
    with pytest.raises(Unavailable, match=r"absent\.py"), closing(_Stopping(server)):
        server.start()


class _Stopping:
    def __init__(self, server: Server) -> None:
        self._server = server

    def close(self) -> None:
        self._server.stop()


def test_servers_a_killed_demo_left_are_ended(folder: Path) -> None:
    port = free_port()
    code = (
        "import sys; from pathlib import Path; from tidemill.demo.servers import Server;"
        f"Server(Path(sys.argv[1]), ['up'], port={port}, health='/health').start(); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as demo:
        assert demo.stdout is not None
        demo.stdout.readline()
        with pytest.raises(Conflict, match="a demo runs in"):
            end_orphans(folder)
        demo.kill()
    left = Server(folder, ["up"], port=port, health="/health")
    assert left.answers()
    end_orphans(folder)
    assert not left.answers()
    end_orphans(folder)
