"""Delta tables: the conformance suite, and what is special to Delta on a local disk."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from tidemill.core.errors import InvalidArgument
from tidemill.stores.tables.open import open_tables
from tidemill.stores.tables.protocol import TableStore
from tidemill.testing.table_suite import VALUES, OpenStore, TableStoreSuite


class TestDelta(TableStoreSuite):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        return functools.partial(open_tables, "delta:", tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return open_tables("delta:", tmp_path)


def test_an_unknown_url_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"iceberg.*delta"):
        open_tables("iceberg:", tmp_path)


def test_another_folder_of_the_home_can_be_named(tmp_path: Path) -> None:
    open_tables("delta:elsewhere", tmp_path).append("a/b", pl.DataFrame({"n": [1]}))
    assert DeltaTable(tmp_path / "elsewhere/a/b").version() == 0


def test_duckdb_reads_the_same_rows(store: TableStore, tmp_path: Path) -> None:
    for n in range(3):
        store.append("sources/x", pl.DataFrame({"n": [n], "price": [n / 4], "name": [f"row {n}"]}))
    store.append("sources/x", pl.DataFrame({"n": [3], "new": [True]}))
    files = DeltaTable(tmp_path / "tables/sources/x").file_uris()
    found = duckdb.sql(f"select * from read_parquet({files}, union_by_name=true) order by n").fetchall()
    assert found == store.scan("sources/x").collect().sort("n").rows()


def test_every_dtype_is_plain_parquet_to_duckdb_and_pyarrow(store: TableStore, tmp_path: Path) -> None:
    store.append("t", pl.DataFrame({name: values.head(1) for name, values in VALUES.items()}))
    table = DeltaTable(tmp_path / "tables/t")
    assert duckdb.sql(f"select count(*) from read_parquet({table.file_uris()})").fetchall() == [(1,)]
    assert table.to_pyarrow_table().num_rows == 1


def test_only_plain_features_of_the_format_are_used(store: TableStore, tmp_path: Path) -> None:
    store.append("t", pl.DataFrame({name: values.head(1) for name, values in VALUES.items()}))
    protocol = DeltaTable(tmp_path / "tables/t").protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    assert not protocol.reader_features
    assert not protocol.writer_features


def test_small_commits_are_checkpointed(store: TableStore, tmp_path: Path) -> None:
    for n in range(45):
        store.append("t", pl.DataFrame({"n": [n]}))
    last = json.loads((tmp_path / "tables/t/_delta_log/_last_checkpoint").read_text())
    assert last["version"] >= 38


def test_a_column_another_program_added_is_read_as_it_is_stored(store: TableStore, tmp_path: Path) -> None:
    from deltalake import write_deltalake

    store.append("t", pl.DataFrame({"n": pl.Series([1], dtype=pl.UInt8)}))
    foreign = pl.DataFrame({"n": pl.Series([2], dtype=pl.Int16), "extra": ["x"]})
    write_deltalake(tmp_path / "tables/t", foreign, mode="append", schema_mode="merge")
    expected = pl.DataFrame({"n": pl.Series([1, 2], dtype=pl.UInt8), "extra": [None, "x"]})
    assert_frame_equal(store.scan("t").collect().sort("n"), expected)


def test_a_failed_commit_leaves_no_file(store: TableStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append("t", pl.DataFrame({"n": [0]}))
    log = tmp_path / "tables/t/_delta_log"
    (log / f"{1:020d}.json").mkdir()  # nothing can be committed over a folder
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the library makes of it
        store.append("t", pl.DataFrame({"n": [1]}))
    (log / f"{1:020d}.json").rmdir()
    assert len(list((tmp_path / "tables/t").glob("*.parquet"))) == 1
    assert store.scan("t").collect()["n"].to_list() == [0]


FILL = """
import sys, polars as pl
from pathlib import Path
from tidemill.core.errors import StorageFull
from tidemill.stores.tables.open import open_tables
store = open_tables("delta:", Path(sys.argv[1]))
store.append("t", pl.DataFrame({"n": [0]}))
big = pl.DataFrame({"n": pl.int_range(1_000_000, eager=True).shuffle(seed=1)})
try:
    store.append("t", big)
except StorageFull as error:
    print(error)
print(store.scan("t").collect()["n"].to_list(), store.version("t"))
print(store.append("t", pl.DataFrame({"n": [1]})))
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("unshare") is None, reason="needs Linux namespaces")
def test_a_full_disk_is_said_and_nothing_changes(tmp_path: Path) -> None:
    script = f"mount -t tmpfs -o size=2m none {tmp_path} && exec {sys.executable} -c '{FILL}' {tmp_path}"
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system does not let a user make a mount namespace")
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    message, rows, version = done.stdout.splitlines()
    assert message.startswith("no room left on the disk for table 't'")
    assert (rows, version) == ("[0] 0", "1")
