"""What the disk answers, in Tidemill's words."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tidemill.core.errors import PermissionDenied, StorageFull
from tidemill.stores.disk import disk_errors, sync_folder


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EACCES, PermissionDenied),
        (errno.EROFS, PermissionDenied),
    ],
)
def test_errors_name_what_was_written(number: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="the log"), disk_errors("the log"):
        raise OSError(number, "as the system says it")


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(FileNotFoundError), disk_errors("the log"):
        raise FileNotFoundError(errno.ENOENT, "gone")


def test_a_folder_can_be_flushed(tmp_path: Path) -> None:
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "missing")
