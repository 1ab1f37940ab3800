"""Examples at the end of a command's help."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """An epilog with one command per line, kept as written.

    Example:
        >>> examples("tidemill plan").splitlines()[1:]
        ['Example:', '  tidemill plan']
    """
    # The parser wraps paragraphs, except those that begin with a backspace.
    return "\b\n" + "\n".join(["Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])
