"""Digests as the names of artifacts."""

from __future__ import annotations

import re

from tidemill.core.errors import InvalidArgument, NotFound

_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_digest(digest: str) -> str:
    """The digest, if it is one: nothing else ever becomes a path.

    Raises:
        InvalidArgument: It is not.
    """
    if not _DIGEST.fullmatch(digest):
        raise InvalidArgument(f"{digest!r} is no digest", expected="a sha256 as 64 lower-case hex digits")
    return digest


def is_digest(name: str) -> bool:
    """Whether a file's name is a digest."""
    return _DIGEST.fullmatch(name) is not None


def place(digest: str) -> str:
    """Where an artifact is, relative to the root: two levels of folders keep each one small.

    Example:
        >>> place("ab12" + "0" * 60)[:9]
        'ab/12/ab1'
    """
    return f"{check_digest(digest)[:2]}/{digest[2:4]}/{digest}"


def no_artifact(digest: str) -> NotFound:
    """The error of an absent artifact."""
    return NotFound(
        f"there is no artifact {digest}", hint="It may have been removed by retention, or never stored here"
    )
