"""Following a Delta log commit by commit gives what deltalake reads of the whole log."""

import json
import random
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from tidemill.stores.tables.delta import DeltaTables
from tidemill.stores.tables.folders import LOG, LocalFolders, commit_file
from tidemill.stores.tables.snapshots import Snapshots
from tidemill.stores.tables.tail import read_commit

CONSUMERS = ("a", "b")


@pytest.fixture
def folders(tmp_path: Path) -> LocalFolders:
    return LocalFolders(tmp_path / "tables of März")


def assert_followed(folders: LocalFolders, name: str, snapshots: Snapshots) -> None:
    whole, found = DeltaTable(folders.location(name)), snapshots.newest(name)
    assert found is not None
    assert found.version == whole.version()
    # By their names: deltalake gives locations encoded, not so, or in part.
    assert sorted(Path(file).name for file in found.files) == sorted(Path(uri).name for uri in whole.file_uris())
    assert all(Path(file).is_file() for file in found.files)
    assert [snapshots.position(name, one) for one in CONSUMERS] == [whole.transaction_version(one) for one in CONSUMERS]
    assert found.appended.names() == [field.name for field in whole.schema().fields]


@pytest.mark.parametrize("seed", range(3))
def test_a_reader_follows_whatever_is_written(folders: LocalFolders, seed: int) -> None:
    draw, store, snapshots = random.Random(seed), DeltaTables(folders), Snapshots(folders)
    store.append("t", pl.DataFrame({"n": [0]}))
    for number in range(50):
        match draw.choice(["rows", "rows", "rows", "rows", "once", "once", "join", "column"]):
            case "rows":
                store.append("t", pl.DataFrame({"n": [number]}))
            case "once":
                store.append("t", pl.DataFrame({"n": [number]}), once={draw.choice(CONSUMERS): draw.randrange(9)})
            case "join":
                store.compact("t")
            case "column":
                store.append("t", pl.DataFrame({"n": [number], f"c{number}": ["x"]}))
        if draw.random() < 0.4:  # a reader that is now and then several commits behind
            assert_followed(folders, "t", snapshots)
    assert_followed(folders, "t", snapshots)


def test_appends_and_joins_are_followed_without_asking_deltalake(
    folders: LocalFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, snapshots = DeltaTables(folders), Snapshots(folders)
    store.append("t", pl.DataFrame({"n": [0]}))
    assert_followed(folders, "t", snapshots)
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "_delta", None)  # calling it would raise
        for number in range(25):  # beyond a checkpoint
            store.append("t", pl.DataFrame({"n": [number]}), once={"a": number, "b": number})
            assert snapshots.position("t", "b") == number
        store.compact("t")
        newest = snapshots.newest("t")
    assert newest is not None
    assert len(newest.files) == 1
    assert_followed(folders, "t", snapshots)


def test_what_another_program_writes_is_followed(folders: LocalFolders) -> None:
    store, snapshots = DeltaTables(folders), Snapshots(folders)
    store.append("t", pl.DataFrame({"n": [0]}))
    assert_followed(folders, "t", snapshots)
    for _ in range(3):
        write_deltalake(folders.location("t"), pl.DataFrame({"n": [1]}), mode="append")
        assert_followed(folders, "t", snapshots)
    DeltaTable(folders.location("t")).delete("n = 1")
    assert_followed(folders, "t", snapshots)


def test_commits_that_were_cleaned_up_are_read_from_the_checkpoint(folders: LocalFolders) -> None:
    store, snapshots = DeltaTables(folders), Snapshots(folders)
    store.append("t", pl.DataFrame({"n": [0]}))
    assert_followed(folders, "t", snapshots)
    for number in range(1, 5):
        store.append("t", pl.DataFrame({"n": [number]}), once={"a": number})
    DeltaTable(folders.location("t")).create_checkpoint()
    for version in range(1, 5):
        (folders.root / "t" / LOG / commit_file(version)).unlink()
    assert_followed(folders, "t", snapshots)
    assert sorted(store.scan("t").collect()["n"]) == [0, 1, 2, 3, 4]


def test_a_table_made_anew_is_not_the_one_before(folders: LocalFolders) -> None:
    store, snapshots = DeltaTables(folders), Snapshots(folders)
    for rows in (3, 1):
        for number in range(rows):
            store.append("t", pl.DataFrame({"n": [number]}), once={"a": number})
        assert_followed(folders, "t", snapshots)
        store.delete("t")
        assert snapshots.newest("t") is None


@pytest.mark.parametrize(
    "action",
    [
        {"metaData": {"id": "x"}},
        {"protocol": {"minReaderVersion": 3}},
        {"add": {"path": "a.parquet", "deletionVector": {"storageType": "u"}}},
    ],
)
def test_any_other_commit_is_left_to_deltalake(action: dict[str, object]) -> None:
    lines = [{"commitInfo": {"timestamp": 1}}, {"add": {"path": "b.parquet"}}, action]
    assert read_commit("\n".join(map(json.dumps, lines)).encode()) is None


def test_files_are_found_in_folders_of_any_name(folders: LocalFolders) -> None:
    frame = pl.DataFrame({"n": [0, 1], "day": ["a b", "c%"]})
    write_deltalake(folders.location("other"), frame, partition_by=["day"])
    snapshots = Snapshots(folders)
    assert_followed(folders, "other", snapshots)
    write_deltalake(folders.location("other"), frame, mode="append")
    assert_followed(folders, "other", snapshots)
