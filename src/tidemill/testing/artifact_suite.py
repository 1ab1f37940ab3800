"""What every artifact store must do. Subclass `ArtifactSuite` in a test module and give the `open_store` fixture.

A store that several processes share subclasses `SharedArtifactSuite` instead.

Example:
    ```python
    class TestLocal(SharedArtifactSuite):
        @pytest.fixture
        def open_store(self, tmp_path):
            return functools.partial(open_artifacts, "file:", tmp_path)
    ```
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tidemill.core.errors import InvalidArgument, NotFound
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.testing.processes import Acknowledge, acknowledged_before_kill, run_together

OpenStore = Callable[[], ArtifactStore]
"""Opens the same store anew; for a shared store it is pickled and called in other processes too."""

NOTHING = hashlib.sha256(b"").hexdigest()


def content(number: int) -> bytes:
    """Bytes that tell an artifact from others, of very different lengths."""
    return random.Random(number).randbytes(number * 997 % 300_000)


class ArtifactSuite:
    """The contract of `ArtifactStore`."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """The one fixture to override: opens the store of this test, empty at first."""
        raise AssertionError("give the fixture open_store")

    @pytest.fixture
    def store(self, open_store: OpenStore) -> ArtifactStore:
        return open_store()

    @pytest.mark.parametrize("data", [b"", b"\0", b"tide\r\nmill", bytes(range(256)) * 5000])
    def test_bytes_come_back_by_their_sha256(self, store: ArtifactStore, data: bytes) -> None:
        digest = store.put(data)
        assert digest == hashlib.sha256(data).hexdigest()
        assert store.get(digest) == data
        assert store.size(digest) == len(data)
        assert store.exists(digest)
        assert list(store.digests()) == [digest]

    @pytest.mark.parametrize("size", [0, 1, (3 << 20) + 1])
    def test_a_file_is_stored_and_stays_where_it_is(self, store: ArtifactStore, tmp_path: Path, size: int) -> None:
        path = tmp_path / "a file"
        path.write_bytes(random.Random(size).randbytes(size))
        digest = store.put_file(path)
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
        assert store.get(digest) == path.read_bytes()
        path.write_bytes(b"changed afterwards")
        assert store.get(digest) != b"changed afterwards"

    def test_the_same_bytes_are_stored_once(self, store: ArtifactStore, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"same")
        assert store.put(b"same") == store.put(b"same") == store.put_file(tmp_path / "f")
        assert len(list(store.digests())) == 1

    def test_a_missing_file_stores_nothing(self, store: ArtifactStore, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            store.put_file(tmp_path / "missing")
        assert list(store.digests()) == []

    def test_open_gives_a_seekable_file(self, store: ArtifactStore) -> None:
        digest = store.put(b"0123456789")
        with store.open(digest) as file:
            assert file.seekable()
            assert file.read(3) == b"012"
            file.seek(-2, 2)
            assert file.read() == b"89"

    def test_local_path_is_a_file_with_the_bytes(self, store: ArtifactStore) -> None:
        digest = store.put(content(7))
        assert store.local_path(digest).read_bytes() == content(7)
        assert store.local_path(digest) == store.local_path(digest)

    def test_what_is_absent_is_not_found(self, store: ArtifactStore) -> None:
        assert not store.exists(NOTHING)
        for read in (store.get, store.open, store.local_path, store.size):
            with pytest.raises(NotFound, match=NOTHING):
                read(NOTHING)

    @pytest.mark.parametrize(
        "digest", ["", "abc", "../" * 20 + "x" * 4, NOTHING.upper(), NOTHING + "\n", NOTHING[:-1] + "/"]
    )
    def test_what_is_no_digest_is_refused(self, store: ArtifactStore, digest: str) -> None:
        for use in (store.get, store.open, store.local_path, store.size, store.exists, store.delete):
            with pytest.raises(InvalidArgument, match="64 lower-case hex"):
                use(digest)

    def test_delete_removes_one_and_twice_is_no_error(self, store: ArtifactStore) -> None:
        kept, gone = store.put(b"kept"), store.put(b"gone")
        store.local_path(gone)
        store.delete(gone)
        store.delete(gone)
        assert not store.exists(gone)
        with pytest.raises(NotFound):
            store.local_path(gone)
        assert store.get(kept) == b"kept"
        assert store.put(b"gone") == gone
        assert store.get(gone) == b"gone"

    def test_all_digests_are_listed(self, store: ArtifactStore) -> None:
        stored = {store.put(content(number)) for number in range(40)}
        assert sorted(store.digests()) == sorted(stored)


class SharedArtifactSuite(ArtifactSuite):
    """The contract of a store that several processes use and that outlives them."""

    def test_artifacts_are_there_after_opening_again(self, open_store: OpenStore) -> None:
        digest = open_store().put(b"lasting")
        assert open_store().get(digest) == b"lasting"

    def test_processes_store_the_same_and_different_bytes_at_once(self, open_store: OpenStore) -> None:
        stored = run_together(_store_range, [(open_store, start) for start in (0, 0, 10, 20)])
        store = open_store()
        assert sorted(store.digests()) == sorted({digest for own in stored for digest in own})
        assert all(store.get(digest) is not None for digest in store.digests())

    def test_all_a_killed_writer_stored_is_whole(self, open_store: OpenStore) -> None:
        acknowledged = acknowledged_before_kill(_store_for_ever, (open_store,), 20)
        store = open_store()
        for number in acknowledged:
            data = content(number)
            assert store.get(hashlib.sha256(data).hexdigest()) == data
        for digest in store.digests():
            store.get(digest)  # raises on one half written


def _store_range(open_store: OpenStore, start: int) -> list[str]:
    store = open_store()
    return [store.put(content(number)) for number in range(start, start + 25)]


def _store_for_ever(acknowledge: Acknowledge, open_store: OpenStore) -> None:
    store = open_store()
    for number in range(10**9):
        store.put(content(number))
        acknowledge(number)
