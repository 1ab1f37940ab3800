"""The table of stores: every one opens by its URL, others are refused in words, other packages may add to it."""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from tidemill.core.errors import InvalidArgument, MissingExtra
from tidemill.stores import registry
from tidemill.stores.registry import BUILT_IN, KINDS, Backend, backends, find_backend, open_store

EMBEDDED = [backend for backend in BUILT_IN if backend.needs is None and backend.kind in KINDS]


@pytest.mark.parametrize("backend", EMBEDDED, ids=lambda backend: f"{backend.kind}-{backend.scheme}")
def test_every_embedded_store_opens(backend: Backend, tmp_path: Path) -> None:
    assert backend.installed
    store = open_store(backend.kind, f"{backend.scheme}:", tmp_path)
    getattr(store, "close", lambda: None)()


def test_the_defaults_of_the_settings_are_known(tmp_path: Path) -> None:
    from tidemill.core.settings import Settings

    settings = Settings(project="p", folder=tmp_path)
    for kind in KINDS:
        assert find_backend(kind, getattr(settings, kind)).kind == kind


@pytest.mark.parametrize(
    ("kind", "url", "words"),
    [
        ("streams", "kafka://u:geheim77@h", r"streams store cannot be 'kafka'.*file:, memory:"),
        ("metadata", "metadata.db", r"has no scheme.*sqlite:, postgresql:"),
        ("tables", "", "has no scheme.*delta:"),
        ("queue", "file:", r"'queue' is no kind.*metadata, artifacts, tables, online, streams"),
    ],
)
def test_what_is_unknown_is_refused_with_the_known_ones(kind: str, url: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        open_store(kind, url, tmp_path)
    assert "geheim77" not in str(caught.value)


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path) -> None:
    backend = Backend("online", "redis", "nowhere:open", "no_such_module_x", "redis")
    assert not backend.installed
    assert backend.install == "pip install 'tidemill[redis]'"
    with pytest.raises(MissingExtra, match=r"the online store redis .*pip install 'tidemill\[redis\]'"):
        backend.open("redis:", tmp_path)


def test_postgres_names_its_extra() -> None:
    assert find_backend("metadata", "postgresql://h/db").extra == "postgres"


def test_another_package_adds_a_store_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside_store_x.py").write_text("def open_it(url, home):\n    return url, home\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("streams.pigeon", "outside_store_x:open_it", registry.GROUP)
    points = importlib.metadata.entry_points
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints([*points(group=group), point]))
    backends.cache_clear()
    try:
        assert open_store("streams", "pigeon:loft", tmp_path) == ("pigeon:loft", tmp_path)
    finally:
        monkeypatch.undo()
        backends.cache_clear()
