from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument
from tidemill.core.scope import Scope
from tidemill.core.specs.features import Label
from tidemill.core.specs.sources import Source
from tidemill.pipelines.values import INLINE_BYTES, Values, artifacts_of, packed_digest, shown
from tidemill.stores.artifacts.open import open_artifacts
from tidemill.stores.metadata.open import open_metadata
from tidemill.tracking.datasets import Datasets


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("home")
    metadata = open_metadata("sqlite:", home)
    artifacts = open_artifacts("file:", home)
    yield Datasets(Scope("p", "ada", ManualClock(0)), metadata=metadata, artifacts=artifacts)
    metadata.close()


@pytest.fixture(scope="module")
def values(datasets: Datasets) -> Values:
    return Values(datasets._artifacts, datasets)


def through_json(values: Values, value: Any) -> Any:
    """What comes back after the reference was kept in a record."""
    return values.unpack(msgspec.json.decode(msgspec.json.encode(values.pack(value))))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


def same(one: Any, two: Any) -> bool:
    if type(one) is not type(two):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(two)) or one == two
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    return bool(one == two)


@given(PLAIN)
def test_plain_values_come_back_exactly(values: Values, value: Any) -> None:
    assert same(through_json(values, value), value)


def test_numpy_frames_and_objects_come_back(values: Values) -> None:
    number = through_json(values, np.float64(0.5))
    assert (type(number), number) == (np.float64, 0.5)
    assert through_json(values, [np.arange(3)])[0].tolist() == [0, 1, 2]
    frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"]}, schema_overrides={"b": pl.Enum(["x", "y"])})
    assert through_json(values, {"f": frame})["f"].equals(frame)
    assert through_json(values, frame).schema == frame.schema
    assert through_json(values, Path("x")) == Path("x")
    assert through_json(values, "\ud800") == "\ud800"


def test_datasets_travel_by_digest_even_inside_containers(values: Values, datasets: Datasets) -> None:
    rows = datasets.create(pl.DataFrame({"a": [1]}), name="rows", features=["a"])
    packed = values.pack({"rows": [rows], "n": 1})
    assert packed["items"]["rows"]["items"] == [{"kind": "dataset", "digest": rows.digest}]
    assert through_json(values, {"rows": [rows]})["rows"] == [rows]


def test_large_values_leave_the_record(values: Values) -> None:
    large = ["x"] * INLINE_BYTES
    packed = values.pack(large)
    assert packed["kind"] == "pickle"
    assert artifacts_of({"kind": "list", "items": [packed, {"kind": "json", "value": 1}]}) == [packed["digest"]]
    assert values.unpack(packed) == large


def test_what_cannot_be_kept_is_told(values: Values) -> None:
    with pytest.raises(InvalidArgument, match="generator cannot be kept"):
        values.pack([1, (n for n in ())])


def test_equal_results_have_equal_digests(values: Values) -> None:
    frame = pl.DataFrame({"a": [1, 2, 3]})
    pieces = pl.concat([frame.head(1), frame.tail(2)], rechunk=False)
    assert packed_digest(values.pack(frame)) == packed_digest(values.pack(pieces))
    assert packed_digest(values.pack(1)) != packed_digest(values.pack(1.5))


def test_what_people_see_is_plain() -> None:
    found = shown({1: (np.float64(0.5), float("nan"), 2**70, Path("x")), "t": True})
    assert found == {"1": [0.5, "nan", str(2**70), repr(Path("x"))], "t": True}


def test_definitions_are_shown_by_name() -> None:
    flights = Source("flights", "flights.csv", time="at", id="flight")
    late = Label(flights, pl.col("delay") > 15)
    assert shown([flights, late]) == ["source/flights", "label"]
    late.bind("late")
    assert shown({"label": late}) == {"label": "label/late"}
