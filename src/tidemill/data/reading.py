"""Rows of a delivery as a Polars frame: CSV, JSON and Parquet files, plain or packed, and frames of other libraries."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tidemill.core.errors import InvalidArgument, InvalidData, NotFound
from tidemill.core.specs.sources import SYSTEM_COLUMNS, Source
from tidemill.data.delimited import Dialect, read_csv
from tidemill.data.json_rows import is_json, read_json

_ZIP, _GZIP, _PARQUET = (b"PK\x03\x04", b"PK\x05\x06"), b"\x1f\x8b", b"PAR1"
_FORMATS = "a CSV, NDJSON or JSON file (plain, gzip, or zip with one member), or a Parquet file"


def find_file(url: str, folder: Path) -> Path:
    """The file a source's URL names.

    Args:
        url: A path, relative to `folder`, or a `file:` URL.
        folder: The project folder.

    Raises:
        NotFound: There is no such file; the message lists those beside it.
        InvalidArgument: The URL is not of a file.
    """
    scheme, colon, rest = url.partition("://")
    if colon and scheme != "file":
        raise InvalidArgument(f"a source cannot be read from {scheme}://", expected="a path or a file:// URL",
                              hint="Download it first, or pass the rows: ingest(source, frame=...)")  # fmt: skip
    path = folder / (rest if colon else url)
    if path.is_file():
        return path
    if path.is_dir():
        raise InvalidArgument(f"{path} is a folder", expected=_FORMATS)
    beside = sorted(p.name for p in path.parent.iterdir() if p.is_file()) if path.parent.is_dir() else []
    raise NotFound(f"there is no file {path}", known=beside[:20], hint="Check the url= of the source")


def read_file(path: Path, source: Source, known: Mapping[str, pl.DataType], *, origin: str) -> pl.DataFrame:
    """Read a delivered file.

    Args:
        path: The file; what it is, is told by its first bytes.
        source: Its source.
        known: Types of columns settled by the source or earlier deliveries.
        origin: The name it was delivered under.

    Raises:
        InvalidData: It cannot be read; the message says why.
    """
    data, name = _unpacked(path.read_bytes(), origin)
    if not data:
        raise InvalidData(f"{origin} is empty", expected=_FORMATS)
    if data.startswith(_PARQUET):
        frame = _read_parquet(data, origin)
    elif is_json(data, name):
        frame = read_json(data, origin)
    else:
        separator = "\t" if name.endswith((".tsv", ".tab")) else ","
        frame = read_csv(data, Dialect(origin, separator, source.null_values), known)
    return checked(frame, origin)


def _unpacked(data: bytes, name: str) -> tuple[bytes, str]:
    try:
        if data.startswith(_ZIP):
            return _only_member(data, name)
        if data.startswith(_GZIP):
            return gzip.decompress(data), name.removesuffix(".gz")
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InvalidData(f"{name} is damaged: {error}", hint="Fetch it again") from None
    return data, name


def _only_member(data: bytes, name: str) -> tuple[bytes, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [m for m in archive.namelist() if not m.endswith("/") and not m.startswith("__MACOSX/")]
        if len(members) != 1:
            raise InvalidData(f"{name} holds {len(members)} files", expected="one", known=members[:20])
        return archive.read(members[0]), members[0]


def _read_parquet(data: bytes, origin: str) -> pl.DataFrame:
    try:
        return pl.read_parquet(data)
    except pl.exceptions.PolarsError as error:
        raise InvalidData(f"{origin} is a damaged Parquet file: {error}", hint="Fetch it again") from None


def read_frame(rows: Any) -> pl.DataFrame:
    """A frame of Polars, pandas, pyarrow or anything else that speaks Arrow, as a Polars frame.

    A named index of a pandas frame becomes columns. pandas' NaN in numbers means "no value".

    Raises:
        InvalidArgument: It is no frame.

    Example:
        >>> read_frame(pl.LazyFrame({"x": [1]})).height
        1
    """
    if isinstance(rows, pl.LazyFrame):
        return checked(rows.collect(), "the frame")
    if isinstance(rows, pl.DataFrame):
        return checked(rows, "the frame")
    if type(rows).__module__.partition(".")[0] == "pandas":
        return checked(_from_pandas(rows), "the frame")
    if hasattr(rows, "__arrow_c_stream__"):
        return checked(pl.DataFrame(rows), "the frame")
    raise InvalidArgument(f"{type(rows).__name__} is no frame", expected="a frame of Polars, pandas or pyarrow")


def _from_pandas(rows: Any) -> pl.DataFrame:
    named = any(name is not None for name in rows.index.names)
    try:
        return pl.from_pandas(rows.reset_index() if named else rows)
    except ModuleNotFoundError:
        raise InvalidArgument(
            "this pandas frame cannot be read without pyarrow", hint="Run: pip install pyarrow"
        ) from None


def checked(frame: pl.DataFrame, origin: str) -> pl.DataFrame:
    """The frame, if it has rows and none of Tidemill's own columns.

    Raises:
        InvalidData: It is empty, or a column has a reserved name.
    """
    if not frame.height:
        raise InvalidData(f"{origin} has no rows", expected="at least one row")
    reserved = [name for name in frame.columns if name in SYSTEM_COLUMNS]
    if reserved:
        raise InvalidData(f"{origin} has the reserved columns {', '.join(reserved)}",
                          expected=f"other names than {', '.join(SYSTEM_COLUMNS)}, which Tidemill adds itself")  # fmt: skip
    return frame
