"""A small Feast repository: two views with a ttl, one entity, one service, and features on demand."""

from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bool, Float64, Int64, String

driver = Entity(
    name="driver", join_keys=["driver_id"], value_type=ValueType.INT64, description="The number of a driver's licence"
)

driver_stats = FileSource(
    name="driver_stats",
    path="data/driver_stats.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created",
    description="How drivers did, by the hour",
    owner="dispatch@example.com",
)
driver_ratings = FileSource(
    name="driver_ratings",
    path="data/driver_ratings.parquet",
    timestamp_field="rated_at",
    field_mapping={"stars_given": "stars"},
)

driver_hourly_stats = FeatureView(
    name="driver_hourly_stats",
    entities=[driver],
    ttl=timedelta(hours=2),
    schema=[
        Field(name="conv_rate", dtype=Float64, description="Share of the offers taken"),
        Field(name="trips", dtype=Int64, description="Trips in the hour"),
        Field(name="zone", dtype=String),
        Field(name="on_shift", dtype=Bool),
    ],
    source=driver_stats,
    owner="dispatch@example.com",
    description="The last hour of a driver",
    tags={"team": "dispatch"},
)

driver_rating = FeatureView(
    name="driver_rating",
    entities=[driver],
    ttl=timedelta(days=2),
    schema=[Field(name="stars", dtype=Float64), Field(name="votes", dtype=Int64)],
    source=driver_ratings,
)

trip = RequestSource(name="trip", schema=[Field(name="km", dtype=Float64), Field(name="minutes", dtype=Float64)])


@on_demand_feature_view(
    sources=[trip], schema=[Field(name="speed", dtype=Float64), Field(name="is_long", dtype=Bool)], mode="pandas"
)
def trip_facts(inputs: pd.DataFrame) -> pd.DataFrame:
    out = pd.DataFrame()
    out["speed"] = inputs["km"] / inputs["minutes"] * 60
    out["is_long"] = (inputs["km"] > 30) | (inputs["minutes"] >= 45)
    return out


@on_demand_feature_view(sources=[driver_rating], schema=[Field(name="weight", dtype=Float64)], mode="python")
def rating_weight(inputs):
    return {
        "weight": [
            None if stars is None or votes is None else stars * votes
            for stars, votes in zip(inputs["stars"], inputs["votes"], strict=True)
        ]
    }


@on_demand_feature_view(
    sources=[driver_hourly_stats, trip], schema=[Field(name="expected_trips", dtype=Float64)], mode="pandas"
)
def expectation(inputs: pd.DataFrame) -> pd.DataFrame:
    out = pd.DataFrame()
    out["expected_trips"] = inputs["trips"] * inputs["minutes"] / 60
    return out


@on_demand_feature_view(
    sources=[driver_hourly_stats, driver_rating, trip], schema=[Field(name="prospect", dtype=Float64)], mode="pandas"
)
def prospects(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"prospect": inputs["driver_rating__stars"] * inputs["conv_rate"] + inputs["km"] / 10})


@on_demand_feature_view(sources=[driver_hourly_stats], schema=[Field(name="missed", dtype=Float64)], mode="pandas")
def missed_offers(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"missed": (1 - inputs["conv_rate"]) * inputs["trips"]})


driver_activity = FeatureService(
    name="driver_activity",
    features=[
        driver_hourly_stats[["trips", "on_shift"]],
        driver_rating,
        rating_weight,
        missed_offers,
        trip_facts,
        expectation,
        prospects,
    ],
    description="What the ranking model reads",
    owner="ranking@example.com",
    tags={"model": "ranking"},
)
