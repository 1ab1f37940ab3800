"""Run by the Python of Feast's environment: `feast_join.py ROWS SPINE REPETITIONS`, prints JSON."""

# ruff: noqa: E402 - Feast warns while it is imported
from __future__ import annotations

import json
import sys
import time
import warnings
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

warnings.filterwarnings("ignore")

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64
from feast.value_type import ValueType

FEATURES = [f"f{number}" for number in range(10)]


def main(rows: str, spine: str, repetitions: int) -> None:
    store = apply(Path(rows))
    moments = pd.read_parquet(spine).rename(columns={"at": "event_timestamp"})
    seconds, found = [], 0
    for _ in range(repetitions):
        began = time.perf_counter()
        found = len(store.get_historical_features(entity_df=moments, features=[f"view:{f}" for f in FEATURES]).to_df())
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds, "rows": found, "version": version("feast")}))


def apply(rows: Path) -> FeatureStore:
    folder = rows.parent
    settings = RepoConfig(
        project="bench", provider="local", registry=str(folder / "registry.db"), entity_key_serialization_version=3,
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
    )  # fmt: skip
    store = FeatureStore(config=settings)
    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    source = FileSource(name="rows", path=str(rows), timestamp_field="event_ts", created_timestamp_column="created_ts")
    schema = [Field(name=name, dtype=Float64) for name in FEATURES]
    store.apply(
        [entity, FeatureView(name="view", entities=[entity], ttl=timedelta(days=3650), schema=schema, source=source)]
    )
    return store


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
