"""What a page shows when it cannot be shown."""

from __future__ import annotations

import msgspec

from tidemill.core.errors import TidemillError
from tidemill.platform import Platform


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An error in words; the same as the API's."""

    code: str
    message: str
    expected: str | None = None
    known: tuple[str, ...] = ()
    hint: str | None = None


class FailurePage(msgspec.Struct, frozen=True, kw_only=True):
    """An error in place of a page."""

    project: str
    now: int
    error: Failure


def failure(platform: Platform, error: TidemillError) -> FailurePage:
    """The page of an error."""
    scope = platform.scope
    told = Failure(code=error.code, message=error.found, expected=error.expected, known=error.known, hint=error.hint)
    return FailurePage(project=scope.project, now=scope.now(), error=told)
