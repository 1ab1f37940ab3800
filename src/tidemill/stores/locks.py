"""An exclusive lock between threads and processes, on a file."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from types import TracebackType


class FileLock:
    """Held by one thread of one process at a time; the system releases it when a process dies, however it dies.

    Waiting costs nothing and wakes at once, unlike polling. Not reentrant.

    Args:
        path: The file; created when missing. Its content is never touched.

    Example:
        >>> import tempfile
        >>> with FileLock(Path(tempfile.mkdtemp()) / "lock"):
        ...     pass
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._threads = threading.Lock()
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None

    def __enter__(self) -> None:
        if self._pid != os.getpid():
            self._reset()  # a forked child shares its parent's hold: it needs a descriptor of its own
        self._threads.acquire()
        try:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._fd is not None:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        """Give the descriptor back; the lock can be taken again later."""
        if self._pid == os.getpid():
            with self._threads:
                self._reset_descriptor()

    def _reset_descriptor(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None
