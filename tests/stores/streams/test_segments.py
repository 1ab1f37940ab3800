"""Streams in files: the contract, with segments of usual and of tiny size, and damaged files."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.core.errors import InvalidArgument, InvalidData, StorageFull
from tidemill.stores.streams import frames
from tidemill.stores.streams.open import open_streams
from tidemill.stores.streams.segments import FileStreams
from tidemill.testing.stream_suite import OpenStore, SharedStreamSuite, payloads_from


class TestFiles(SharedStreamSuite):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        return functools.partial(open_streams, "file:", tmp_path)


class TestTinySegments(SharedStreamSuite):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        return functools.partial(FileStreams, tmp_path, segment_bytes=100)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStreams]:
    store = FileStreams(tmp_path)
    yield store
    store.close()


def log(tmp_path: Path) -> Path:
    """The newest segment of the only partition."""
    return sorted(tmp_path.rglob("*.log"))[-1]


def test_the_folder_is_where_the_url_says(tmp_path: Path) -> None:
    for url, folder in [("file:", "streams"), ("file:deep/er", "deep/er"), (f"file://{tmp_path}/abs", "abs")]:
        streams = open_streams(url, tmp_path)
        streams.append("a/b", "p", [b"x"])
        streams.close()
        assert (tmp_path / folder / "a" / "b" / "p" / "00000000000000000000.log").stat().st_size == 9


def test_the_format_of_a_message(store: FileStreams, tmp_path: Path) -> None:
    store.append("t", "p", [b"tide"])
    length = (4).to_bytes(4, "little")
    assert log(tmp_path).read_bytes() == length + zlib.crc32(length + b"tide").to_bytes(4, "little") + b"tide"


@pytest.mark.parametrize("cut", range(1, 17))
def test_a_torn_tail_is_never_seen_and_cut_by_the_next_writer(store: FileStreams, tmp_path: Path, cut: int) -> None:
    store.append("t", "p", [b"first"])
    store.append("t", "p", [b"unfinish"])
    os.truncate(log(tmp_path), log(tmp_path).stat().st_size - cut)
    fresh = FileStreams(tmp_path)
    assert fresh.read("t", "p", 0) == [(0, b"first")]
    assert fresh.end("t", "p") == 1
    assert fresh.append("t", "p", [b"second"]) == 2
    assert fresh.read("t", "p", 0) == [(0, b"first"), (1, b"second")]
    kept = [path.stat().st_size for path in tmp_path.rglob("*.torn-*")]
    assert kept == ([16 - cut] if cut < 16 else [])
    fresh.close()


@pytest.mark.parametrize("tail", [b"\0" * 50, b"\0" * 8, b"\xff" * 50, b"\x03\0\0\0\1\2\3\4abc", b"\x01"])
def test_what_a_power_cut_may_leave_is_no_message(store: FileStreams, tmp_path: Path, tail: bytes) -> None:
    store.append("t", "p", [b"first"])
    with log(tmp_path).open("ab") as file:
        file.write(tail)
    assert store.read("t", "p", 0) == [(0, b"first")]
    assert store.append("t", "p", [b"second"]) == 2
    assert payloads_from(store, "t", "p") == [b"first", b"second"]


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def test_damage_before_acknowledged_messages_is_reported_and_never_cut(store: FileStreams, tmp_path: Path) -> None:
    store.append("t", "p", [b"first", b"second", b"third"])
    size = log(tmp_path).stat().st_size
    flip(log(tmp_path), 13 + 8)
    fresh = FileStreams(tmp_path)
    with pytest.raises(InvalidData, match=r"\.log is damaged at byte 13: message 1"):
        fresh.read("t", "p", 0)
    with pytest.raises(InvalidData, match="damaged"):
        fresh.append("t", "p", [b"fourth"])
    assert fresh.read("t", "p", 0, 1) == [(0, b"first")]
    assert log(tmp_path).stat().st_size == size
    fresh.close()


def test_a_read_goes_on_into_segments_seen_before(tmp_path: Path) -> None:
    store = FileStreams(tmp_path, segment_bytes=400_000)
    for number in range(60):  # five segments with marks in each
        store.append("t", "p", [number.to_bytes(2, "big") * 20_000])
    for start in range(60):
        assert [message.offset for message in store.read("t", "p", start)] == list(range(start, 60))
    store.close()


def test_damage_in_an_older_segment_is_reported(tmp_path: Path) -> None:
    store = FileStreams(tmp_path, segment_bytes=1)
    for number in range(3):
        store.append("t", "p", [b"message-%d" % number])
    flip(sorted(tmp_path.rglob("*.log"))[1], 3)
    fresh = FileStreams(tmp_path)
    with pytest.raises(InvalidData, match="message 1 cannot be read"):
        fresh.read("t", "p", 0)
    assert fresh.read("t", "p", 2) == [(2, b"message-2")]
    store.close()
    fresh.close()


def test_a_lost_segment_is_reported(tmp_path: Path) -> None:
    store = FileStreams(tmp_path, segment_bytes=1)
    store.append("t", "p", [b"a"])
    store.append("t", "p", [b"b"])
    store.append("t", "p", [b"c"])
    sorted(tmp_path.rglob("*.log"))[1].unlink()
    with pytest.raises(InvalidData, match="message 1 cannot be read"):
        FileStreams(tmp_path).read("t", "p", 0)
    store.close()


def test_a_full_disk_takes_nothing_back(store: FileStreams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append("t", "p", [b"first"])
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[: len(data) // 2]))
    with pytest.raises(StorageFull, match="no room left"):
        store.append("t", "p", [b"second"])
    monkeypatch.undo()
    assert log(tmp_path).stat().st_size == 13
    assert store.append("t", "p", [b"third"]) == 2
    assert store.read("t", "p", 1) == [(1, b"third")]


LIMITED = """
import resource, signal, sys
from pathlib import Path
from tidemill.core.errors import StorageFull
from tidemill.stores.streams.segments import FileStreams
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
store = FileStreams(Path(sys.argv[1]))
done = 0
try:
    while True:
        done = store.append("t", "p", [b"x" * 90])
except (StorageFull, OSError) as error:
    print(done, type(error).__name__)
"""


def test_a_real_limit_of_the_system(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True)
    done, error = run.stdout.split()
    assert error == "StorageFull"
    store = FileStreams(tmp_path)
    assert len(payloads_from(store, "t", "p")) == int(done) == 10_000 // 98
    store.close()


def test_one_append_has_a_limit(store: FileStreams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MOST_BYTES", 100)
    with pytest.raises(InvalidArgument, match="at most 100"):
        store.append("t", "p", [b"x" * 60, b"y" * 60])
    assert store.end("t", "p") == 0


FORKING = """
import os, sys
from pathlib import Path
from tidemill.stores.streams.segments import FileStreams
store = FileStreams(Path(sys.argv[1]), segment_bytes=300)
store.append("t", "p", [b"first"])
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        for n in range(100):
            store.append("t", "p", [b"child"])
        os._exit(0)
    children.append(child)
for n in range(100):
    store.append("t", "p", [b"parent"])
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
print(store.end("t", "p"))
store.close()
"""


def test_forked_processes_append_beside_each_other(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", FORKING, str(tmp_path)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "401"
    store = FileStreams(tmp_path)
    found = payloads_from(store, "t", "p", step=100)
    assert sorted(set(found)) == [b"child", b"first", b"parent"]
    assert (found.count(b"child"), found.count(b"parent")) == (300, 100)
    store.close()


def test_trimming_keeps_the_last_segment_and_its_offsets(tmp_path: Path) -> None:
    store = FileStreams(tmp_path, segment_bytes=1)
    for number in range(4):
        store.append("t", "p", [b"%d" % number])
    store.trim("t", "p", 2)
    assert sorted(int(path.stem) for path in tmp_path.rglob("*.log")) == [2, 3]
    store.trim("t", "p", 99)
    assert sorted(int(path.stem) for path in tmp_path.rglob("*.log")) == [3]
    assert FileStreams(tmp_path).append("t", "p", [b"4"]) == 5
    store.close()
