"""Asks Feast: writes `repository.json`, what the probe tells of the repository, and `answers.json`, Feast's own values.

Run it with a Python that has Feast: `python make_answers.py FOLDER` makes both in FOLDER. `test_values.py` compares Tidemill's
values with those beside it; its slow test makes them anew.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import driver_data as data
import pandas as pd

HERE = Path(__file__).resolve().parent
PROBE = HERE.parents[2] / "src/tidemill/features/feast/probe.py"


def main(folder: Path) -> None:
    repository = folder / "repository"
    shutil.copytree(HERE / "repository", repository)
    write_rows(repository / "data")
    os.chdir(repository)
    sys.path.insert(0, "")
    runpy.run_path(str(PROBE))["main"](str(folder / "repository.json"), "feature_store.yaml")
    (folder / "answers.json").write_text(json.dumps(answers(), indent=1) + "\n")


def write_rows(folder: Path) -> None:
    folder.mkdir()
    for name, rows in data.ROWS.items():
        frame = pd.DataFrame(rows, columns=list(data.COLUMNS[name]))
        for column in set(data.TIMES) & set(frame.columns):
            frame[column] = pd.to_datetime(frame[column], utc=True)
        frame.to_parquet(folder / f"{name}.parquet")


def answers() -> dict[str, object]:
    import feast
    from feast.repo_operations import apply_total

    store = feast.FeatureStore(".")
    apply_total(store.config, Path.cwd(), skip_source_validation=False)
    store = feast.FeatureStore(".")
    service = store.get_feature_service("driver_activity")
    store.materialize(datetime(2024, 1, 1, tzinfo=UTC), datetime.fromisoformat(data.NOW).replace(tzinfo=UTC))
    return {"feast": feast.__version__, "historical": historical(store, service), "online": online(store, service)}


def historical(store, service) -> list[dict[str, object]]:
    asked = [*data.ASKED, *data.LEFT_OUT]
    frame = pd.DataFrame(asked, columns=["driver_id", "event_timestamp", *data.REQUEST])
    frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], utc=True)
    found = store.get_historical_features(frame, service, full_feature_names=True).to_df()
    found["event_timestamp"] = found["event_timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    found = found.sort_values(["driver_id", "event_timestamp"])
    return [{k: None if pd.isna(v) else v for k, v in row.items()} for row in found.astype(object).to_dict("records")]


def online(store, service) -> list[dict[str, object]]:
    rows = [dict(zip(("driver_id", *data.REQUEST), row, strict=True)) for row in data.ASKED_NOW]
    found = store.get_online_features(service, rows, full_feature_names=True).to_dict()
    return [{name: values[i] for name, values in found.items()} for i in range(len(rows))]


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
