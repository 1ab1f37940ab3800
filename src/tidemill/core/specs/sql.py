"""Row transforms written in SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tidemill.core.errors import InvalidArgument

_PARTS = re.compile(
    r"""
    (?P<quoted> '(?:[^']|'')*' | "(?:[^"]|"")*" )  # texts and names as they are
    | (?P<space> (?: \s | --[^\n]* | /\*.*?\*/ )+ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Sql:
    """A transform of rows as one SELECT over the table `rows`; call it as a function.

    Args:
        text: The statement, normalized: every gap or comment is one space.
    """

    text: str

    def __call__(self, rows: Any) -> Any:
        """The statement's result.

        Args:
            rows: Polars rows, lazy or not.
        """
        return rows.sql(self.text, table_name="rows")


def sql(text: str) -> Sql:
    """A feature view's transform in SQL instead of Python, in the dialect of Polars.

    It is held to the same rules: row by row, so without `GROUP BY`, `ORDER BY`, `DISTINCT`, `LIMIT` or `OVER`. It gives the
    same values in batch and online.

    Args:
        text: One `SELECT` over the table `rows`, which has the columns of the source.

    Raises:
        InvalidArgument: It is empty, or begins with another word.

    Example:
        >>> import polars as pl
        >>> late = sql("SELECT *, arr_delay > 15 AS late FROM rows  -- in minutes")
        >>> late(pl.DataFrame({"arr_delay": [10, 20]}))["late"].to_list()
        [False, True]
        >>> late.text
        'SELECT *, arr_delay > 15 AS late FROM rows'
    """
    normalized = _normalized(str(text))
    if normalized.partition(" ")[0].upper() not in ("SELECT", "WITH"):
        raise InvalidArgument(f"{text!r} is no SELECT", expected='tm.sql("SELECT *, x > 15 AS high FROM rows")')
    return Sql(normalized)


def _normalized(text: str) -> str:
    parts = (" " if part.lastgroup == "space" else part[0] for part in _PARTS.finditer(text))
    return "".join(parts).strip().rstrip(";").rstrip()
