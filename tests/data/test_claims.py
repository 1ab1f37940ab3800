"""Two projects of one home: a source's rows are the first one's that writes them."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from tidemill.core.errors import AlreadyExists
from tidemill.core.records.events import DefinitionVersion, Position
from tidemill.core.specs.sources import Source
from tidemill.data.service import Data

MakeData = Callable[..., Data]
weather = Source("weather", time="at", id="id")
tides = Source("tides", time="at", id="id")
REFUSED = r"the rows of source 'weather' in this home are those of project 'test'.*home= of its own"


def rows(*ids: str) -> list[dict[str, str]]:
    return [{"at": "2024-01-01T00:00:00Z", "id": one} for one in ids]


def rows_frame(*ids: str) -> pl.DataFrame:
    return pl.DataFrame(rows(*ids)).with_columns(pl.col("at").str.to_datetime(time_zone="UTC"))


def without_claims(data: Data) -> None:
    """As homes were before there were any."""
    with data._ledger.metadata.write() as writer:
        assert writer.remove(Position, {"consumer": ("like", "writes/%")})


@pytest.mark.parametrize("compacted", [False, True])
def test_another_project_cannot_write_a_source_of_that_name_and_can_read_it(
    make_data: MakeData, compacted: bool
) -> None:
    data, other = make_data(), make_data("other")
    data.push(weather, rows("a"))
    if compacted:
        data.flush()
    with pytest.raises(AlreadyExists, match=REFUSED):
        other.push(weather, rows("b"))
    with pytest.raises(AlreadyExists, match=REFUSED):
        make_data("other").ingest(weather, frame=rows_frame("b"))
    other.push(tides, rows("b"))
    data.push(weather, rows("c"))
    make_data().push(weather, rows("d"))
    assert sorted(other.scan(weather).collect()["id"]) == ["a", "c", "d"]


def test_projects_that_wrote_one_source_before_go_on(make_data: MakeData) -> None:
    data, other = make_data(), make_data("other")
    data.ingest(weather, frame=rows_frame("a"))
    without_claims(data)
    with pytest.raises(AlreadyExists, match=REFUSED):
        other.push(weather, rows("b"))
    with other._ledger.metadata.write() as writer:
        writer.add(
            DefinitionVersion(**other.scope.stamp(), kind="source", name="weather", version=1, digest="0", body={})
        )
    other.push(weather, rows("b"))
    other.flush()
    without_claims(data)
    for one, added in ((make_data(), "c"), (make_data("other"), "d"), (make_data(), "e")):
        one.push(weather, rows(added))
    assert sorted(data.scan(weather).collect()["id"]) == ["a", "b", "c", "d", "e"]


def test_a_source_that_was_applied_only_does_not_take_the_name(make_data: MakeData) -> None:
    data, other = make_data(), make_data("other")
    data.push(weather, rows("a"))
    with other._ledger.metadata.write() as writer:
        writer.add(
            DefinitionVersion(**other.scope.stamp(), kind="source", name="weather", version=1, digest="0", body={})
        )
    with pytest.raises(AlreadyExists, match=REFUSED):
        other.push(weather, rows("b"))
