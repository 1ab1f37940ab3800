"""Two processes ingest, push, log, serve and predict on one home at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import tidemill as tm

BUSY = Path(__file__).with_name("busy.py")


@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.slow)])
def test_two_processes_work_on_one_home_at_once(fares_folder: Path, seconds: int) -> None:
    one, other = work_together(fares_folder, seconds)
    assert min(one["steps"], other["steps"]) > seconds / 5, "both got on"
    with tm.open(fares_folder) as platform:
        rides = platform.data.scan(platform.definitions.get("source", "rides")).collect()
        own = [f"r{number}" for number in range(400)]
        assert sorted(rides["ride"]) == sorted([*own, *one["rides"], *other["rides"]])
        assert rides["ingest_seq"].n_unique() == rides.height
        platform.monitoring.captures.compact("fares")
        assert sorted(platform.monitoring.captures.ids("fares")) == sorted(one["asked"] + other["asked"])
        for done in (one, other):
            assert platform.tracking.get(done["run"]).status == "finished"
            points = platform.tracking.metrics(done["run"], "half")
            assert [(point.step, point.value) for point in points] == [(n, n / 2) for n in range(done["steps"])]
        assert_online_equals_offline(platform)


def work_together(folder: Path, seconds: int) -> list[dict[str, Any]]:
    commands = [[sys.executable, str(BUSY), str(folder), name, str(seconds)] for name in ("one", "other")]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for command in commands
    ]
    outputs = [process.communicate(timeout=seconds + 200) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
        assert errors == "", "not even a warning"
    return [json.loads(output) for output, _ in outputs]


def assert_online_equals_offline(platform: Any) -> None:
    at = platform.scope.now()
    spine = pl.DataFrame({"station": ["north", "south", "nowhere"], "distance": [1.0, 2.0, 3.0]})
    timed = spine.with_columns(at=pl.Series([at] * 3).cast(pl.Datetime("us", "UTC")))
    names = ["stations__fare_mean_7d", "stations__fare_count_7d"]
    online = platform.features.online("features", spine, at).select(names)
    offline = platform.features.offline("features", timed, "at").select(names)
    assert online["stations__fare_count_7d"].to_list() == offline["stations__fare_count_7d"].to_list()
    assert online["stations__fare_mean_7d"].to_list() == pytest.approx(offline["stations__fare_mean_7d"].to_list())
