from __future__ import annotations

import pickle
from itertools import pairwise

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tidemill.core.errors import FormatTooNew, InvalidArgument, InvalidData, NotFound
from tidemill.core.records.data import DatasetRecord
from tidemill.core.records.events import Event, Pin
from tidemill.core.schema import Column
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.dataset import Dataset, encode
from tidemill.tracking.datasets import Datasets
from tidemill.tracking.service import Tracking


@pytest.fixture
def datasets(tracking: Tracking) -> Datasets:
    return tracking.datasets


def make(datasets: Datasets, rides: pl.DataFrame, **changes: object) -> Dataset:
    facts: dict[str, object] = {
        "name": "rides", "features": ["station", "temp"], "label": "late", "id": ["ride"], "time": "at",
        "keys": ["station"], "request": ["ride", "at", "station"], "tables": {"sources/rides": 3}, "plan": "p1",
        "service": "rides",
    }  # fmt: skip
    return datasets.create(rides, **{**facts, **changes})  # type: ignore[arg-type]


def test_what_a_dataset_gives(datasets: Datasets, rides: pl.DataFrame) -> None:
    dataset = make(datasets, rides)
    assert len(dataset) == 6
    assert dataset.X.schema == {"station": pl.Enum(["east", "north", "south"]), "temp": pl.Float64}
    assert dataset.y.dtype == np.bool_
    assert dataset.y.tolist() == rides["late"].to_list()
    assert dataset.ids.to_list() == ["1", "2", "3", "4", "5", "6"]
    assert dataset.times.to_list() == [3_600_000_000 * i for i in range(6)]
    assert repr(dataset) == (
        f"<Dataset rides {dataset.digest[:12]}: 6 rows x 2 features, label late, "
        "1970-01-01T00:00:00Z to 1970-01-01T05:00:00Z>"
    )
    assert dataset.head(2).height == 2


def test_it_loads_as_it_was_made(datasets: Datasets, rides: pl.DataFrame) -> None:
    made = make(datasets, rides)
    loaded = datasets.load(made.digest)
    assert loaded == made
    assert hash(loaded) == hash(made)
    assert loaded.manifest == made.manifest
    assert_frame_equal(loaded.frame, rides)
    assert_frame_equal(loaded.X, made.X)
    assert datasets.load(made.digest[:8]) == made


def test_the_same_rows_are_kept_once(datasets: Datasets, rides: pl.DataFrame, metadata: MetadataStore) -> None:
    first = make(datasets, rides)
    again = make(datasets, pl.concat([rides.head(2), rides.tail(4)], rechunk=False))
    assert again == first
    with metadata.read() as reader:
        assert reader.count(DatasetRecord) == 1
        assert [event.kind for event in reader.find(Event)] == ["dataset.created"]


@pytest.mark.parametrize(
    "change",
    [{"until": 5}, {"features": ["temp"]}, {"tables": {"sources/rides": 4}}, {"plan": "p2"}, {"name": "other"}],
)
def test_any_other_fact_is_another_dataset(datasets: Datasets, rides: pl.DataFrame, change: dict[str, object]) -> None:
    assert make(datasets, rides, **change) != make(datasets, rides)


def test_what_it_needs_is_pinned(datasets: Datasets, rides: pl.DataFrame, metadata: MetadataStore) -> None:
    dataset = make(datasets, rides)
    with metadata.read() as reader:
        pins = {pin.target for pin in reader.find(Pin, {"owner": f"dataset/{dataset.digest}"})}
    assert pins == {f"artifact/{dataset.manifest.files[0].digest}", "table/sources/rides@3"}


@given(st.lists(st.integers(0, 20), max_size=3), st.lists(st.one_of(st.none(), st.text(max_size=2)), max_size=20))
def test_equal_rows_give_equal_bytes(cuts: list[int], values: list[str | None]) -> None:
    whole = pl.DataFrame({"v": pl.Series(values, dtype=pl.String), "i": pl.Series(range(len(values)), dtype=pl.Int64)})
    borders = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    pieces = [whole.slice(a, b - a) for a, b in pairwise(borders)] or [whole]
    assert encode(pl.concat(pieces, rechunk=False)) == encode(whole)


def test_described_features_keep_their_categories_and_units(datasets: Datasets, rides: pl.DataFrame) -> None:
    columns = [
        Column(name="station", type="string", categories=("north", "west")),
        Column(name="temp", type="float64", unit="°C"),
    ]
    dataset = make(datasets, rides, features=columns)
    assert dataset.manifest.features == tuple(columns)
    assert dataset.X["station"].to_list() == ["north", None, None, "north", None, None]


@pytest.mark.parametrize("field", ["features", "id", "keys", "request"])
def test_a_misspelled_column_is_an_error(datasets: Datasets, rides: pl.DataFrame, field: str) -> None:
    with pytest.raises(InvalidArgument, match=r"'staton'.*Known: .*station"):
        make(datasets, rides, **{field: ["staton"]})


def test_every_row_has_a_label(datasets: Datasets, rides: pl.DataFrame, metadata: MetadataStore) -> None:
    unlabelled = rides.with_columns(late=pl.when(pl.col("ride") == 3).then(None).otherwise("late"))
    with pytest.raises(InvalidData, match="1 of 6 rows have no 'late'"):
        make(datasets, unlabelled)
    with metadata.read() as reader:
        assert reader.count(DatasetRecord) == 0


def test_the_time_is_a_time(datasets: Datasets, rides: pl.DataFrame) -> None:
    with pytest.raises(InvalidData, match="'temp' is Float64"):
        make(datasets, rides, time="temp")


def test_without_label_id_and_time(rides: pl.DataFrame) -> None:
    dataset = Dataset.of(rides.select("station", "temp"))
    assert dataset.X.columns == ["station", "temp"]
    for ask in ("y", "ids", "times"):
        with pytest.raises(InvalidArgument, match="has no"):
            getattr(dataset, ask)


def test_several_id_columns_are_joined(rides: pl.DataFrame) -> None:
    dataset = Dataset.of(rides.select("ride", "late", "temp"), id=["ride", "late"])
    assert dataset.ids.to_list()[:2] == ["1|true", "2|false"]


def test_it_does_not_change(datasets: Datasets, rides: pl.DataFrame) -> None:
    dataset = make(datasets, rides)
    with pytest.raises(AttributeError):
        dataset.digest = "another"  # type: ignore[misc]


def test_it_travels_by_digest(datasets: Datasets, rides: pl.DataFrame) -> None:
    with pytest.raises(InvalidArgument, match="Pass its digest"):
        pickle.dumps(make(datasets, rides))


def test_an_unknown_digest(datasets: Datasets, rides: pl.DataFrame) -> None:
    make(datasets, rides)
    for digest in ("f" * 64, "ffffffff", "", "%", "____________"):
        with pytest.raises(NotFound, match="There is no dataset"):
            datasets.load(digest)


def test_a_newer_manifest_is_refused(datasets: Datasets, rides: pl.DataFrame, metadata: MetadataStore) -> None:
    made = make(datasets, rides)
    with metadata.write() as writer:
        record = writer.find(DatasetRecord)[0]
        writer.put(msgspec.structs.replace(record, manifest={**record.manifest, "format": 99}))
    with pytest.raises(FormatTooNew):
        datasets.load(made.digest)


def test_changed_rows_are_noticed(datasets: Datasets, rides: pl.DataFrame, artifacts: ArtifactStore) -> None:
    made = make(datasets, rides)
    path = artifacts.local_path(made.manifest.files[0].digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InvalidData):
        _ = datasets.load(made.digest).frame


def test_the_list_is_newest_first(datasets: Datasets, rides: pl.DataFrame, scope: object, clock: object) -> None:
    first = make(datasets, rides)
    clock.advance(10)  # type: ignore[attr-defined]
    second = make(datasets, rides, name="others")
    assert [record.digest for record in datasets.list()] == [second.digest, first.digest]
    assert [record.name for record in datasets.list("rides")] == ["rides"]
    assert len(datasets.list(limit=1)) == 1


def test_parts_remember_their_whole(datasets: Datasets, rides: pl.DataFrame) -> None:
    whole = make(datasets, rides)
    early = [True] * 4 + [False] * 2
    fit, test = datasets.divide(whole, early, [not one for one in early], {"by": "time", "test": "2h"})
    assert (len(fit), len(test)) == (4, 2)
    assert fit.manifest.parent == test.manifest.parent == whole.digest
    assert test.manifest.split == {"by": "time", "test": "2h", "part": "test"}
    assert fit.manifest.request == whole.manifest.request
    assert fit.X.schema == test.X.schema == whole.X.schema
    assert fit.manifest.last is not None
    assert test.manifest.first is not None
    assert fit.manifest.last < test.manifest.first


def test_a_gap_between_parts_is_fine(datasets: Datasets, rides: pl.DataFrame) -> None:
    fit, test = datasets.divide(
        make(datasets, rides), [True] * 2 + [False] * 4, [False] * 5 + [True], {"by": "time", "gap": "1h"}
    )
    assert (len(fit), len(test)) == (2, 1)


@pytest.mark.parametrize(
    ("fit", "test", "message"),
    [
        ([True] * 6, [False] * 6, "test part"),
        ([False] * 6, [True] * 6, "fit part"),
        ([True] * 4 + [False] * 2, [False] * 3 + [True] * 3, "1 rows would be in both"),
    ],
)
def test_parts_that_cannot_be(
    datasets: Datasets, rides: pl.DataFrame, fit: list[bool], test: list[bool], message: str
) -> None:
    with pytest.raises(InvalidData, match=message):
        datasets.divide(make(datasets, rides), fit, test, {})


def test_masks_fit_the_rows(datasets: Datasets, rides: pl.DataFrame) -> None:
    whole = make(datasets, rides)
    with pytest.raises(InvalidArgument, match="a mask of 2 for 6 rows"):
        datasets.divide(whole, [True, False], [False, True], {})


def test_an_id_is_on_one_side_only(datasets: Datasets, rides: pl.DataFrame) -> None:
    twice = make(datasets, rides.with_columns(ride=pl.Series([1, 2, 3, 4, 5, 1])))
    early = [True] * 3 + [False] * 3
    with pytest.raises(InvalidData, match=r"1 ids would be in both parts, such as '1'"):
        datasets.divide(twice, early, [not one for one in early], {})


def test_rows_of_a_dataset_in_memory(datasets: Datasets, rides: pl.DataFrame, metadata: MetadataStore) -> None:
    whole = make(datasets, rides)
    late = whole.part(pl.Series([True, False] * 3), {"by": "late"})
    assert late.frame["ride"].to_list() == [1, 3, 5]
    assert_frame_equal(late.X, whole.X.filter(pl.Series([True, False] * 3)))
    assert late != whole.part(pl.Series([True, False] * 3), {"by": "chance"})
    assert late.manifest.parent == whole.digest
    with metadata.read() as reader:
        assert reader.count(DatasetRecord) == 1
