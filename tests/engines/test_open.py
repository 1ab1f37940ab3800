"""Engines open by their URL; what is wrong with one is said in words."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from tidemill.core.errors import InvalidArgument, MissingExtra
from tidemill.engines import open as table
from tidemill.engines.address import parse_address, parse_size
from tidemill.engines.open import Opener, open_engine


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("local", r"'local' has no scheme.*local:, ray:, dask:, spark:"),
        ("flink:", r"cannot be 'flink'.*Known: local:, ray:, dask:, spark:"),
        ("local:?memory=much", "'much' is no amount of memory"),
        ("local:?workers=0", "workers='0' of engine 'local'"),
    ],
)
def test_a_wrong_url_is_refused(url: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        open_engine(url)


def test_addresses() -> None:
    found = parse_address("ray://head:10001?workers=4&processes=no", ("workers", "processes"))
    assert (found.scheme, found.host, found.count("workers")) == ("ray", "head:10001", 4)
    assert found.flag("processes", default=True) is False
    assert parse_address("ray:", ()).count("workers") is None
    with pytest.raises(InvalidArgument, match=r"'dask' at 'head' has no port.*dask://host:port"):
        parse_address("dask://head", ())
    with pytest.raises(InvalidArgument, match="processes='maybe'"):
        parse_address("dask:?processes=maybe", ("processes",)).flag("processes", default=True)


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "0", "2 Gi", "1e9"])
def test_odd_sizes_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="no amount of memory"):
        parse_size(text)


def test_a_missing_package_is_named_with_its_extra() -> None:
    with pytest.raises(MissingExtra, match=r"the engine ray .*pip install 'tidemill\[ray\]'"):
        Opener("ray", "nowhere:open", ("no_such_module_x",), "ray").open("ray:")


def test_another_package_adds_an_engine_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside_engine_x.py").write_text("def open_it(url):\n    return url\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("abacus", "outside_engine_x:open_it", table.GROUP)
    monkeypatch.setattr(table, "entry_points", lambda group: EntryPoints([point]))
    assert open_engine("abacus:beads") == "abacus:beads"
