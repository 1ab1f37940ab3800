"""What the disk answers, in Tidemill's words, and writes that survive a crash."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidemill.core.errors import PermissionDenied, StorageFull

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Within the block, a full disk raises StorageFull and a refused write PermissionDenied, both naming `what`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise storage_full(what) from error
        if error.errno in _DENIED:
            raise PermissionDenied(
                f"{what} may not be written: {error.strerror}", hint="Check the owner and the mode of the folder"
            ) from error
        raise


def storage_full(what: str) -> StorageFull:
    """The error of a disk without room."""
    return StorageFull(
        f"no room left on the disk for {what}", hint="Free some space and try again: nothing was changed"
    )


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
