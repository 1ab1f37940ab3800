"""Change logs come in: in whatever form they are told, the table holds one row per image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tidemill.core.errors import InvalidData, NotFound
from tidemill.core.specs.changes import Changes
from tidemill.core.specs.checks import check
from tidemill.core.specs.sources import Source
from tidemill.data.service import Data

MakeData = Callable[[], Data]

ratings = Source("ratings", time="at", created="changed", id="lsn", changes=Changes(before="before", after="after"),
                 checks=[check("stars").between(1, 5)])  # fmt: skip


def rating(place: str, stars: int, at: str = "2023-11-01T00:00:00Z") -> dict[str, Any]:
    return {"place": place, "stars": stars, "at": at}


def told(lsn: int | None, op: str, before: Any = None, after: Any = None) -> dict[str, Any]:
    return {"lsn": lsn, "op": op, "changed": "2023-11-02T00:00:00Z", "before": before, "after": after}


def table(data: Data, source: Source = ratings) -> list[tuple[Any, ...]]:
    return data.scan(source).sort("ingest_seq").select("lsn", "op", "place", "stars").collect().rows()


SNAPSHOT = [told(1, "r", None, rating("a", 4)), told(2, "r", None, rating("b", 3))]
CHANGES = [
    told(3, "c", None, rating("a", 5)),
    told(4, "u", rating("a", 4), rating("a", 2)),
    told(5, "u", rating("b", 3), rating("c", 3)),
    told(6, "d", rating("a", 5), None),
]
IMAGES = [
    (1, "+", "a", 4), (2, "+", "b", 3), (3, "+", "a", 5), (4, "-", "a", 4), (4, "+", "a", 2), (5, "-", "b", 3),
    (5, "+", "c", 3), (6, "-", "a", 5),
]  # fmt: skip


@pytest.mark.parametrize("how", ["push", "frame", "parquet"])
def test_a_snapshot_and_changes_become_images(how: str, data: Data, tmp_path: Path) -> None:
    for number, rows in enumerate((SNAPSHOT, CHANGES)):
        if how == "push":
            assert data.push(ratings, rows).quarantined == 0
        elif how == "frame":
            assert data.ingest(ratings, frame=pl.DataFrame(rows)).quarantined == 0
        else:
            pl.DataFrame(rows).write_parquet(tmp_path / f"{number}.parquet")
            data.ingest(ratings, url=f"{number}.parquet")
    assert table(data) == IMAGES
    columns = data.scan(ratings).collect_schema().names()
    assert {"before", "after"}.isdisjoint(columns)
    known = data.scan(ratings).select("created_ts").unique().collect()
    assert known.height == 1


def test_what_cannot_be_applied_goes_to_quarantine(data: Data) -> None:
    bad = [
        told(1, "u", None, rating("a", 1)), told(2, "d"), told(3, "c"), told(4, "truncate"), told(5, "c", None, rating("a", 9)),
        told(None, "c", None, rating("a", 3)), told(7, "C", None, rating("b", 2)),
    ]  # fmt: skip
    done = data.push(ratings, bad)
    assert (done.rows, done.quarantined) == (1, 6)
    assert table(data) == [(7, "+", "b", 2)]
    found = {row["id"]: row for row in data.quarantine(ratings).to_dicts()}
    assert found["1"]["reason"] == "no row before the change"
    assert json.loads(found["1"]["row"])["stars"] == 1
    assert found["2"]["reason"] == "no row before the change; no event time"
    assert found["3"]["reason"] == "no row after the change; no event time"
    assert found["4"]["reason"] == "unknown op; no event time"
    assert found["5"]["reason"] == "stars.between(1, 5)"
    assert found[None]["reason"] == "no id"


def test_a_repeated_change_counts_once(data: Data, make_data: MakeData) -> None:
    update = told(4, "u", rating("a", 4), rating("a", 2))
    data.push(ratings, [*SNAPSHOT, update])
    assert data.push(ratings, [update]).reasons == {"repeated id": 2}
    again = make_data().ingest(ratings, frame=pl.DataFrame([update, update, told(5, "d", rating("a", 2), None)]))
    assert (again.rows, again.quarantined) == (1, 4)
    assert table(data) == [*IMAGES[:2], IMAGES[3], IMAGES[4], (5, "-", "a", 2)]


def test_images_of_their_own(data: Data, tmp_path: Path) -> None:
    delta = Source("ratings", time="at", changes=Changes("_change_type"))
    lines = ["_change_type,place,stars,at", "insert,a,4,2023-11-01", "update_preimage,a,4,2023-11-01",
             "update_postimage,a,2,2023-11-01", "DELETE,a,2,2023-11-01", "update,a,2,2023-11-01",
             ",a,2,2023-11-01"]  # fmt: skip
    (tmp_path / "delta.csv").write_text("\n".join(lines))
    arrival = data.ingest(delta, url="delta.csv")
    rows = data.scan(delta).sort("ingest_seq").select("_change_type", "stars").collect().rows()
    assert rows == [("+", 4), ("-", 4), ("+", 2), ("-", 2)]
    assert arrival.checks == {"unknown op": 1, "no row before the change": 1}


def test_words_of_ones_own(data: Data) -> None:
    own = Source("ratings", time="at", changes=Changes("what", words={"NEW": "insert", "gone": "delete", "u": "after"}))
    rows = [{"what": what, **rating("a", 1)} for what in ("new", "Gone", "u")]
    data.push(own, rows)
    assert data.scan(own).sort("ingest_seq").collect()["what"].to_list() == ["+", "-", "+"]


def test_a_delivery_that_is_no_change_log_is_refused(data: Data) -> None:
    with pytest.raises(NotFound, match="change log 'ratings' names it"):
        data.ingest(ratings, frame=pl.DataFrame(SNAPSHOT).drop("op"))
    with pytest.raises(InvalidData, match="column 'after' of change log 'ratings' is Int32"):
        data.ingest(ratings, frame=pl.DataFrame(SNAPSHOT).with_columns(after=1))
    with pytest.raises(InvalidData, match="hold 'lsn', and so do the changes"):
        data.ingest(ratings, frame=pl.DataFrame([told(1, "c", None, {**rating("a", 1), "lsn": 3})]))
