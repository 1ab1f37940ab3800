"""The lock between threads and processes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tidemill.stores.locks import FileLock


def add_slowly(folder: Path, times: int) -> None:
    lock = FileLock(folder / "lock")
    for _ in range(times):
        with lock:
            count = int((folder / "count").read_text() or 0)
            (folder / "count").write_text(str(count + 1))
    lock.close()


def test_threads_take_turns(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("")
    threads = [threading.Thread(target=add_slowly, args=(tmp_path, 100)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "count").read_text() == "400"


def test_one_lock_is_shared_by_threads(tmp_path: Path) -> None:
    lock, inside, most = FileLock(tmp_path / "lock"), [0], [0]

    def enter() -> None:
        for _ in range(200):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    lock.close()


def test_it_is_released_when_the_block_raises_and_works_after_closing(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with pytest.raises(ValueError, match="out"), lock:
        raise ValueError("out")
    lock.close()
    with lock:
        pass
    lock.close()


def test_a_folder_that_is_not_there_leaves_the_lock_free(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "later" / "lock")
    for _ in range(2):
        with pytest.raises(FileNotFoundError), lock:
            pass
    (tmp_path / "later").mkdir()
    with lock:
        pass
    lock.close()
