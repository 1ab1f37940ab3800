"""The embedded online store: the contract, and many processes, crashes, forks, growth and full disks."""

from __future__ import annotations

import functools
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tidemill.core.errors import InvalidArgument, StorageFull
from tidemill.stores.online.lmdb import LOG_SIZE, LmdbOnline
from tidemill.stores.online.log import HEADER
from tidemill.stores.online.memory import MemoryOnline
from tidemill.stores.online.open import open_online
from tidemill.stores.online.protocol import Entries
from tidemill.testing.online_suite import WIDTH, OpenStore, SharedOnlineSuite, entries, payload


class TestLmdbOnline(SharedOnlineSuite):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        return functools.partial(LmdbOnline, tmp_path / "online")


class TestLmdbOnlineThatMerges(SharedOnlineSuite):
    """The same with a log that is full after some hundred records."""

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        return functools.partial(LmdbOnline, tmp_path / "online", log_size=HEADER + 2_000)


def batch(step: int, keys: int = 20) -> Entries:
    """One record for each of some keys, all with the time and payload `step`."""
    return entries([(b"%d" % key, (step, step, step), payload(step)) for key in range(keys)], fixed=True)


def test_urls(tmp_path: Path) -> None:
    store = open_online("lmdb:", tmp_path)
    assert (tmp_path / "online" / "data.mdb").exists()
    store.close()
    assert isinstance(open_online("memory:", tmp_path), MemoryOnline)
    with pytest.raises(InvalidArgument, match="lmdb, memory"):
        open_online("carrier-pigeon:", tmp_path)


def test_two_stores_of_one_process_share_a_folder(tmp_path: Path) -> None:
    first, second = LmdbOnline(tmp_path), LmdbOnline(tmp_path / ".." / tmp_path.name)
    first.declare("v", width=WIDTH)
    first.append("v", batch(1))
    first.close()
    first.close()
    with second.read() as reader:
        assert reader.stats("v").rows == 20
    second.close()


def test_the_map_grows_beside_reading_threads(tmp_path: Path) -> None:
    store = LmdbOnline(tmp_path, map_size=256 << 10)
    store.declare("v", width=WIDTH)
    store.append("v", batch(0))
    done, errors = threading.Event(), list[BaseException]()

    def read() -> None:
        try:
            while not done.wait(0.002):  # LMDB's binding gives up the interpreter at every call: let the writer have it
                with store.read() as reader:
                    assert len(set(reader.latest("v", [b"%d" % key for key in range(20)], [10**6] * 20))) == 1
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for step in range(1, 60):
        store.append("v", batch(step, 300 if step % 20 == 0 else 20))
    rows = np.arange(4_000)
    wide = Entries(
        [b"w%d" % row for row in rows],
        np.arange(4_001),
        np.stack([rows, rows, rows], axis=1),
        np.zeros((4_000, WIDTH), np.uint8),
    )
    store.append("v", wide)
    done.set()
    for thread in threads:
        thread.join()
    assert not errors
    with store.read() as reader:
        assert reader.stats("v").rows == 60 * 20 + 2 * 280 + 4_000
    store.close()


WRITER = """
import sys
from pathlib import Path
from tidemill.stores.online.lmdb import LmdbOnline
sys.path.insert(0, sys.argv[2])
from test_lmdb import batch
store = LmdbOnline(Path(sys.argv[1]), map_size=int(sys.argv[4]), log_size=int(sys.argv[5]))
for step in range(1, int(sys.argv[3]) + 1):
    store.append("v", batch(step), positions={"table": step})
    print(step, flush=True)
"""


def start_writer(folder: Path, steps: int, map_size: int = 64 << 30, log_size: int = LOG_SIZE) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", WRITER, str(folder), here, str(steps), str(map_size), str(log_size)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def whole(store: LmdbOnline) -> int:
    """The step all keys and the position are at; they must agree."""
    with store.read() as reader:
        position = reader.position("v", "table") or 0
        assert reader.stats("v").rows == 20 * position
        records = reader.latest("v", [b"%d" % key for key in range(20)], [10**9] * 20)
        blocks = reader.range("v", [b"0", b"19"], [0, 0], [10**9] * 2)
    assert len(set(records)) == 1
    assert [block.words[:, 0].tolist() for block in blocks] == [list(range(1, position + 1))] * 2
    return position


@pytest.mark.parametrize(("map_size", "log_size"), [(64 << 30, LOG_SIZE), (128 << 10, HEADER), (64 << 30, 60_000)])
def test_a_process_reads_whole_transactions_while_another_writes(tmp_path: Path, map_size: int, log_size: int) -> None:
    store = LmdbOnline(tmp_path, map_size=map_size)
    store.declare("v", width=WIDTH)
    writer = start_writer(tmp_path, 1000, map_size, log_size)
    seen = {whole(store)}
    while writer.poll() is None:
        seen.add(whole(store))
    assert writer.communicate()[0].split()[-1] == "1000"
    assert whole(store) == 1000
    assert len(seen) > 3
    store.close()


@pytest.mark.parametrize("log_size", [LOG_SIZE, HEADER, HEADER + 5_000])
def test_a_killed_writer_leaves_what_it_acknowledged(tmp_path: Path, log_size: int) -> None:
    store = LmdbOnline(tmp_path)
    store.declare("v", width=WIDTH)
    acknowledged = 0
    for lines in (1, 20, 70):
        store.drop("v")
        store.declare("v", width=WIDTH)
        writer = start_writer(tmp_path, 10**6, log_size=log_size)
        assert writer.stdout is not None
        for _ in range(lines):
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate()
        acknowledged = max([acknowledged, *map(int, rest.split("\n")[:-1])])
        assert whole(store) in (acknowledged, acknowledged + 1)
    store.append("v", batch(10**6), positions={"table": 10**6})  # the dead writer's lock is free
    store.close()


def test_a_full_disk_is_told_and_changes_nothing(tmp_path: Path) -> None:
    store = LmdbOnline(tmp_path)
    store.declare("v", width=WIDTH)
    store.append("v", batch(1), positions={"table": 1})
    size = (tmp_path / "data.mdb").stat().st_size
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8192, limits[1]))
    try:
        with pytest.raises(StorageFull, match="no room left"):
            store.append("v", batch(2, 5000), positions={"table": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert whole(store) == 1
    store.append("v", batch(2), positions={"table": 2})
    assert whole(store) == 2
    store.close()
