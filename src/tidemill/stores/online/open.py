"""Opening the online store a URL names."""

from __future__ import annotations

from pathlib import Path

from tidemill.core.errors import InvalidArgument
from tidemill.stores.online.lmdb import LmdbOnline
from tidemill.stores.online.memory import MemoryOnline
from tidemill.stores.online.protocol import OnlineStore

SCHEMES = ("lmdb", "memory")


def open_online(url: str, home: Path) -> OnlineStore:
    """The online store a URL names.

    Args:
        url: `lmdb:` (the folder `online` in the home), `lmdb:FOLDER` (relative to the home), or `memory:` (gone with the
            process).
        home: The project's home folder.

    Raises:
        InvalidArgument: The URL is wrong.

    Example:
        >>> with open_online("memory:", Path(".")).read() as reader:
        ...     reader.views()
        []
    """
    scheme, _, rest = url.partition(":")
    if scheme == "lmdb":
        return LmdbOnline(home / (rest.removeprefix("//") or "online"))
    if scheme == "memory":
        return MemoryOnline()
    raise InvalidArgument(f"the online store cannot be {scheme!r}", known=SCHEMES)
