"""Definitions: their names, what makes two of them differ, and what is refused where it is written."""

from __future__ import annotations

import types

import polars as pl
import pytest

import tidemill as tm
from tidemill.core.errors import InvalidArgument, TidemillError
from tidemill.core.specs.definition import collect

FLIGHTS = tm.Source("flights", "flights.csv", time="at", id="flight")
PLANES = tm.Source("planes", "planes.csv")
HOUR = 3_600_000_000


def view(**options):
    return tm.FeatureView(source=FLIGHTS, keys="carrier", **options)


@tm.on_demand
def distance(rows):
    return rows.select("distance")


@tm.pipeline
def retraining():
    return None


GRAPH = tm.Graph("late").model("models:/late@champion")


@pytest.mark.parametrize(
    ("define", "found", "expected"),
    [
        (lambda: tm.Source("Flights"), "'Flights' is not a source name", "lower-case"),
        (lambda: tm.Source("flights", types={"at": "date"}), "names no type", "boolean, int64"),
        (lambda: tm.Source("flights", checks=["visib > 0"]), "is not a check", "tm.check"),
        (lambda: tm.check("visib").between(10, 0), "holds no value", ""),
        (lambda: tm.FeatureView(source="flights", keys="carrier"), "is not a source", "tm.Source"),
        (lambda: tm.FeatureView(source=PLANES, keys="tail"), "'planes' has no time column", "time="),
        (lambda: tm.FeatureView(source=FLIGHTS, keys=[]), "at least one key", "keys="),
        (lambda: view(aggregates=["late"]), "is not an aggregate", "tm.mean"),
        (lambda: view(aggregates=[tm.mean("late", over="1h")], ttl="3h"), "windows, not a ttl", "Remove ttl="),
        (lambda: tm.feature_view(distance), "needs source= and keys=", "@tm.feature_view"),
        (lambda: view().on(origin="dest"), "are no keys of the view", "carrier"),
        (lambda: tm.mean("late", over=[]), "has no window", 'over="24h"'),
        (lambda: tm.mean("late", over="0h"), "length zero", ""),
        (lambda: tm.mean("late", over="a day"), "'a day' is not a duration", "'24h'"),
        (lambda: tm.mean("late", over="1d", mode="rolling"), "'rolling' is unknown", "sawtooth"),
        (
            lambda: tm.mean("late", over="1d", mode="tumbling", hop="1h"),
            "tumbling windows with a hop",
            'mode="tumbling"',
        ),
        (lambda: tm.mean("late", mode="tumbling"), "tumbling windows of no length", 'over="24h"'),
        (lambda: tm.mean("late", over="1d", hopp="1h"), "takes no 'hopp'", "hop, offset, mode"),
        (lambda: tm.mean("late", over=tm.calendar("day", "UTC"), hop="1h"), "calendar window with a hop", "periods"),
        (lambda: tm.calendar("fortnight", "UTC"), "'fortnight' is no period", "quarter"),
        (lambda: tm.calendar("day", "Berlin"), "'Berlin' is not a time zone", "Europe/Berlin"),
        (lambda: tm.calendar("day", "../etc"), "is not a time zone", "IANA"),
        (lambda: tm.calendar("day", "UTC", last=0), "holds no period", "at least 1"),
        (lambda: tm.mean("late", over="1d", where="late > 0"), "where='late > 0'", "pl.col"),
        (lambda: tm.mean("late", where=pl.col("a").map_batches(len)), "calls a Python function", "transform"),
        (lambda: tm.mean("late", over="1d", by="kind"), "by='kind' without categories", "listed"),
        (lambda: tm.mean("late", over="1d", categories=["a"]), "categories without by=", 'by="kind"'),
        (lambda: tm.mean("late", over="1d", by="kind", categories=[None]), "has the category None", "texts"),
        (
            lambda: tm.mean("late", over="1d", by="kind", categories=["a-b", "a b"]),
            "of one name: 'a-b', 'a b'",
            "letters",
        ),
        (lambda: tm.rate("late", over=None), "has no length", 'over="1h"'),
        (lambda: tm.rate("late", over="1h", per=0), "per no time", 'per="1s"'),
        (lambda: tm.rate("late", over="1h", of="mean"), "is of 'mean'", "count, sum"),
        (lambda: tm.ewma("late", half_life=0), "half-life of zero", "last"),
        (lambda: tm.approx_quantile("late", 95), "q = 95", "between 0 and 1"),
        (lambda: tm.approx_quantile("late", 0.5, relative_error=0), "relative error of 0", "1e-6"),
        (lambda: tm.approx_unique_count("late", precision=20), "precision 20", "4 to 16"),
        (lambda: tm.mean("late", over="1d", mode="hopping"), "without a hop", 'hop="5m"'),
        (lambda: tm.last_k("late", 0), "keeps no value", "at least 1"),
        (lambda: tm.Label(PLANES, pl.col("late")), "'planes' has no id", "id="),
        (lambda: tm.FeatureService([FLIGHTS]), "is no part of a feature service", "on-demand"),
        (lambda: tm.Graph("late").model("late@champion"), "is not a model", "models:/NAME@ALIAS"),
        (lambda: GRAPH.model("models:/late/2"), "has a model already", "one .model"),
        (lambda: GRAPH.transform(len), "transform after model", ".post"),
        (lambda: tm.Graph("late").post(len), "post before model", ".transform"),
        (lambda: tm.Graph("late").enrich(FLIGHTS), "is not a feature service", "tm.FeatureService"),
        (lambda: tm.notify("The Team"), "is not a channel name", "lower-case"),
        (lambda: tm.Monitor(GRAPH, false_alarms="often"), "'often' is no budget", "1 per month"),
        (lambda: tm.on_change(FLIGHTS), "takes a feature view", ""),
        (lambda: tm.uniform(3, 3), "is empty", "low < high"),
        (lambda: tm.log_uniform(0, 1), "at or below 0", "positive"),
        (lambda: tm.search(distance, rows=None, space={}), "needs one metric", "maximize="),
        (lambda: tm.Gate("auc", bound="upper"), "'upper' is unknown", "lower95"),
        (lambda: tm.step(outputs=0)(len), "outputs=0", "outputs >= 1"),
    ],
)
def test_a_wrong_definition_is_refused_where_it_is_written(define, found, expected):
    with pytest.raises(InvalidArgument) as caught:
        define()
    assert found in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("aggregate", "names"),
    [
        (tm.mean("late", over="24h"), ["late_mean_24h"]),
        (tm.count("late", over=["1h", "7d"]), ["late_count_1h", "late_count_7d"]),
        (tm.sum("late"), ["late_sum_lifetime"]),
        (tm.unique_count("tail", over="90m"), ["tail_unique_count_90m"]),
        (tm.min("late", over="1d", offset="7d"), ["late_min_24h_offset_7d"]),
        (tm.max("late", over="1d", hop="1h"), ["late_max_24h_sawtooth_1h"]),
        (tm.first("late", over="2h", name="oldest"), ["oldest"]),
        (tm.last("late", over=["1h", "2h"], name="newest"), ["newest_1h", "newest_2h"]),
        (tm.first_k("late", 3, over="1h"), ["late_first_k3_1h"]),
        (tm.last_k("late", 2, over="1h"), ["late_last_k2_1h"]),
        (tm.stddev("late", over="1h"), ["late_stddev_samp_1h"]),
        (tm.stddev("late", over="1h", population=True), ["late_stddev_pop_1h"]),
        (tm.variance("late", over="1h"), ["late_var_samp_1h"]),
        (tm.variance("late", over="1h", population=True), ["late_var_pop_1h"]),
        (tm.mean("late", over=["1h", "90m"], mode="tumbling"), ["late_mean_1h_tumbling", "late_mean_90m_tumbling"]),
        (tm.mean("late", over="1h", mode="tumbling", offset="1h"), ["late_mean_1h_tumbling_offset_1h"]),
        (tm.count("late", over=["1h", tm.calendar("day", "UTC")]), ["late_count_1h", "late_count_calendar_day"]),
        (tm.count("late", over=tm.calendar("week", "UTC", 4)), ["late_count_calendar_week_last_4"]),
        (tm.count("late", over=tm.calendar("year", "UTC", complete=True)), ["late_count_calendar_year_complete"]),
        (tm.rate("late", over="1h"), ["late_rate_1h"]),
        (tm.rate("late", over="1h", of="sum", per="1m"), ["late_sum_rate_1h"]),
        (tm.ewma("late", half_life="1h"), ["late_ewma_lifetime"]),
        (tm.median("late", over="1h"), ["late_median_1h"]),
        (tm.mode("late", over="1h"), ["late_mode_1h"]),
        (tm.approx_quantile("late", 0.95, over="1h"), ["late_approx_quantile_0_95_1h"]),
        (tm.approx_unique_count("late", over="1h"), ["late_approx_unique_count_1h"]),
        (tm.sum("late", over="1h", by="k", categories=["a b", 2]), ["late_sum_a_b_1h", "late_sum_2_1h"]),
    ],
)
def test_features_are_named_after_column_operation_and_window(aggregate, names):
    assert [name for name, _ in aggregate.features()] == names


def test_a_window_knows_its_bounds():
    ((_, window),) = tm.mean("late", over="1d", hop="5m", offset="1h").features()
    assert (window.size, window.hop, window.offset, window.mode) == (24 * HOUR, HOUR // 12, HOUR, "sawtooth")


@pytest.mark.parametrize(
    ("check", "label"),
    [
        (tm.check("v").between(0, 1), "v.between(0, 1)"),
        (tm.check("v").not_null(), "v.not_null()"),
        (tm.check("v").one_of("a", "b"), "v.one_of('a', 'b')"),
        (tm.check("v").matches("^a"), "v.matches('^a')"),
        (tm.check("v").unique(), "v.unique()"),
        (tm.check("v").not_after("w"), "v.not_after('w')"),
    ],
)
def test_a_check_reads_as_it_was_written(check, label):
    assert check.label == label


def test_some_features_of_a_view_are_used():
    weather = tm.FeatureView(source=FLIGHTS, keys="origin", name="weather")
    used = weather.on(origin="dest").select("visib", "temp")
    assert used == weather.select("visib", "temp").on(origin="dest")
    assert (used.only, dict(used.keys)) == (("visib", "temp"), {"origin": "dest"})
    all_of_it, some, other = (
        tm.FeatureService([part]) for part in (weather, weather.select("temp"), weather.select("visib"))
    )
    assert len({all_of_it.digest(), some.digest(), other.digest()}) == 3
    for wrong in ((), ("temp", "temp")):
        with pytest.raises(InvalidArgument, match="names of features, each once"):
            weather.select(*wrong)


def test_a_view_is_used_under_other_columns_and_names():
    weather = tm.FeatureView(source=FLIGHTS, keys="origin", name="weather")
    used = weather.on(origin="dest").prefix("dest_")
    assert dict(used.keys) == {"origin": "dest"}
    assert used.full_name("temp") == "dest_weather__temp"
    assert weather.prefix("dest_").on(origin="dest") == used
    service = tm.FeatureService([weather, used, distance], name="both")
    assert [use.text for use in service.uses] == ["", "dest_"]
    assert service.on_demand == (distance,)


@pytest.mark.parametrize(
    "other",
    [
        lambda: view(name="delays", aggregates=[tm.mean("late", over="2h")]),
        lambda: view(name="delays", aggregates=[tm.mean("late", over="1h", hop="5m")]),
        lambda: view(name="delays", aggregates=[tm.mean("late", over="1h")], known_at=True),
        lambda: view(name="delays", aggregates=[tm.mean("late", over="1h")], checks=[tm.check("late").not_null()]),
        lambda: view(name="delays", aggregates=[tm.mean("late", over="1h")], target="1h"),
    ],
)
def test_views_differ_when_what_they_compute_differs(other):
    base = view(name="delays", aggregates=[tm.mean("late", over="1h")])
    same = view(name="delays", aggregates=[tm.mean("late", over="1h")], owner="ann", description="Delays")
    assert base.digest() == same.digest()
    assert base.digest() != other().digest()


def test_a_monitor_describes_what_it_does():
    watch = tm.Monitor(
        GRAPH, every="1d", false_alarms="2 per week", on_alarm=[tm.notify("team"), tm.retrain(retraining)]
    )
    assert watch.describe()["on_alarm"] == [["notify", "team"], ["retrain", "retraining", 24 * HOUR]]
    assert watch.describe()["graph"] == "late"


def test_two_definitions_of_one_name_are_refused_unless_they_are_the_same():
    module = types.ModuleType("twice")
    module.one, module.two = tm.Source("flights", "a.csv"), tm.Source("flights", "a.csv")
    assert list(collect([module]).items) == [("source", "flights")]
    module.two = tm.Source("flights", "b.csv")
    with pytest.raises(TidemillError, match="two different definitions share the name source 'flights'"):
        collect([module])
