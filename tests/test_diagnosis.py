"""`tidemill doctor`: what it finds, what it advises, and what it keeps to itself."""

from __future__ import annotations

import importlib.util
import socket
import sys

import pytest

from tidemill.diagnosis import concealed, diagnose
from tidemill.stores.registry import KINDS, backends, open_store

SOURCES = """
import tidemill as tm
rows = tm.Source("rows", "rows.csv")
pushed = tm.Source("pushed", id="i")
events = tm.Source("events", "stream:events", id="i")
graph = tm.Graph("g").model("models:/m@champion")
watch = tm.Monitor(graph, on_alarm=[tm.notify("team"), tm.notify("temt")])
"""


@pytest.fixture
def project(tmp_path):
    """`project(settings)`: a folder with a project of this `tidemill.toml`."""

    def write(settings="", definitions=SOURCES):
        (tmp_path / "doctored.py").write_text(definitions)
        (tmp_path / "tidemill.toml").write_text(f'project = "p"\nfiles = ["doctored.py"]\n{settings}')
        return tmp_path

    yield write
    sys.modules.pop("doctored", None)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


def found(folder):
    return {finding.what: finding for finding in diagnose(folder)}


def test_without_a_project_it_says_so_and_examines_what_is_installed(tmp_path):
    findings = found(tmp_path)
    assert findings["project"].state == "optional"
    assert "Run `tidemill init`" in findings["project"].detail
    assert {f"{one.kind} on {one.scheme}" for one in backends()} <= set(findings)
    assert {"model format skops", "data of the demo"} <= set(findings)
    assert list(tmp_path.iterdir()) == []


def test_every_store_of_a_project_is_opened(project):
    findings = found(project())
    assert {kind: findings[f"{kind} store"].detail for kind in KINDS} == dict.fromkeys(KINDS, "answers")
    assert findings["definitions"].detail == "5 definitions"


DATABASES = """
import tidemill as tm
orders = tm.Source("orders", "sqlite:///shop.db?table=orders")
sales = tm.Source("sales", "sqlite:///shop.db")
stock = tm.Source("stock", "postgresql://ada@h/db?table=stock#password=NO_SUCH_VARIABLE")
"""


def test_databases_of_sources_are_examined_without_asking_them(project):
    folder = project(definitions=DATABASES)
    assert "no database" in found(folder)["source orders"].detail
    (folder / "shop.db").touch()
    findings = found(folder)
    assert findings["source orders"].state == "ok"
    assert "neither a table nor a query" in findings["source sales"].detail
    assert "NO_SUCH_VARIABLE, which is not set" in findings["source stock"].detail


def test_a_file_of_a_source_that_is_not_there(project):
    folder = project()
    assert found(folder)["source rows"].state == "attention"
    assert not {"source pushed", "source events"} & set(found(folder))
    (folder / "rows.csv").write_text("i\n1\n")
    assert found(folder)["source rows"].state == "ok"


def test_channels_are_examined_without_their_secrets(project):
    webhook = "https://chat.example/hooks/T0/s3cret?token=abc"
    findings = found(project(f'[channels]\nteam = "{webhook}"\npager = "carrier-pigeon:"\n'))
    assert (findings["channel team"].configured, findings["channel team"].state) == ("https://chat.example/***", "ok")
    assert findings["channel pager"].state == "attention"
    assert findings["channel temt"].detail == "Monitor 'watch' notifies it. Add it to [channels] of tidemill.toml."
    assert "s3cret" not in repr(findings)


@pytest.mark.parametrize("password", ["geheim", "ge%40heim", "a:b"])
def test_a_database_that_does_not_answer_is_named_without_its_password(project, password):
    url = f"postgresql+psycopg://anna:{password}@127.0.0.1:1/mill?connect_timeout=1&sslpassword=hidden"
    findings = found(project(f'metadata = "{url}"\n'))
    store = findings["metadata store"]
    assert store.state == "attention"
    assert "127.0.0.1" in store.configured
    assert not any(secret in repr(findings) for secret in (password, "ge@heim", "hidden"))


def test_an_online_server_that_is_away_is_named_with_what_waits_for_it(project):
    pytest.importorskip("redis")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"redis://ada:geheim77@127.0.0.1:{port}/0"
    folder = project(f'online = "{url}"')
    store = open_store("online", url, folder / ".tidemill")
    store.drop("v")
    store.close()
    finding = found(folder)["online store"]
    assert finding.state == "attention"
    assert f"127.0.0.1:{port} does not answer" in finding.detail
    assert "1 write waiting for it" in finding.detail
    assert "geheim77" not in str(finding)


def test_a_backend_without_its_package_says_what_to_install(project, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in ("psycopg", "skops") else real(name, *rest)
    )
    findings = found(project('metadata = "postgresql://db/mill"\n'))
    assert "pip install 'tidemill[postgres]'" in findings["metadata store"].detail
    assert findings["metadata store"].state == "attention"
    assert findings["metadata on postgresql"].state == "optional"
    assert findings["model format skops"].detail == "Not installed. Run: pip install 'tidemill[sklearn]'"


@pytest.mark.parametrize(
    ("settings", "definitions", "what", "said"),
    [
        ('tables = "iceberg:"\n', SOURCES, "tables store", "delta:"),
        ("", "1 / 0\n", "definitions", "division by zero"),
        ("", "", "definitions", "files = [...]"),
        ("homme = 1\n", SOURCES, "project", "homme"),
    ],
)
def test_what_is_wrong_needs_attention(project, settings, definitions, what, said):
    finding = found(project(settings, definitions))[what]
    assert finding.state == "attention"
    assert said in finding.detail


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:", "sqlite:"),
        ("redis://:word@host:6379/0", "redis://:***@host:6379/0"),
        ("s3://bucket/x?aws_secret_access_key=abc&region=eu", "s3://bucket/x?aws_secret_access_key=***&region=eu"),
    ],
)
def test_urls_are_shown_without_secrets(url, shown):
    assert concealed(url) == shown
