"""Table stores by URL."""

from __future__ import annotations

from pathlib import Path

from tidemill.core.errors import InvalidArgument
from tidemill.stores.s3 import parse_place
from tidemill.stores.tables.protocol import TableStore

SCHEMES = ("delta", "s3")


def open_tables(url: str, home: Path) -> TableStore:
    """Open the store.

    Args:
        url: `delta:` (the folder `tables` in the home), `delta:FOLDER` (relative to the home), or `s3://BUCKET/PREFIX` with
            the usual `AWS_...` variables in the environment.
        home: The project's home folder.

    Raises:
        InvalidArgument: The URL is wrong.
        MissingExtra: A package is not installed.

    Example:
        >>> import tempfile
        >>> import polars as pl
        >>> store = open_tables("delta:", Path(tempfile.mkdtemp()))
        >>> store.append("sources/bikes", pl.DataFrame({"rides": [3]}))
        0
    """
    scheme, _, rest = url.partition(":")
    if scheme not in SCHEMES:
        raise InvalidArgument(f"the table store cannot be {scheme!r}", known=SCHEMES)
    # These load polars and deltalake.
    from tidemill.stores.tables.delta import DeltaTables
    from tidemill.stores.tables.folders import LocalFolders

    if scheme == "s3":
        from tidemill.stores.tables.s3 import S3Folders

        return DeltaTables(S3Folders(parse_place(url), home / "cache" / "locks"))
    return DeltaTables(LocalFolders(home / (rest.removeprefix("//") or "tables")))
