"""Artifact stores by URL: the contract for each, and what a disk and a damaged file bring with them."""

from __future__ import annotations

import errno
import functools
import os
import stat
from pathlib import Path

import pytest

from tidemill.core.errors import InvalidArgument, InvalidData, StorageFull
from tidemill.stores.artifacts.filesystem import LocalArtifacts
from tidemill.stores.artifacts.open import open_artifacts
from tidemill.testing.artifact_suite import ArtifactSuite, OpenStore, SharedArtifactSuite


class TestLocal(SharedArtifactSuite):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        return functools.partial(open_artifacts, "file:", tmp_path / "home")


class TestMemory(ArtifactSuite):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        return functools.partial(open_artifacts, "memory:", tmp_path / "home")


@pytest.fixture
def store(tmp_path: Path) -> LocalArtifacts:
    return LocalArtifacts(tmp_path)


def test_the_folder_is_where_the_url_says(tmp_path: Path) -> None:
    for url, folder in [("file:", "artifacts"), ("file:deep/er", "deep/er"), (f"file://{tmp_path}/abs", "abs")]:
        digest = open_artifacts(url, tmp_path).put(b"x")
        assert (tmp_path / folder / digest[:2] / digest[2:4] / digest).read_bytes() == b"x"


def test_another_scheme_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"ftp.*file, memory"):
        open_artifacts("ftp://host", tmp_path)


def test_memories_are_apart(tmp_path: Path) -> None:
    first, second = open_artifacts("memory:", tmp_path), open_artifacts("memory:", tmp_path)
    assert not second.exists(first.put(b"x"))


def damage(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize("data", [b"tidE", b"tid", b""])
def test_damaged_bytes_are_never_given(store: LocalArtifacts, data: bytes) -> None:
    digest = store.put(b"tide")
    damage(store.local_path(digest), data)
    with pytest.raises(InvalidData, match=f"{digest} is damaged"):
        store.get(digest)


def test_storing_again_heals_a_truncated_file(store: LocalArtifacts) -> None:
    digest = store.put(b"tide")
    damage(store.local_path(digest), b"ti")
    store.put(b"tide")
    assert store.get(digest) == b"tide"


def test_a_damaged_download_is_not_kept(tmp_path: Path) -> None:
    store = open_artifacts("memory:", tmp_path)
    digest = store.put(b"tide")
    store._fs.pipe_file(store._path(digest), b"tidE")  # type: ignore[attr-defined]
    for read in (store.get, store.local_path):
        with pytest.raises(InvalidData, match="damaged"):
            read(digest)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_files_are_read_only_and_nothing_else_is_left(store: LocalArtifacts, tmp_path: Path) -> None:
    path = store.local_path(store.put(b"tide"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing(
    store: LocalArtifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)  # where a disk often notices
    with pytest.raises(StorageFull, match="Free some space"):
        store.put(b"tide")
    monkeypatch.undo()
    assert list(store.digests()) == []
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == []
    assert store.get(store.put(b"tide")) == b"tide"


def test_what_killed_writers_left_is_removed_after_a_day(tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    for name, age in [("old", 25 * 3600), ("recent", 23 * 3600)]:
        (incoming / name).write_bytes(b"half")
        written = (incoming / name).stat().st_mtime
        os.utime(incoming / name, (written - age, written - age))
    LocalArtifacts(tmp_path).put(b"tide")
    assert [path.name for path in incoming.iterdir()] == ["recent"]
