"""Opening the stream store a URL names."""

from __future__ import annotations

from pathlib import Path

from tidemill.core.errors import InvalidArgument
from tidemill.stores.streams.memory import MemoryStreams
from tidemill.stores.streams.protocol import StreamStore
from tidemill.stores.streams.segments import FileStreams

SCHEMES = ("file", "memory")


def open_streams(url: str, home: Path) -> StreamStore:
    """Open the store.

    Args:
        url: `file:` (the folder `streams` in the home), `file:FOLDER` (relative to the home), or `memory:` (gone with
            the process).
        home: The project's home folder.

    Raises:
        InvalidArgument: The URL is wrong.

    Example:
        >>> streams = open_streams("memory:", Path("."))
        >>> streams.append("sources/flights", "main", [b"AA1", b"UA2"])
        2
        >>> streams.read("sources/flights", "main", 1)
        [Message(offset=1, payload=b'UA2')]
    """
    scheme, _, rest = url.partition(":")
    if scheme == "file":
        return FileStreams(home / (rest.removeprefix("//") or "streams"))
    if scheme == "memory":
        return MemoryStreams()
    raise InvalidArgument(f"the stream store cannot be {scheme!r}", known=SCHEMES)
