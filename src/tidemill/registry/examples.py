"""Stored examples of a model version: input rows and the answers given at registration."""

from __future__ import annotations

import io

import msgspec
import polars as pl

from tidemill.core.errors import InvalidData
from tidemill.tracking.dataset import encode


def pack_example(inputs: pl.DataFrame, outputs: pl.DataFrame) -> bytes:
    """Both frames in one file: a msgpack map of two Parquet files."""
    return msgspec.msgpack.encode({"inputs": encode(inputs), "outputs": encode(outputs)})


def unpack_example(data: bytes) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The two frames: inputs, outputs.

    Raises:
        InvalidData: The file is no example.
    """
    try:
        parts = msgspec.msgpack.decode(data, type=dict[str, bytes])
        return pl.read_parquet(io.BytesIO(parts["inputs"])), pl.read_parquet(io.BytesIO(parts["outputs"]))
    except (msgspec.MsgspecError, KeyError, pl.exceptions.PolarsError) as error:
        raise InvalidData(f"a stored example cannot be read: {error}") from error


def first_difference(expected: pl.DataFrame, found: pl.DataFrame) -> str | None:
    """Where two sets of answers differ, in words; None when they are identical, bit by bit."""
    if expected.schema != found.schema or expected.height != found.height:
        return f"{expected.height} rows of {dict(expected.schema)} became {found.height} of {dict(found.schema)}"
    for column in expected.columns:
        unlike = expected[column].ne_missing(found[column])
        if unlike.any():
            row = int(unlike.arg_true()[0])
            return f"{column} of row {row} was {expected[column][row]!r} and is {found[column][row]!r}"
    return None
