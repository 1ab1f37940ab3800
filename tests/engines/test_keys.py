"""The hash of keys: equal for equal keys, spread, and the same for ever."""

from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.engines.keys import key_hashes, partition_numbers, split

KNOWN = pl.DataFrame(
    {
        "number": pl.Series([0, -1, 2**62, None]),
        "text": ["", "a", "Zürich", None],
        "real": [0.5, float("nan"), float("inf"), None],
        "flag": [True, False, True, None],
        "at": pl.Series([0, -1, 1_700_000_000_000_000, None]).cast(pl.Datetime("us", "UTC")),
    }
)
EXPECTED = [14319116392467248904, 17382039209153462150, 5188305171684484636, None]


def test_hashes_never_change_and_are_the_same_in_another_process() -> None:
    here = key_hashes(KNOWN, KNOWN.columns).to_list()
    assert here == EXPECTED
    program = (
        "import sys; sys.path.insert(0, 'tests/engines'); from tidemill.engines.keys import key_hashes\n"
        "import polars as pl; print(key_hashes(pl.DataFrame({'t': ['Zürich', None, '']}), ['t']).to_list())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(key_hashes(pl.DataFrame({"t": ["Zürich", None, ""]}), ["t"]).to_list())


@pytest.mark.parametrize(
    ("values", "types"),
    [
        ([1, 100, None], [pl.Int8, pl.UInt8, pl.Int64, pl.UInt64, pl.Int128]),
        (["a", "ä", None], [pl.String, pl.Categorical, pl.Enum(["a", "ä"])]),
        ([0.5, -2.0, None], [pl.Float32, pl.Float64, pl.Decimal(10, 2), pl.Decimal(20, 5)]),
    ],
)
def test_width_and_encoding_do_not_matter(values: list[object], types: list[pl.DataType]) -> None:
    found = [key_hashes(pl.DataFrame({"k": pl.Series(values).cast(dtype)}), ["k"]).to_list() for dtype in types]
    assert all(one == found[0] for one in found)
    assert [one is None for one in found[0]] == [False, False, True]


def test_times_are_equal_in_any_unit_and_zone() -> None:
    utc = pl.Series("k", [-1_000, 0, 5_000_000]).cast(pl.Datetime("us", "UTC"))
    others = [utc.dt.cast_time_unit("ns"), utc.dt.cast_time_unit("ms"), utc.dt.convert_time_zone("Asia/Tokyo"),
              utc.dt.replace_time_zone(None)]  # fmt: skip
    assert all(key_hashes(other.to_frame(), ["k"]).equals(key_hashes(utc.to_frame(), ["k"])) for other in others)


def test_zeros_and_nans_are_one_key_each_and_what_no_key_can_be_has_no_hash() -> None:
    zero, minus, nan, odd = key_hashes(pl.DataFrame({"k": [0.0, -0.0, float("nan"), -float("nan")]}), ["k"])
    assert (zero, nan) == (minus, odd)
    assert key_hashes(pl.DataFrame({"k": pl.Series([2**64 - 1], dtype=pl.UInt64)}), ["k"]).to_list() == [None]
    assert key_hashes(pl.DataFrame({"k": pl.Series([None, None])}), ["k"]).to_list() == [None, None]
    lists = key_hashes(pl.DataFrame({"k": [[1], [2], None]}), ["k"])
    assert lists[0] == lists[1]
    assert lists[2] is None


def test_columns_are_told_apart() -> None:
    frame = pl.DataFrame(
        {"a": [1, 2, 1, 11], "b": [2, 1, None, 1], "c": ["ab", "a", "", "a"], "d": ["c", "bc", "", "b"]}
    )
    assert key_hashes(frame, ["a", "b"])[:2].n_unique() == 2
    assert key_hashes(frame, ["c", "d"])[:2].n_unique() == 2
    assert key_hashes(frame, ["a", "b"])[2] is None


@pytest.mark.parametrize("keys", [["n"], ["t"], ["n", "t"]])
def test_partitions_are_about_equal(keys: list[str]) -> None:
    frame = pl.DataFrame({"n": range(20_000)}).with_columns(t=pl.format("key-{}", "n"))
    sizes = partition_numbers(frame, keys, 20).value_counts()["count"]
    assert len(sizes) == 20
    assert 850 < sizes.min() <= sizes.max() < 1150  # type: ignore[operator]  # 1000 ± 5 standard deviations


@given(st.lists(st.none() | st.text(max_size=3), max_size=40), st.integers(1, 9))
def test_splitting_keeps_every_row_once_in_order(texts: list[str | None], partitions: int) -> None:
    frame = pl.DataFrame({"k": pl.Series(texts, dtype=pl.String), "row": range(len(texts))})
    parts = split(frame, ["k"], partitions)
    assert sorted(row for part in parts.values() for row in part["row"]) == list(range(len(texts)))
    assert all(part["row"].is_sorted() and part.columns == ["k", "row"] for part in parts.values())
    homes = {key: number for number, part in parts.items() for key in part["k"]}
    assert all(homes[key] == number for number, part in parts.items() for key in part["k"])
    assert set(parts) <= set(range(partitions))
    assert homes.get(None, 0) == 0
