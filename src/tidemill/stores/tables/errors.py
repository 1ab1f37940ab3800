"""What the libraries under the table store raise, in Tidemill's words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
from deltalake.exceptions import CommitFailedError, DeltaError

from tidemill.core.errors import Conflict
from tidemill.stores.disk import disk_errors, storage_full

# Below Python the number of the operating system's error survives only in the text.
_FULL = (f"os error {errno.ENOSPC}", f"os error {errno.EDQUOT}", "No space left on device", "Disk quota exceeded")


@contextmanager
def translated(table: str) -> Iterator[None]:
    """Within the block, a full disk is `StorageFull` and a lost race with an outside writer a `Conflict`."""
    what = f"table {table!r}"
    try:
        with disk_errors(what):
            yield
    except (OSError, DeltaError, pl.exceptions.PolarsError) as error:
        if any(text in str(error) for text in _FULL):
            raise storage_full(what) from error
        if isinstance(error, CommitFailedError):
            raise Conflict(
                f"another program wrote {what} at the same time", hint="Try again; nothing changed"
            ) from error
        raise
