"""Features carry the words of their source's columns."""

from __future__ import annotations

import polars as pl
import pytest

import tidemill as tm
from tidemill.features.meanings import meanings

SAID = {"columns": {"temp": "Air temperature", "sky": "Cover"}, "units": {"temp": "°C", "wind": "m/s"}}
weather = tm.Source("weather", time="at", documentation=SAID)
now = tm.FeatureView(source=weather, keys="origin", name="now")


def test_a_feature_has_the_words_of_its_column():
    names = ["now__temp", "now__sky", "now__wind", "now__else", "other__temp"]
    assert meanings(now, names) == {"now__temp": "Air temperature (°C)", "now__sky": "Cover", "now__wind": "(m/s)"}


def test_an_aggregate_has_the_words_of_its_column_and_its_unit_where_that_is_the_same():
    each = [
        tm.mean("temp", over=["1h", "1d"]),
        tm.count("temp", over="1h", name="reports", where=pl.col("temp") > 0),
        tm.variance("temp", over="1h"),
        tm.sum("temp", over="1h", by="sky", categories=["clear"]),
    ]
    view = tm.FeatureView(source=weather, keys="origin", aggregates=each, name="hours")
    names = [f"hours__{name}" for aggregate in view.aggregates for name, _ in aggregate.features()]
    said = meanings(view, names)
    assert list(said) == names
    assert [name for name, text in said.items() if text.endswith("(°C)")] == [names[0], names[1], names[4]]
    assert set(said.values()) == {"Air temperature", "Air temperature (°C)"}


def test_a_service_knows_them_as_it_uses_them():
    service = tm.FeatureService([now, now.on(origin="dest").prefix("dest_").select("temp")], name="both")
    names = ["now__temp", "dest_now__temp", "dest_now__visib", "distance"]
    assert meanings(service, names) == {name: "Air temperature (°C)" for name in names[:2]}


@pytest.mark.parametrize(
    "said", [{}, {"columns": None}, {"columns": "temp", "units": ["°C"]}, {"columns": {"temp": None}}]
)
def test_documentation_in_other_forms_says_nothing(said):
    source = tm.Source("weather", time="at", documentation=said)
    assert meanings(tm.FeatureView(source=source, keys="origin", name="now"), ["now__temp"]) == {}
