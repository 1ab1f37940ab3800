"""Delta tables in S3: the conformance suite, and what a server brings with it."""

from __future__ import annotations

import functools
from pathlib import Path

import polars as pl
import pytest

from tidemill.core.errors import InvalidArgument, NotFound, Unavailable
from tidemill.stores.registry import open_store
from tidemill.stores.tables.open import open_tables
from tidemill.stores.tables.protocol import TableStore
from tidemill.testing.table_suite import OpenStore, TableStoreSuite


@pytest.mark.slow  # thousands of requests to a server in Python
@pytest.mark.service
class TestS3(TableStoreSuite):
    @pytest.fixture
    def open_store(self, bucket: str, tmp_path: Path) -> OpenStore:
        return functools.partial(open_tables, f"s3://{bucket}/some/where", tmp_path)


@pytest.fixture
def store(bucket: str, tmp_path: Path) -> TableStore:
    made: TableStore = open_store("tables", f"s3://{bucket}/mill", tmp_path)
    return made


def numbers(store: TableStore, version: int | None = None) -> list[int]:
    return sorted(store.scan("sources/x", version=version).collect()["n"].to_list())


@pytest.mark.service
def test_rows_are_appended_once_and_read_by_version(store: TableStore, bucket: str, tmp_path: Path) -> None:
    assert store.append("sources/x", pl.DataFrame({"n": [1]}), once={"ingest": 7}) == 0
    assert store.append("sources/x", pl.DataFrame({"n": [1]}), once={"ingest": 7}) == 0
    assert store.append("sources/x", pl.DataFrame({"n": [2], "new": ["a"]}), once={"ingest": 8}) == 1
    other = open_tables(f"s3://{bucket}/mill", tmp_path / "elsewhere")
    assert (numbers(other), numbers(other, 0), other.position("sources/x", "ingest")) == ([1, 2], [1], 8)
    assert (other.names(), other.version("sources/y")) == (["sources/x"], None)


@pytest.mark.service
def test_compaction_vacuum_and_deletion(store: TableStore) -> None:
    for n in range(3):
        store.append("sources/x", pl.DataFrame({"n": [n]}))
    assert store.compact("sources/x") == 3
    assert store.vacuum("sources/x", keep=[1]) == 1
    assert (numbers(store), numbers(store, 1)) == ([0, 1, 2], [0, 1])
    with pytest.raises(NotFound, match="vacuumed"):
        store.scan("sources/x", version=2)
    store.delete("sources/x")
    store.delete("sources/x")
    assert (store.names(), store.version("sources/x")) == ([], None)
    assert store.append("sources/x", pl.DataFrame({"other": [1]})) == 0


@pytest.mark.service
def test_what_a_killed_deletion_left_is_no_part_of_a_new_table(
    store: TableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(2):
        store.append("sources/x", pl.DataFrame({"n": [n]}))
    folders = store._folders  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr(folders, "prepare", lambda name: None)
        store.delete("sources/x")
    assert folders.files("sources/x") != set()
    assert store.append("sources/x", pl.DataFrame({"n": [5]})) == 0
    assert numbers(store) == [5]


@pytest.mark.service
def test_two_machines_append_at_once_and_lose_nothing(store: TableStore, bucket: str, tmp_path: Path) -> None:
    # Their locks are not each other's: only the server keeps their commits apart.
    other = open_tables(f"s3://{bucket}/mill", tmp_path / "elsewhere")
    store.append("sources/x", pl.DataFrame({"n": [0]}))
    stale = other._snapshots.table("sources/x")  # type: ignore[attr-defined]
    store.append("sources/x", pl.DataFrame({"n": [1]}))
    other._commit_rows("sources/x", stale, pl.DataFrame({"n": [2]}), None)  # type: ignore[attr-defined]
    assert numbers(store) == [0, 1, 2]
    assert store.version("sources/x") == 2


@pytest.mark.service
def test_a_missing_bucket_is_named(s3: None, tmp_path: Path) -> None:
    store = open_tables("s3://no-such-bucket-here/x", tmp_path)
    with pytest.raises(NotFound, match="no bucket 'no-such-bucket-here'"):
        store.append("t", pl.DataFrame({"n": [1]}))


@pytest.mark.service
def test_no_server_at_the_endpoint(no_endpoint: None, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"s3://mill cannot be reached.*AWS_ENDPOINT_URL") as caught:
        open_tables("s3://mill", tmp_path).append("t", pl.DataFrame({"n": [1]}))
    assert "geheim77" not in str(caught.value)


def test_a_wrong_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="holds credentials") as caught:
        open_tables("s3://ada:geheim77@bucket/x", tmp_path)
    assert "geheim77" not in str(caught.value)
