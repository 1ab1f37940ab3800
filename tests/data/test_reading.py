from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tidemill.core.errors import InvalidArgument, InvalidData, NotFound
from tidemill.core.specs.sources import Source
from tidemill.data.reading import find_file, read_file, read_frame

CSV = b"id,price,name\n1,0.5,ada\n2,NA,\n"
ROWS = [{"id": 1, "price": 0.5, "name": "ada"}, {"id": 2, "price": None, "name": None}]


def read(path: Path, content: bytes, known: dict[str, pl.DataType] | None = None, **options: object) -> pl.DataFrame:
    path.write_bytes(content)
    return read_file(path, Source("s", **options), known or {}, origin=path.name)  # type: ignore[arg-type]


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_csv", ".csv"), content)
    return buffer.getvalue()


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        CSV,
        b"\xef\xbb\xbf" + CSV,
        CSV.replace(b"\n", b"\r\n"),
        gzip.compress(CSV),
        zipped(x_csv=CSV),
        parquet(pl.DataFrame(ROWS)),
    ],
    ids=["plain", "byte order mark", "windows line ends", "gzip", "zip", "parquet"],
)
def test_every_form_of_a_file_gives_the_same_rows(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path / "any-name", content).to_dicts() == ROWS


def test_tabs_divide_a_tsv(tmp_path: Path) -> None:
    assert read(tmp_path / "x.tsv", CSV.replace(b",", b"\t")).to_dicts() == ROWS


def test_null_values_are_the_sources(tmp_path: Path) -> None:
    frame = read(tmp_path / "x.csv", b"a,b\n-999,NA\n3,\n", null_values=["-999"])
    assert frame.to_dicts() == [{"a": None, "b": "NA"}, {"a": 3, "b": ""}]


def test_types_are_inferred_from_all_rows(tmp_path: Path) -> None:
    lines = "\n".join(["1"] * 20_000 + ["1.5"])
    assert (
        read(tmp_path / "x.csv", f"a,b\n{lines.replace(chr(10), ',x' + chr(10))},x\n".encode()).schema["a"]
        == pl.Float64
    )


def test_a_known_type_wins_over_inference(tmp_path: Path) -> None:
    assert read(tmp_path / "x.csv", b"zip,n\n01234,1\n", {"zip": pl.String()})["zip"].to_list() == ["01234"]


def test_a_column_that_does_not_fit_its_known_type_comes_as_text(tmp_path: Path) -> None:
    frame = read(tmp_path / "x.csv", b"a,b\n1,2\nx,3\n", {"a": pl.Int64(), "b": pl.Int64()})
    assert frame["a"].to_list() == ["1", "x"]


def test_a_column_without_values_has_no_type(tmp_path: Path) -> None:
    assert read(tmp_path / "x.csv", b"a,b\n1,\n2,NA\n").schema["b"] == pl.Null


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n", "no rows"),
        (b"a;b;c\n1;2;3\n", "divided by a semicolon.*separator=';'"),
        (b"a\tb\n1\t2\n", "divided by a tab"),
        (b"a,b,a\n1,2,3\n", "several columns named 'a'"),
        (b"a,b\n1,2\n1,2,3\n", "more fields than its header"),
        (b"a,event_ts\n1,2\n", "reserved columns event_ts"),
        ("a,b\nüber,1\n".encode("latin-1"), "not UTF-8.*iconv"),
        (b"PAR1 and then nothing", "damaged Parquet"),
        (b"PK\x03\x04 torn", "damaged"),
        (gzip.compress(CSV)[:-12], "damaged"),
        (zipped(a_csv=CSV, b_csv=CSV), r"holds 2 files.*a\.csv, b\.csv"),
        (zipped(), "holds 0 files"),
    ],
    ids=[
        "empty",
        "header",
        "semicolon",
        "tab",
        "twice",
        "ragged",
        "reserved",
        "latin",
        "parquet",
        "zip",
        "gzip",
        "two",
        "none",
    ],
)
def test_a_bad_file_is_explained(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        read(tmp_path / "x.csv", content)


def test_mixed_types_name_the_column_the_row_and_the_value(tmp_path: Path) -> None:
    lines = [*("1.5" for _ in range(30)), "abc", *("2" for _ in range(30))]
    content = ("n,a\n" + "\n".join(f"0,{line}" for line in lines)).encode()
    with pytest.raises(InvalidData, match=r"column 'a'.*1 of 61 values.*'abc' in row 31.*types=\{'a': 'float64'\}"):
        read(tmp_path / "x.csv", content)
    assert read(tmp_path / "x.csv", content, {"a": pl.String()})["a"][30] == "abc"


def test_texts_that_look_like_numbers_now_and_then_are_texts(tmp_path: Path) -> None:
    assert read(tmp_path / "x.csv", b"a,b\nN101,1\n77,2\nN3,3\n").schema["a"] == pl.String


def test_a_missing_file_lists_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "weather.csv").write_bytes(CSV)
    with pytest.raises(NotFound, match=r"no file .*wether\.csv.*Known: weather\.csv"):
        find_file("wether.csv", tmp_path)
    assert find_file(f"file://{tmp_path}/weather.csv", Path("/elsewhere")) == tmp_path / "weather.csv"


def test_only_files_are_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="https://"):
        find_file("https://example.org/x.csv", tmp_path)
    with pytest.raises(InvalidArgument, match="is a folder"):
        find_file(".", tmp_path)


def test_frames_of_all_kinds_give_the_same_rows() -> None:
    frame = pl.DataFrame(ROWS)
    frames = [frame, frame.lazy(), frame.to_arrow(), frame.to_pandas(), pa.table(frame.to_dict(as_series=False))]
    for other in frames:
        assert read_frame(other).to_dicts() == ROWS, type(other)


def test_a_named_index_of_pandas_is_kept() -> None:
    assert read_frame(pd.DataFrame({"x": [1]}, index=pd.Index(["a"], name="key"))).to_dicts() == [{"key": "a", "x": 1}]
    assert read_frame(pd.DataFrame({"x": [1]})).columns == ["x"]


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="dict is no frame"):
        read_frame({"x": [1]})
    with pytest.raises(InvalidData, match="no rows"):
        read_frame(pl.DataFrame({"x": []}))
