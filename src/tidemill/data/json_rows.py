"""JSON files: one object a line, or one array of objects; what is wrong with them is said in words."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl

from tidemill.core.errors import InvalidData
from tidemill.data.values import frame_of_records

_SUFFIXES = (".json", ".ndjson", ".jsonl")
_OTHERS = (".csv", ".tsv", ".tab", ".txt")
_MARK = b"\xef\xbb\xbf"
_EXPECTED = "one JSON object a line (NDJSON), or an array of objects"


def is_json(data: bytes, name: str) -> bool:
    """Whether a file holds JSON, by its name or, where that does not tell, by its first character.

    Example:
        >>> is_json(b'{"x": 1}', "delivery"), is_json(b"x,y", "delivery"), is_json(b"[x],y", "delivery.csv")
        (True, False, False)
    """
    if name.lower().endswith((*_SUFFIXES, *_OTHERS)):
        return name.lower().endswith(_SUFFIXES)
    return data.removeprefix(_MARK).lstrip()[:1] in (b"{", b"[")


def read_json(data: bytes, origin: str) -> pl.DataFrame:
    r"""Read a JSON file. Objects and arrays within a row become structs and lists.

    Args:
        data: The file.
        origin: What to call it in messages.

    Raises:
        InvalidData: It is no JSON, or not of objects; the message names the first line that is wrong.

    Example:
        >>> read_json(b'{"x": 1}\n{"x": 2.5}\n', "a delivery")["x"].to_list()
        [1.0, 2.5]
    """
    text = data.removeprefix(_MARK)
    rows = _array(text, origin) if text.lstrip()[:1] == b"[" else _lines(text, origin)
    return frame_of_records(rows)


_Rows = list[dict[str, Any]]
_row = msgspec.json.Decoder(dict[str, Any])
_rows = msgspec.json.Decoder(_Rows)


def _array(text: bytes, origin: str) -> _Rows:
    try:
        return _rows.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(origin, error) from None


def _lines(text: bytes, origin: str) -> _Rows:
    rows = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if line.strip():
            try:
                rows.append(_row.decode(line))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise _refused(f"line {number} of {origin}", error) from None
    return rows


def _refused(what: str, error: Exception) -> InvalidData:
    return InvalidData(
        f"{what} cannot be read as JSON: {error}", expected=_EXPECTED,
        hint="Nothing was written. Values JSON does not know, such as NaN, are written as null",
    )  # fmt: skip
