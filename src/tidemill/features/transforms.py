"""What a user's transform does, found out without any data: its columns, what it reads, whether it goes row by row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source
from polars.testing import assert_frame_equal

from tidemill.core.errors import InvalidArgument, TidemillError, UserCodeError


@dataclass(frozen=True)
class Traced:
    """A transform, run on no rows.

    Args:
        schema: The columns it returns.
        row_wise: Whether its plan holds nothing but SELECT and WITH_COLUMNS over its input, so that row i of the output
            belongs to row i of the input.
    """

    schema: pl.Schema
    row_wise: bool


def trace(transform: Callable[[Any], Any], schema: pl.Schema, what: str) -> Traced:
    """Run a transform on a frame without rows.

    Args:
        transform: Takes and returns Polars rows.
        schema: The columns of its input.
        what: Its name in messages.

    Raises:
        UserCodeError: It raised, or names a column its input lacks.
        InvalidArgument: It returns no frame.
    """
    out = call(transform, _probe(schema, []), what, schema)
    found = resolved(out.collect_schema, what, schema)
    return Traced(found, is_row_wise(out.explain(optimized=False)))


def reads(transform: Callable[[Any], Any], schema: pl.Schema, wanted: Sequence[str], what: str) -> list[str]:
    """The input columns that some output columns are made of, as the query optimizer sees it."""
    asked: list[list[str] | None] = []
    out = call(transform, _probe(schema, asked), what, schema)
    resolved(lambda: out.select(wanted).collect(), what, schema)
    if any(columns is None for columns in asked):
        return schema.names()
    return [name for name in schema.names() if any(name in (columns or ()) for columns in asked)]


def call(transform: Callable[[Any], Any], rows: pl.LazyFrame, what: str, schema: pl.Schema) -> pl.LazyFrame:
    """The lazy output of a transform."""
    out = resolved(lambda: transform(rows), what, schema)
    if isinstance(out, pl.DataFrame):
        return out.lazy()
    if not isinstance(out, pl.LazyFrame):
        raise InvalidArgument(f"{what} returned {type(out).__name__}", expected="the rows it was given, changed")
    return out


def resolved(work: Callable[[], Any], what: str, schema: pl.Schema) -> Any:
    """Do some of a transform's work; what it raises becomes an error that names the transform."""
    try:
        return work()
    except TidemillError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        raise UserCodeError(f"{what} raised {type(error).__name__}: {reason}", known=schema.names()) from error


def check_same(what: str, whole: pl.DataFrame, others: Mapping[str, pl.DataFrame], *, hint: str) -> None:
    """Check that a transform made the same of some rows in whatever company they were.

    Args:
        what: The transform's name in messages.
        whole: What it made of all rows together.
        others: How it saw the rows otherwise -> what it made of them then, in the order of `whole`.
        hint: What to do instead.

    Raises:
        InvalidArgument: It made something else.
    """
    for how, other in others.items():
        try:
            assert_frame_equal(whole, other, check_exact=True)
        except AssertionError as error:
            raise InvalidArgument(
                f"{what} gives other values when it sees rows {how}: {str(error).splitlines()[0]}",
                expected="a transform that works row by row",
                hint=hint,
            ) from None


def _probe(schema: pl.Schema, asked: list[list[str] | None]) -> pl.LazyFrame:
    """A frame without rows that notes which of its columns are read."""

    def scan(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        asked.append(with_columns)
        frame = pl.DataFrame(schema=schema)
        yield frame if with_columns is None else frame.select(with_columns)

    return register_io_source(scan, schema=schema)


_NODES = re.compile(r"SELECT \[\]|WITH_COLUMNS:|\[\]|PYTHON SCAN \[\]|PROJECT \S+ COLUMNS|")


def is_row_wise(plan: str) -> bool:
    """Whether an unoptimized plan holds SELECT and WITH_COLUMNS over one scan, and nothing else.

    Example:
        >>> rows = _probe(pl.Schema({"x": pl.Int64}), [])
        >>> is_row_wise(rows.select("x").explain(optimized=False))
        True
        >>> is_row_wise(rows.sort("x").explain(optimized=False))
        False
    """
    nodes = [line.strip() for line in _without_expressions(plan).splitlines()]
    return nodes.count("PYTHON SCAN []") == 1 and all(_NODES.fullmatch(node) for node in nodes)


def _without_expressions(plan: str) -> str:
    """The plan with everything between brackets, and every text literal, left out."""
    kept: list[str] = []
    depth = 0
    for character in re.sub(r'"[^"]*"', "", plan):
        depth -= character == "]"
        if depth == 0:
            kept.append(character)
        depth += character == "["
    return "".join(kept)
