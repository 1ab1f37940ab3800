"""Table stores by URL."""

from __future__ import annotations

from pathlib import Path

from tidemill.core.errors import InvalidArgument
from tidemill.stores.tables.protocol import TableStore

SCHEMES = ("delta",)


def open_tables(url: str, home: Path) -> TableStore:
    """Open the store.

    Args:
        url: `delta:` (the folder `tables` in the home) or `delta:FOLDER` (relative to the home).
        home: The project's home folder.

    Raises:
        InvalidArgument: The URL is wrong.

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
    from tidemill.stores.tables.delta import DeltaTables  # loads polars and deltalake

    return DeltaTables(home / (rest.removeprefix("//") or "tables"))
