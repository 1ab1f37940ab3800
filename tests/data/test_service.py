from __future__ import annotations

import csv
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument, InvalidData, NotFound, UserCodeError
from tidemill.core.records.events import Event, Pin
from tidemill.core.specs.checks import check
from tidemill.core.specs.sources import Source
from tidemill.data.service import Data

MakeData = Callable[[], Data]
HEADER = "at,id,temp\n"
GOOD = HEADER + "2023-12-01T00:00:00Z,a,1.5\n2023-12-02,b,2\n"

weather = Source("weather", "weather.csv", time="at", id="id", checks=[check("temp").between(-50, 50)])


def write(tmp_path: Path, text: str, name: str = "weather.csv") -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")


def reasons(data: Data, source: Source = weather) -> dict[str | None, str]:
    return dict(data.quarantine(source).select("id", "reason").rows())


# -- deliveries --------------------------------------------------------------------------------------------------------


def test_a_delivery_is_archived_stored_and_told_of(data: Data, tmp_path: Path, clock: ManualClock) -> None:
    write(tmp_path, GOOD)
    arrival = data.ingest(weather)
    assert (arrival.rows, arrival.quarantined, arrival.table, arrival.table_version) == (2, 0, "sources/weather", 0)
    assert arrival.archive is not None
    assert data.artifacts.get(arrival.archive) == GOOD.encode()
    rows = data.scan(weather).sort("ingest_seq").collect()
    assert rows["event_ts"].dt.timestamp("us").to_list() == [arrival.first_ts, arrival.last_ts]
    assert rows["created_ts"].dt.timestamp("us").to_list() == [clock.now()] * 2
    assert rows["ingest_seq"].to_list() == [1, 2]
    with data._ledger.metadata.read() as reader:
        (event,) = reader.find(Event)
        (pin,) = reader.find(Pin)
    assert (event.kind, event.subject, event.body["rows"]) == ("data.arrived", "source/weather", 2)
    assert (pin.target, pin.owner) == (f"artifact/{arrival.archive}", f"arrival/{arrival.id}")


def test_the_same_bytes_again_change_nothing(
    data: Data, make_data: MakeData, tmp_path: Path, clock: ManualClock
) -> None:
    write(tmp_path, GOOD)
    first = data.ingest(weather)
    clock.advance(10)
    write(tmp_path, GOOD, "copy.csv")
    assert make_data().ingest(weather, url="copy.csv") == first
    assert len(data.arrivals()) == 1
    assert data.table_version(weather) == 0


def test_bad_rows_go_to_quarantine_with_all_their_reasons(data: Data, tmp_path: Path) -> None:
    lines = [
        "2023-12-01,a,1", "2023-12-01,a,2", ",b,3", "2023-12-01,,4", "2123-01-01,c,5", "2123-01-01,d,99",
        "2023-12-01,e,-51", "soon,f,1", "1869-12-01,g,7", "2023-12-01,e,0",
    ]  # fmt: skip
    write(tmp_path, HEADER + "\n".join(lines) + "\n")
    arrival = data.ingest(weather)
    assert data.scan(weather).sort("ingest_seq").collect()["id"].to_list() == ["a", "g", "e"]
    quarantine = data.quarantine(weather)
    assert dict(quarantine.select("id", "reason").rows()) == {
        "a": "repeated id",
        "b": "no event time",
        None: "no id",
        "c": "in the future",
        "d": "in the future; temp.between(-50, 50)",
        "e": "temp.between(-50, 50)",
        "f": "'soon' in column 'at' is no time",
    }
    assert json.loads(quarantine.filter(id="d")["row"].item()) == {"at": "2123-01-01", "id": "d", "temp": 99}
    assert (arrival.rows, arrival.quarantined, quarantine.height) == (3, 7, 7)
    assert arrival.checks["temp.between(-50, 50)"] == 2
    assert arrival.checks["in the future"] == 2


def test_ids_that_are_there_already_are_repeated(data: Data, make_data: MakeData, tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    data.ingest(weather)
    write(tmp_path, GOOD + "2023-12-03,c,3\n")
    arrival = make_data().ingest(weather)
    assert (arrival.rows, arrival.quarantined, arrival.first_seq) == (1, 2, 3)
    assert reasons(data) == {"a": "repeated id", "b": "repeated id"}


def test_without_an_id_rows_may_repeat(data: Data, tmp_path: Path) -> None:
    source = Source("planes", "planes.csv")
    write(tmp_path, "tail,seats\nN1,100\nN1,100\n", "planes.csv")
    assert data.ingest(source).rows == 2
    rows = data.scan(source).collect()
    assert rows["event_ts"].null_count() == 2
    assert data.watermark(source) is None


def test_a_bad_file_writes_nothing(data: Data, tmp_path: Path) -> None:
    for text in ("", HEADER, "at;id;temp\n1;2;3\n", "id,temp\na,1\n"):
        write(tmp_path, text)
        with pytest.raises((InvalidData, NotFound)):
            data.ingest(weather)
    assert data.arrivals() == []
    assert data.tables.names() == []


def test_a_missing_file_is_said(data: Data) -> None:
    with pytest.raises(NotFound, match=r"weather\.csv"):
        data.ingest(weather)
    with pytest.raises(InvalidArgument, match="no URL"):
        data.ingest(Source("pushed"))


def test_a_column_the_definition_names_and_the_file_lacks_is_said(data: Data, tmp_path: Path) -> None:
    write(tmp_path, "observed,id,temp\n2023-12-01,a,1\n")
    with pytest.raises(NotFound, match=r"'at'.*Known: id, observed, temp.*source 'weather' names it"):
        data.ingest(weather)


def test_a_vanished_column_is_refused(data: Data, tmp_path: Path) -> None:
    write(tmp_path, "at,id,temp,humid\n2023-12-01,a,1,2\n")
    data.ingest(weather)
    write(tmp_path, "at,id,temp\n2023-12-02,b,1\n")
    with pytest.raises(InvalidData, match=r"lacks the column 'humid'; it has at, id, temp.*at, id, temp, humid"):
        data.ingest(weather)
    assert len(data.arrivals()) == 1


def test_a_new_column_is_added(data: Data, tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    data.ingest(weather)
    write(tmp_path, "at,id,temp,humid\n2023-12-03,c,1,0.5\n")
    data.ingest(weather)
    assert data.scan(weather).sort("ingest_seq").collect()["humid"].to_list() == [None, None, 0.5]


def test_a_column_that_changed_its_type_is_refused_and_a_stray_value_quarantined(data: Data, tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    data.ingest(weather)
    write(tmp_path, HEADER + "2023-12-03,c,warm\n2023-12-04,d,cold\n")
    with pytest.raises(InvalidData, match=r"'temp'.*changed its type: 2 of 2.*'warm'.*Float64"):
        data.ingest(weather)
    write(tmp_path, HEADER + "2023-12-03,c,1\n2023-12-04,d,2\n2023-12-05,e,cold\n")
    assert data.ingest(weather).rows == 2
    assert reasons(data) == {"e": "'cold' in column 'temp' is not of type Float64"}


def test_the_types_of_the_first_delivery_hold(data: Data, tmp_path: Path) -> None:
    write(tmp_path, "at,id,temp,zip\n2023-12-01,a,1.5,N1\n2023-12-02,b,,\n")
    data.ingest(weather)
    write(tmp_path, "at,id,temp,zip\n2023-12-03,c,7,01234\n")
    data.ingest(weather)
    write(tmp_path, "at,id,temp,zip\n2023-12-04,d,,\n")
    data.ingest(weather)
    rows = data.scan(weather).sort("ingest_seq").collect()
    assert rows["zip"].to_list() == ["N1", None, "01234", None]
    assert rows["temp"].to_list() == [1.5, None, 7.0, None]


def test_an_empty_column_takes_its_type_later(data: Data, tmp_path: Path) -> None:
    write(tmp_path, "at,id,temp,gust\n2023-12-01,a,1.5,\n")
    data.ingest(weather)
    write(tmp_path, "at,id,temp,gust\n2023-12-02,b,1.5,30\n")
    data.ingest(weather)
    assert data.scan(weather).sort("ingest_seq").collect()["gust"].to_list() == [None, 30]


def test_declared_types_sort_out_mixed_columns(data: Data, tmp_path: Path) -> None:
    lines = "".join(f"2023-12-01,{n},{n}\n" for n in range(20)) + "2023-12-01,x,low\n"
    write(tmp_path, HEADER + lines)
    with pytest.raises(InvalidData, match="mixes numbers and texts"):
        data.ingest(weather)
    source = Source(
        "weather", "weather.csv", time="at", id="id", types={"temp": "float64", "seen": "time", "id": "string"}
    )
    write(
        tmp_path,
        (HEADER + lines).replace("\n", ",2023-12-01T05:00+01:00\n").replace("temp,2023-12-01T05:00+01:00", "temp,seen"),
    )
    assert data.ingest(source).rows == 20
    assert data.scan(source).collect_schema()["seen"] == pl.Datetime("us", "UTC")


def test_clean_runs_before_the_checks(data: Data, tmp_path: Path) -> None:
    def to_celsius(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.with_columns(temp=(pl.col("temp") - 32) / 1.8, at=pl.from_epoch("at"))

    source = Source("weather", "weather.csv", time="at", clean=to_celsius, checks=[check("temp").between(-50, 50)])
    write(tmp_path, "at,temp\n1700000000,212\n1700000001,50\n")
    assert data.ingest(source).rows == 1
    assert data.scan(source).collect()["temp"].to_list() == [10.0]
    write(tmp_path, "at,temp\n1700000002,32\n")
    assert data.ingest(source).rows == 1


def test_a_clean_that_fails_is_the_users_error(data: Data, tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    source = Source("weather", "weather.csv", clean=lambda rows: rows.select("tmp"))
    with pytest.raises(UserCodeError, match=r"clean= of source 'weather' raised ColumnNotFoundError"):
        data.ingest(source)
    with pytest.raises(InvalidArgument, match=r"returned int"):
        data.ingest(Source("weather", "weather.csv", clean=lambda rows: 7))  # type: ignore[arg-type,return-value]


def test_integer_times_are_refused_with_a_way_out(data: Data, tmp_path: Path) -> None:
    write(tmp_path, "at,id,temp\n1700000000,a,1\n")
    with pytest.raises(InvalidData, match="from_epoch"):
        data.ingest(weather)


def test_strict_refuses_the_whole_delivery(data: Data, tmp_path: Path) -> None:
    write(tmp_path, GOOD + "2023-12-03,c,99\n")
    with pytest.raises(InvalidData, match=r"1 rows of source 'weather' fail: temp\.between\(-50, 50\) \(1\)"):
        data.ingest(weather, strict=True)
    assert data.tables.names() == []
    assert data.ingest(weather).quarantined == 1


def test_frames_are_archived_as_parquet(data: Data) -> None:
    frame = pl.DataFrame({"at": ["2023-12-01"], "id": ["a"], "temp": [1.0]})
    arrival = data.ingest(weather, frame=frame.to_pandas())
    assert arrival.archive is not None
    assert pl.read_parquet(data.artifacts.get(arrival.archive)).equals(frame)
    assert data.ingest(weather, frame=frame) == arrival
    with pytest.raises(InvalidArgument, match="both"):
        data.ingest(weather, frame=frame, url="x.csv")


def test_created_is_the_sources_column(data: Data) -> None:
    source = Source("s", time="at", created="known")
    data.ingest(source, frame=pl.DataFrame({"at": ["2023-12-01"] * 2, "known": ["2023-12-05T01:00Z", None]}))
    rows = data.scan(source).sort("ingest_seq").collect()
    assert rows["created_ts"].dt.to_string().to_list() == ["2023-12-05 01:00:00.000000+00:00", None]


def test_real_hourly_data_comes_in_whole(data: Data, shared_data: Path) -> None:
    def hourly(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.with_columns(at=pl.col("dteday").str.to_datetime().dt.offset_by(pl.format("{}h", "hr")))

    path = shared_data / "bike_sharing_hour.csv"
    source = Source("bikes", str(path), time="at", id="instant", clean=hourly, types={"instant": "int64"},
                    checks=[check("hum").between(0.01, 1)])  # fmt: skip
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    bad = [row for row in rows if not row["instant"].isdigit() or not 0.01 <= float(row["hum"]) <= 1]
    arrival = data.ingest(source)
    assert (arrival.rows, arrival.quarantined) == (len(rows) - len(bad), len(bad))
    good = sum(int(row["cnt"]) for row in rows) - sum(int(row["cnt"]) for row in bad)
    assert data.scan(source, columns=["cnt"]).sum().collect().item() == good
    assert data.watermark(source) == 1_356_994_800_000_000  # 2012-12-31T23:00Z


# -- pushed rows -------------------------------------------------------------------------------------------------------


def row(name: str, temp: Any = 1.0, at: str | None = "2023-12-10T00:00:00Z") -> dict[str, Any]:
    return {"at": at, "id": name, "temp": temp}


def test_pushed_rows_are_listened_to_and_read(data: Data, make_data: MakeData) -> None:
    heard: list[pl.DataFrame] = []
    data.listeners.append(lambda source, rows: heard.append(rows))
    pushed = data.push(weather, [row("a"), row("b"), row("bad", 99)])
    assert (pushed.rows, pushed.quarantined, pushed.reasons) == (2, 1, {"temp.between(-50, 50)": 1})
    assert heard[0].select("id", "ingest_seq").rows() == [("a", 1), ("b", 2)]
    assert set(heard[0].columns) >= {"event_ts", "created_ts", "ingest_seq"}
    other = make_data()
    assert other.scan(weather).sort("id").collect()["id"].to_list() == ["a", "b"]
    assert reasons(other) == {"bad": "temp.between(-50, 50)"}
    assert other.watermark(weather) == data.arrivals()[0].last_ts


def test_many_pushes_are_one_commit(data: Data) -> None:
    data.push(weather, [row("first")])
    before = data.table_version(weather)
    for n in range(20):
        data.push(weather, [row(f"{n}")])
    assert before is not None
    assert data.table_version(weather) == before + 1
    assert data.scan(weather).select(pl.len()).collect().item() == 21
    assert [arrival.rows for arrival in data.arrivals(weather)] == [1, 20]
    assert {arrival.origin for arrival in data.arrivals()} == {"push"}


@pytest.mark.parametrize("flush", [False, True])
def test_an_id_is_accepted_once_whoever_pushes_it(data: Data, make_data: MakeData, flush: bool) -> None:
    other = make_data()
    assert data.push(weather, [row("a"), row("a")]).reasons == {"repeated id": 1}
    if flush:
        data.flush()
    assert other.push(weather, [row("a"), row("b")]).reasons == {"repeated id": 1}
    if flush:
        other.flush()
    assert data.push(weather, [row("b"), row("c")]).reasons == {"repeated id": 1}
    assert data.ingest(weather, frame=pl.DataFrame([row("c"), row("d")])).rows == 1
    assert other.push(weather, [row("d")]).rows == 0
    assert sorted(data.scan(weather).collect()["id"]) == ["a", "b", "c", "d"]
    assert data.scan(weather).collect()["ingest_seq"].is_unique().all()


def test_pushed_values_that_do_not_fit_are_quarantined(data: Data) -> None:
    data.push(weather, [row("a", 1.5)])
    result = data.push(weather, [row("b", 2), row("c", "warm"), row("d", None), {"id": "e"}, row("f", at="soon")])
    assert (result.rows, result.quarantined) == (2, 3)
    assert reasons(data) == {
        "c": "'warm' in column 'temp' is not of type Float64",
        "e": "no event time",
        "f": "'soon' in column 'at' is no time",
    }
    assert data.scan(weather).sort("id").collect()["temp"].to_list() == [1.5, 2.0, None]


def test_a_push_may_bring_a_new_column(data: Data, make_data: MakeData) -> None:
    other = make_data()
    data.push(weather, [row("a")])
    other.push(weather, [row("b") | {"note": "x"}])
    assert data.push(weather, [row("c") | {"note": 7}]).quarantined == 1
    assert data.push(weather, [row("d") | {"tags": []}]).rows == 1
    assert data.push(weather, [row("e") | {"tags": ["t"]}]).rows == 1
    rows = data.scan(weather).sort("id").collect()
    assert rows["note"].to_list() == [None, "x", None, None]
    assert rows["tags"].to_list() == [None, None, [], ["t"]]


def test_strict_pushes_are_all_or_nothing(data: Data) -> None:
    with pytest.raises(InvalidData, match="strict"):
        data.push(weather, [row("a"), row("b", 99)], strict=True)
    assert data.push(weather, [row("a")]).rows == 1


def test_only_bad_rows_are_kept_too(data: Data) -> None:
    assert data.push(weather, [row("a", 99)]).rows == 0
    assert reasons(data) == {"a": "temp.between(-50, 50)"}
    (summary,) = data.sources()
    assert (summary.name, summary.rows, summary.quarantined, summary.last_arrival) == ("weather", 0, 1, None)


@pytest.mark.parametrize("rows", [[], {"at": 1}, [1, 2], "text"])
def test_what_is_no_rows_is_refused(data: Data, rows: Any) -> None:
    with pytest.raises((InvalidArgument, InvalidData)):
        data.push(weather, rows)


def test_threads_push_and_read_at_once(data: Data, make_data: MakeData) -> None:
    rooms = [data, data, make_data()]

    def push_some(worker: int) -> None:
        for n in range(15):
            rooms[worker].push(weather, [row(f"{worker}-{n}"), row(f"shared-{n}")])
            if n % 5 == 0:
                rooms[worker].scan(weather)

    threads = [threading.Thread(target=push_some, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = data.scan(weather).collect()
    assert sorted(found["id"]) == sorted(
        [f"{w}-{n}" for w in range(3) for n in range(15)] + [f"shared-{n}" for n in range(15)]
    )
    assert found["ingest_seq"].is_unique().all()
    assert data.quarantine(weather).height == 30


# -- reading -----------------------------------------------------------------------------------------------------------


def test_versions_and_columns_can_be_chosen(data: Data, tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    version = data.ingest(weather).table_version
    data.push(weather, [row("c")])
    assert data.scan(weather).collect().height == 3
    assert data.scan("weather", version=version, columns=["id"]).collect().to_dict(as_series=False) == {
        "id": ["a", "b"]
    }
    with pytest.raises(NotFound, match=r"'tmp'.*Did you mean 'temp'"):
        data.scan(weather, columns=["tmp"])


def test_a_source_without_rows_says_what_to_do(data: Data) -> None:
    with pytest.raises(NotFound, match=r"no rows yet.*tidemill ingest weather"):
        data.scan(weather)
    assert data.table_version(weather) is None
    assert data.watermark(weather) is None
    assert data.quarantine(weather).height == 0
    assert data.sources() == []


def test_sources_and_documentation_sum_up(data: Data, tmp_path: Path, clock: ManualClock) -> None:
    source = Source("weather", "weather.csv", time="at", id="id", checks=[check("temp").not_null()],
                    documentation={"owner": "ada", "units": {"temp": "°C"}})  # fmt: skip
    write(tmp_path, GOOD + "2023-12-03,c,\n")
    arrival = data.ingest(source)
    (summary,) = data.sources()
    assert (summary.rows, summary.quarantined, summary.arrivals) == (2, 1, 1)
    assert (summary.last_arrival, summary.watermark) == (clock.now(), arrival.last_ts)
    known = data.documentation(source)
    assert known["owner"] == "ada"
    assert {"name": "temp", "type": "Float64", "unit": "°C", "description": None} in known["columns"]
    assert known["checks"] == ["temp.not_null()"]
    assert arrival.documentation["owner"] == "ada"
