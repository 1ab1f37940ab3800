"""LMDB environments: one per file and process, never across a fork, with a map that grows.

Commits flush the data but not the meta page (`metasync=False`): a killed process loses nothing; after a power failure
the file is whole and at worst one transaction older, and so is the position kept in it: its rows are read again. The log
beside the file is flushed before each commit, and else now and then (see `tail`).
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from tidemill.core.errors import Conflict, StorageFull, Unavailable
from tidemill.stores.online.lmdb_views import put_state
from tidemill.stores.online.tail import Tail

T = TypeVar("T")

FIRST_MAP = 64 << 30
"""Address space reserved at first; the file itself grows with its content."""

MAX_READERS = 1024
_PATIENCE = 60.0
_environments: dict[tuple[str, int], Environment] = {}
_lock = threading.Lock()


class Environment:
    """An open LMDB file. Reads are counted, so that the map is only replaced while nobody looks at it."""

    def __init__(self, path: Path, map_size: int) -> None:
        self.path = path
        self.users = 0
        self.writing = False
        self._guard = threading.RLock()
        self._quiet = threading.Condition(self._guard)
        self._reading = 0
        self._resizing = False
        self._writing = threading.RLock()
        with _translated(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lmdb = lmdb.open(
                str(path), map_size=map_size, metasync=False, meminit=False, max_readers=MAX_READERS, max_spare_txns=8
            )
            self._lmdb.reader_check()
        self.tail = Tail(path)

    def begin(self) -> Any:
        """A read transaction with buffers copied on access; give it back to `end`."""
        with self._guard:  # the condition's own lock, without the condition's own steps
            while self._resizing:
                self._quiet.wait()
            self._reading += 1
        try:
            return self._lmdb.begin()
        except lmdb.MapResizedError:
            self._leave()
            self._resize(0)  # another process has grown the map: adopt its size
            return self.begin()
        except lmdb.BadRslotError:
            self._leave()
            return self.begin()  # a forked child closed what it had of a transaction kept for later: take the next one
        except BaseException:
            self._leave()
            raise

    def end(self, transaction: Any) -> None:
        """Finish a read transaction."""
        transaction.abort()
        self._leave()

    def write(self, work: Callable[[Any], T]) -> T:
        """Run `work` in the one writing transaction and commit it; run again after the map has grown.

        Raises:
            StorageFull: The disk is full; nothing was written.
        """
        with self._writing:
            while True:
                try:
                    self.writing = True
                    with _translated(self.path), self._lmdb.begin(write=True) as transaction:
                        result = work(transaction)
                        put_state(transaction)
                        return result
                except lmdb.MapFullError:
                    self._lmdb.reader_check()  # slots of dead readers keep old pages from being used again
                    self._resize(2 * self._lmdb.info()["map_size"])
                except lmdb.MapResizedError:
                    self._resize(0)
                finally:
                    self.writing = False

    def hold(self, work: Callable[[Any], T]) -> T:
        """Run `work` while nobody else writes, in a writing transaction that writes nothing.

        Raises:
            StorageFull: `work` found no room.
        """
        with self._writing:
            while True:
                try:
                    self.writing = True
                    transaction = self._lmdb.begin(write=True)
                    try:
                        return work(transaction)
                    finally:
                        transaction.abort()
                except lmdb.MapResizedError:
                    self._resize(0)
                except (lmdb.Error, OSError) as error:
                    raise _named(error, self.path) from error
                finally:
                    self.writing = False

    def flush(self) -> None:
        """Wait until the disk has the newest transaction."""
        with _translated(self.path):
            self._lmdb.sync(True)

    def close(self) -> None:
        self._lmdb.close()

    def _leave(self) -> None:
        with self._guard:
            self._reading -= 1
            if self._resizing and not self._reading:
                self._quiet.notify_all()

    def _resize(self, size: int) -> None:
        with self._writing, self._quiet:
            self._resizing = True
            try:
                self._replace_map(size)
            finally:
                self._resizing = False
                self._quiet.notify_all()

    def _replace_map(self, size: int) -> None:
        if not self._quiet.wait_for(lambda: not self._reading, _PATIENCE):
            raise Conflict(
                f"a read of {self.path} has been open for {_PATIENCE:.0f} s and the map must grow",
                hint="Keep blocks of `read` short, and append outside of them",
            )
        with _translated(self.path):
            self._lmdb.set_mapsize(size)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (lmdb.MapFullError, lmdb.MapResizedError):
        raise
    except lmdb.ReadersFullError:
        raise Unavailable(f"more than {MAX_READERS} readers of {path} at once") from None
    except (lmdb.Error, OSError) as error:
        raise _named(error, path) from error


def _named(error: Exception, path: Path) -> Exception:
    codes = (getattr(error, "code", None), getattr(error, "errno", None))
    # LMDB reports a write that stopped half-way, as on a disk just filled, as EIO.
    if isinstance(error, lmdb.DiskError) or {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO} & set(codes):
        return StorageFull(
            f"no room left for {path}: {error}", hint="Free some space, or check the disk, and try again"
        )
    return Unavailable(f"the online store {path} does not work: {error}")


def acquire(path: Path, map_size: int) -> Environment:
    """The environment of a folder in this process, opened at most once; give it back to `release`."""
    with _lock:
        key = (os.path.realpath(path), os.getpid())
        if key not in _environments:
            _close_inherited(key)
            _environments[key] = Environment(path, map_size)
        environment = _environments[key]
        environment.users += 1
        return environment


def release(environment: Environment) -> None:
    """Close an environment when its last user has gone."""
    with _lock:
        environment.users -= 1
        if environment.users == 0:
            _environments.pop((os.path.realpath(environment.path), os.getpid()), None)
            environment.close()


def _close_inherited(key: tuple[str, int]) -> None:
    """Close what a forked child has of its parent's environment: the binding opens a file only once per process."""
    path, pid = key
    for other in [other for other in _environments if other[0] == path and other[1] != pid]:
        if _environments[other].writing:
            raise Unavailable(f"this process was forked while its parent wrote to {path}",
                              hint="Fork before the store is used, or start processes with `spawn`")  # fmt: skip
        _environments.pop(other).close()


def _forget_lock() -> None:
    # A fork while another thread held the lock would leave it held for ever in the child.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)
