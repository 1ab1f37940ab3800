"""What a failing command says and how it exits."""

from __future__ import annotations

import os
import sys
import traceback

from tidemill.core.errors import TidemillError, exit_code

INTERRUPTED = 130


def report(error: BaseException) -> int:
    """Write one clear sentence to stderr and return the exit code; `TIDEMILL_TRACEBACK=1` adds the traceback.

    Args:
        error: What ended the command.
    """
    if _reader_left(error):
        # The reader of a pipe (`| head`) has seen enough; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        # A misused command: the parser's own words, with the usage line and the closest names. Its class is private.
        error.show()
        return int(error.exit_code)
    _say(error)
    if os.environ.get("TIDEMILL_TRACEBACK"):
        traceback.print_exception(error)
    return exit_code(error)


def say_stopped() -> None:
    """The sentence after Ctrl-C."""
    print("Stopped.", file=sys.stderr)


def _say(error: BaseException) -> None:
    if isinstance(error, KeyboardInterrupt):
        say_stopped()
    elif isinstance(error, TidemillError):
        print(f"Error: {error}", file=sys.stderr)
    else:
        print(f"Internal error: {type(error).__name__}: {error}", file=sys.stderr)
        print("Set TIDEMILL_TRACEBACK=1 to see where, and please report it.", file=sys.stderr)


def _reader_left(error: BaseException) -> bool:
    # Libraries that print turn it into an exit of their own.
    return isinstance(error, BrokenPipeError) or (
        isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)
    )
