from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument
from tidemill.core.scope import Scope
from tidemill.core.specs.features import Label
from tidemill.core.specs.sources import Source
from tidemill.monitoring.labels import Labels, Receipt, Watermark
from tidemill.monitoring.truth import HeldLabels
from tidemill.stores.streams.open import open_streams
from tidemill.stores.tables.open import open_tables
from tidemill.testing.processes import acknowledged_before_kill

FOREVER = 2**62


@pytest.fixture
def labels(scope, streams, tables):
    return Labels(scope, streams=streams, tables=tables)


@pytest.fixture
def late():
    return Label(Source("flights", "x.csv", time="at", id="flight"), pl.col("late"), name="late")


def receipt(accepted=0, duplicates=0, corrections=0):
    return Receipt(accepted=accepted, duplicates=duplicates, corrections=corrections)


def known(labels, late, until=FOREVER, ids=("a", "b", "c")):
    rows = labels.labels(late, pl.Series(ids), until)
    return dict(zip(rows["id"], rows["label"], strict=True))


def test_a_label_counts_from_when_it_is_known(labels, late):
    labels.post("late", [{"id": "a", "label": True, "known_at": 100}])
    assert known(labels, late, until=99) == {}
    assert known(labels, late, until=100) == {"a": 1.0}


def test_without_a_time_a_label_is_known_now(labels, late, clock):
    labels.post("late", [{"id": 7, "label": 2.5}])
    assert labels.labels(late, pl.Series(["7"]), clock.now()).rows() == [("7", 2.5, clock.now())]


def test_twice_is_once_and_later_is_right(labels, late):
    assert labels.post("late", [{"id": "a", "label": 0, "known_at": 1}]) == receipt(accepted=1)
    assert labels.post("late", [{"id": "a", "label": 0, "known_at": 5}]) == receipt(duplicates=1)
    assert labels.post("late", [{"id": "a", "label": 1, "known_at": 7}]) == receipt(corrections=1)
    assert known(labels, late, until=6) == {"a": 0.0}
    assert known(labels, late) == {"a": 1.0}


def test_within_one_post_the_last_row_wins(labels, late):
    assert labels.post("late", [{"id": "a", "label": n, "known_at": 1} for n in (0, 1, 1)]) == receipt(1, 1, 1)
    assert known(labels, late) == {"a": 1.0}


def test_labels_may_be_text(labels, late):
    labels.post("late", [{"id": "a", "label": "cat", "known_at": 1}, {"id": "b", "label": "dog", "known_at": 1}])
    assert known(labels, late) == {"a": "cat", "b": "dog"}


def test_labels_of_nobody_are_counted(labels, late):
    labels.post("late", [{"id": name, "label": 1} for name in ("a", "x", "y", "y")])
    assert labels.counts(late, pl.Series(["a", "b"])) == {"posted": 4, "labelled": 1, "orphans": 2}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": "a"}, "has the keys id"),
        ({"id": "a", "label": 1, "value": 2}, "id, label, value"),
        ({"id": None, "label": 1}, "the id of label 1 is None"),
        ({"id": "", "label": 1}, "the id of label 1 is ''"),
        ({"id": "a", "label": None}, "label 1 is None"),
        ({"id": "a", "label": float("nan")}, "label 1 is nan"),
        ({"id": "a", "label": 1, "known_at": "soon"}, "'soon' is not a time"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_stored(labels, late, row, said):
    with pytest.raises(InvalidArgument, match=said):
        labels.post("late", [{"id": "b", "label": 1}, row])
    assert known(labels, late) == {}


def test_no_rows_are_no_labels(labels):
    assert labels.post("late", []) == receipt()


# -- labels of the source --------------------------------------------------------------------------


def source_labels(*rows):
    schema = {"id": pl.String, "label": pl.Boolean, "known_at": pl.Int64, "seq": pl.Int64}
    frame = pl.LazyFrame(rows, schema=schema, orient="row")
    return HeldLabels(frame, ids=("id",), label="label", known="known_at", seq="seq")


def test_the_source_and_posts_are_one_truth(scope, streams, tables, late):
    held = source_labels(("a", True, 10, 1), ("b", True, 10, 2), ("c", None, 10, 3))
    labels = Labels(scope, streams=streams, tables=tables, derived=lambda _: held)
    labels.post("late", [{"id": "b", "label": False, "known_at": 10}, {"id": "a", "label": False, "known_at": 9}])
    assert known(labels, late, until=9) == {"a": 0.0}
    assert known(labels, late) == {"a": 1.0, "b": 0.0}


def test_what_changed_is_told_once(scope, streams, tables, late):
    rows = [("a", True, 10, 1), ("b", True, 20, 2)]
    labels = Labels(scope, streams=streams, tables=tables, derived=lambda _: source_labels(*rows))
    labels.post("late", [{"id": "c", "label": 1, "known_at": 5}])
    ids, mark = labels.changed(late, Watermark(), until=15)
    assert set(ids) == {"a", "c"}
    ids, mark = labels.changed(late, mark, until=15)
    assert set(ids) == set()
    labels.post("late", [{"id": "d", "label": 1, "known_at": 2}])  # late: known long ago, arrived now
    rows.append(("e", False, 3, 3))
    ids, mark = labels.changed(late, mark, until=25)
    assert set(ids) == {"b", "d", "e"}
    assert labels.changed(late, mark, until=30)[0].is_empty()


@given(
    posts=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 5)), max_size=15),
    until=st.integers(0, 5),
)
def test_the_label_known_last_counts(posts, until):
    scope = Scope("p", "ada", ManualClock(0))
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        labels = Labels(scope, streams=open_streams("memory:", home), tables=open_tables("delta:", home))
        late = Label(Source("s", "x.csv", time="at", id="i"), pl.col("y"), name="late")
        truth: dict[str, tuple[int, int]] = {}
        for name, value, at in posts:
            labels.post("late", [{"id": name, "label": value, "known_at": at}])
            if at <= until and at >= truth.get(name, (0, 0))[0]:
                truth[name] = (at, value)
        assert known(labels, late, until) == {name: float(value) for name, (_, value) in truth.items()}


def post_forever(acknowledge: Callable[[int], None], home: Path) -> None:
    labels = Labels(
        Scope("p", "ada", ManualClock(0)), streams=open_streams("file:", home), tables=open_tables("delta:", home)
    )
    number = 0
    while True:
        labels.post("late", [{"id": str(number), "label": number}])
        acknowledge(number)
        number += 1


def test_acknowledged_labels_survive_a_kill(tmp_path, late):
    numbers = acknowledged_before_kill(post_forever, (tmp_path,), after=10)
    labels = Labels(
        Scope("p", "ada", ManualClock(0)),
        streams=open_streams("file:", tmp_path),
        tables=open_tables("delta:", tmp_path),
    )
    found = known(labels, late, ids=[str(number) for number in range(len(numbers) + 1)])
    assert found.items() >= {str(number): float(number) for number in numbers}.items()
