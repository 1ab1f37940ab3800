"""Every error a user can meet, and the one place where errors become HTTP statuses and exit codes.

A message says what was found, what was expected and what to do next, and lists the known values.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class TidemillError(Exception):
    """Base of all errors Tidemill raises on purpose.

    Args:
        found: What was found, as a sentence without a full stop.
        expected: What would have been right.
        hint: What to do next.
        known: The known values, listed in the message.
    """

    code: ClassVar[str] = "internal"

    def __init__(
        self, found: str, *, expected: str | None = None, hint: str | None = None, known: Iterable[str] = ()
    ) -> None:
        self.found = found
        self.expected = expected
        self.hint = hint
        self.known = tuple(known)
        super().__init__(found)

    def __str__(self) -> str:
        parts = [self.found.rstrip(".") + "."]
        if self.expected:
            parts.append(f"Expected {self.expected.rstrip('.')}.")
        if self.known:
            parts.append(f"Known: {', '.join(self.known)}.")
        if self.hint:
            parts.append(self.hint if self.hint.endswith(("?", ".")) else self.hint + ".")
        return " ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.found, self.expected, self.hint, self.known)


def _rebuild(
    kind: type[TidemillError], found: str, expected: str | None, hint: str | None, known: tuple[str, ...]
) -> TidemillError:
    error = kind.__new__(kind)
    TidemillError.__init__(error, found, expected=expected, hint=hint, known=known)
    return error


class InvalidArgument(TidemillError, ValueError):
    """An argument, option, name or definition is wrong."""

    code = "invalid_argument"


class InvalidData(TidemillError, ValueError):
    """The data itself is not what its definition promises."""

    code = "invalid_data"


class NotFound(TidemillError, KeyError):
    """Something named does not exist."""

    code = "not_found"

    __str__ = TidemillError.__str__


class AlreadyExists(TidemillError, ValueError):
    """A name is taken by something else."""

    code = "already_exists"


class Conflict(TidemillError):
    """Somebody else changed or holds the same thing."""

    code = "conflict"


class PermissionDenied(TidemillError, PermissionError):
    """The principal may not do this, or the address may not be used."""

    code = "permission_denied"


class NotReady(TidemillError):
    """It will work later: nothing is served yet."""

    code = "not_ready"


class Unavailable(TidemillError, ConnectionError):
    """A store or service does not answer."""

    code = "unavailable"


class Overloaded(TidemillError):
    """Too much at once; try again shortly."""

    code = "overloaded"


class DeadlineExceeded(TidemillError, TimeoutError):
    """The caller's deadline passed before the work was done."""

    code = "deadline_exceeded"


class StorageFull(TidemillError, OSError):
    """The disk or the store has no room left."""

    code = "storage_full"

    __str__ = TidemillError.__str__


class FormatTooNew(TidemillError):
    """A newer program wrote this home."""

    code = "format_too_new"


class UserCodeError(TidemillError):
    """The user's own function raised; the cause is chained."""

    code = "user_code"


class Interrupted(TidemillError):
    """The work was stopped on purpose."""

    code = "interrupted"


class MissingExtra(TidemillError, ImportError):
    """An optional package is not installed.

    Args:
        what: What needs it, for example "the model format sklearn".
        extra: The extra to install, for example "sklearn".
    """

    code = "missing_extra"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs a package that is not installed", hint=f"Run: pip install 'tidemill[{extra}]'")


HTTP_STATUS: dict[str, int] = {
    "internal": 500,
    "invalid_argument": 400,
    "invalid_data": 400,
    "not_found": 404,
    "already_exists": 409,
    "conflict": 409,
    "permission_denied": 403,
    "not_ready": 503,
    "unavailable": 503,
    "overloaded": 429,
    "deadline_exceeded": 504,
    "storage_full": 507,
    "format_too_new": 500,
    "user_code": 500,
    "interrupted": 503,
    "missing_extra": 501,
}

EXIT_CODE: dict[str, int] = {
    "internal": 1,
    "invalid_argument": 2,
    "not_found": 3,
    "already_exists": 4,
    "conflict": 4,
    "invalid_data": 5,
    "not_ready": 6,
    "unavailable": 6,
    "overloaded": 6,
    "deadline_exceeded": 6,
    "storage_full": 7,
    "permission_denied": 8,
    "format_too_new": 9,
    "missing_extra": 10,
    "user_code": 11,
    "interrupted": 130,
}


def http_status(error: BaseException) -> int:
    """The HTTP status of an error; 500 for one Tidemill did not raise.

    Example:
        >>> http_status(NotFound("no model 'late'"))
        404
    """
    return HTTP_STATUS[error.code] if isinstance(error, TidemillError) else 500


def exit_code(error: BaseException) -> int:
    """The process exit code of an error.

    Example:
        >>> exit_code(InvalidArgument("no option --dais"))
        2
    """
    if isinstance(error, KeyboardInterrupt):
        return 130
    return EXIT_CODE[error.code] if isinstance(error, TidemillError) else 1


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str | None = None) -> NotFound:
    """A NotFound for a misspelled or absent name, with the closest known one as hint.

    Example:
        >>> print(unknown("feature view", "airport_wether", ["airport_weather"]))
        There is no feature view 'airport_wether'. Known: airport_weather. Did you mean 'airport_weather'?
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    shown = names if len(names) <= 20 else [*names[:20], f"... ({len(names)} in all)"]
    error = NotFound(f"There is no {kind} {name!r}", known=shown, hint=hint)
    if close:
        error.hint = f"Did you mean {close[0]!r}?" if hint is None else f"Did you mean {close[0]!r}? {hint}"
    return error
