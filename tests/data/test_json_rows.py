from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import InvalidData
from tidemill.core.specs.sources import Source
from tidemill.data.json_rows import is_json, read_json
from tidemill.data.reading import read_file
from tidemill.data.service import Data

ROWS = [{"id": 1, "price": 0.5, "name": "ada"}, {"id": 2, "price": None, "name": "grün"}]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("rows.jsonl", content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.ndjson", LINES),
        ("rows.jsonl", LINES + b"\n\n"),
        ("rows.JSONL", b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n")),
        ("rows.ndjson.gz", gzip.compress(LINES, mtime=0)),
        ("rows.zip", zipped(LINES)),
        ("rows.json", json.dumps(ROWS, indent=2).encode()),
        ("rows.json.gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0)),
        ("delivery", LINES),
        ("delivery", b" " + json.dumps(ROWS).encode()),
    ],
)
def test_every_form_of_a_file_gives_the_same_rows(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_file(tmp_path / name, Source("s"), {}, origin=name).to_dicts() == ROWS


def test_a_csv_file_may_start_with_a_bracket(tmp_path: Path) -> None:
    assert not is_json(b"[a],b\n1,2\n", "x.csv")
    (tmp_path / "x.csv").write_bytes(b"[a],b\n1,2\n")
    assert read_file(tmp_path / "x.csv", Source("s"), {}, origin="x.csv").columns == ["[a]", "b"]


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False),
                   st.text(max_size=5))  # fmt: skip


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, min_size=1), min_size=1, max_size=8))
def test_no_value_is_lost(rows: list[dict[str, Any]]) -> None:
    text = "\n".join(map(json.dumps, rows)).encode()
    assert read_json(text, "x").equals(read_json(json.dumps(rows).encode(), "x"))
    frame = read_json(text, "x")
    for name in frame.columns:
        given_values = [row.get(name) for row in rows]
        kinds = {type(value) for value in given_values if value is not None}
        texts = len(kinds) > 1 and not kinds <= {int, float}
        expected = [str(value) if texts and value is not None else value for value in given_values]
        numbers = kinds == {int, float}
        assert frame[name].to_list() == [float(v) if numbers and v is not None else v for v in expected]


def test_nested_values_keep_all_their_parts() -> None:
    frame = read_json(b'{"at": {"x": 1}, "tags": [1]}\n{"at": {"x": 1.5, "y": "b"}, "tags": [2.5]}', "x")
    assert frame["at"].to_list() == [{"x": 1.0, "y": None}, {"x": 1.5, "y": "b"}]
    assert frame["tags"].to_list() == [[1.0], [2.5]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a": 2', "line 2 of x.json cannot be read as JSON.*truncated"),
        (b'{"a": NaN}', "line 1.*NaN, are written as null"),
        (b'{"a": 1}\n\n[1]', "line 3.*Expected `object`"),
        (b'{"a": 1} {"a": 2}', "line 1.*trailing characters"),
        (b'[{"a": 1}, 2]', "x.json cannot be read as JSON.*Expected `object`"),
        (b'[{"a": 1}', "truncated"),
        (b'{\n  "a": 1\n}', "one JSON object a line"),
        (b"[]", "no rows"),
        (b"{}", "no rows"),
        (b"", "is empty"),
        (b"a,b\n1,2\n", "line 1"),
        ("{\"a\": \"ü\"}".encode("latin-1"), "line 1"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b'{"event_ts": 1}', "reserved columns event_ts"),
    ],
)  # fmt: skip
def test_a_bad_file_is_explained(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InvalidData, match=message):
        read_file(tmp_path / "x.json", Source("s"), {}, origin="x.json")


def test_a_declared_type_quarantines_what_does_not_fit(data: Data, tmp_path: Path) -> None:
    source = Source("orders", "orders.ndjson", time="at", id="id", types={"price": "float64"})
    rows = [{"id": n, "at": "2023-12-01", "price": price} for n, price in enumerate([1, 2.5, "dear", 4])]
    (tmp_path / "orders.ndjson").write_text("\n".join(map(json.dumps, rows)))
    arrival = data.ingest(source)
    assert (arrival.rows, arrival.quarantined) == (3, 1)
    assert data.quarantine(source)["reason"].item() == "'dear' in column 'price' is not of type Float64"
    assert data.scan(source).collect().sort("id")["price"].to_list() == [1.0, 2.5, 4.0]


def test_pushed_records_keep_all_their_parts(data: Data) -> None:
    source = Source("events")
    data.push(source, [{"place": {"x": 1}}, {"place": {"x": 1.5, "y": 2}}])
    assert data.scan(source).collect()["place"].to_list() == [{"x": 1.0, "y": None}, {"x": 1.5, "y": 2}]


def test_equal_rows_of_another_form_are_another_delivery(data: Data, tmp_path: Path) -> None:
    source = Source("orders", "orders.json", id="id")
    (tmp_path / "orders.json").write_bytes(LINES)
    first = data.ingest(source)
    (tmp_path / "orders.json").write_text(json.dumps(ROWS))
    second = data.ingest(source)
    assert (first.rows, second.rows, second.checks) == (2, 0, {"repeated id": 2})
    assert second.archive is not None
    assert json.loads(data.artifacts.get(second.archive)) == ROWS
    assert data.scan(source).collect().schema["price"] == pl.Float64
