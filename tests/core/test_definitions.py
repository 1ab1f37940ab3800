from __future__ import annotations

import types

import polars as pl
import pytest

import tidemill as tm
from tidemill.core.errors import AlreadyExists, InvalidArgument, NotFound
from tidemill.core.specs.definition import collect


def module(**values: object) -> types.ModuleType:
    result = types.ModuleType("project")
    vars(result).update(values)
    return result


def source(name: str = "landings", **options: object) -> tm.Source:
    return tm.Source(name, "x.csv", time="at", id="id", **options)  # type: ignore[arg-type]


def test_definitions_are_named_after_their_variables() -> None:
    view = tm.FeatureView(source=source(), keys="carrier", aggregates=[tm.mean("late", over="24h")])
    with pytest.raises(InvalidArgument, match="no name yet"):
        view.name  # noqa: B018
    found = collect([module(carrier_delays=view, other=3)])
    assert view.name == "carrier_delays"
    assert found.get("feature_view", "carrier_delays") is view
    with pytest.raises(NotFound, match="Did you mean 'carrier_delays'"):
        found.get("feature_view", "carier_delays")


def test_same_name_twice_is_fine_when_equal_and_an_error_when_not() -> None:
    collect([module(a=source()), module(b=source())])
    with pytest.raises(AlreadyExists, match="'landings'"):
        collect([module(a=source(), b=source(delay="1h"))])


def test_two_variables_for_one_object_are_one_definition() -> None:
    view = tm.FeatureView(source=source(), keys="carrier", name="v")
    assert list(collect([module(v=view, also=view)]).items) == [("feature_view", "v")]


def test_digest_follows_what_matters() -> None:
    def view(**options: object) -> str:
        given = {"source": source(), "keys": "carrier", "name": "v", **options}
        return tm.FeatureView(**given).digest()  # type: ignore[arg-type]

    assert view() == view(owner="ada", description="words do not matter")
    assert view() != view(keys=["carrier", "origin"])
    assert view() != view(ttl="3h")
    assert view() != view(aggregates=[tm.mean("late", over="1h")])


def test_feature_names() -> None:
    names = [name for a in (tm.mean("late", over=["1h", "3h"]), tm.last_k("x", 3), tm.sum("y", "7d", hop="1h", name="z"))
             for name, _ in a.features()]  # fmt: skip
    assert names == ["late_mean_1h", "late_mean_3h", "x_last_k3_lifetime", "z"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tm.FeatureView(source=tm.Source("s"), keys="k"), "no time column"),
        (lambda: tm.FeatureView(source=source(), keys=[]), "at least one key"),
        (lambda: tm.FeatureView(source=source(), keys="k", ttl="1h", aggregates=[tm.count("x")]), "Remove ttl"),
        (lambda: tm.FeatureView(source="s", keys="k"), "not a source"),
        (lambda: tm.FeatureView(source=source(), keys="k", name="v").on(x="y"), "no keys of the view"),
        (lambda: tm.Label(tm.Source("s"), pl.col("x")), "no id"),
        (lambda: tm.Source("Bad Name"), "source name"),
        (lambda: tm.Source("s", checks=["x"]), "not a check"),
        (lambda: tm.check("x").between(2, 1), "holds no value"),
        (lambda: tm.mean("x", over="0h"), "length zero"),
        (lambda: tm.mean("x", over="1h", mode="hopping"), "without a hop"),
        (lambda: tm.last_k("x", 0), "keeps no value"),
        (lambda: tm.Graph("g").model("late@champion"), "is not a model"),
        (lambda: tm.Graph("g").post(abs), "post before model"),
        (lambda: tm.Graph("g").model("models:/m@a").transform(abs), "transform after model"),
        (lambda: tm.Graph("g").model("models:/m@a").model("models:/m@b"), "has a model already"),
        (lambda: tm.Monitor(tm.Graph("g"), false_alarms="now and then"), "is no budget"),
        (lambda: tm.Monitor(tm.Graph("g"), on_alarm=[print]), "is no action"),
        (lambda: tm.Gate("auc", bound="upper"), "unknown"),
        (lambda: tm.log_uniform(0, 1), "positive low"),
        (lambda: tm.uniform(1, 1), "empty"),
        (lambda: tm.feature_view(abs), "needs source= and keys="),
    ],
)
def test_mistakes_are_found_where_they_are_made(make: object, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        make()  # type: ignore[operator]


def test_graph_is_immutable_and_known_by_its_endpoint() -> None:
    base = tm.Graph("late-flight")
    full = base.model("models:/late@champion", shadow="models:/late/3").post(abs)
    assert base.steps == ()
    assert full.predict_step is not None
    assert full.predict_step.shadow is not None
    assert (full.predict_step.model.alias, full.predict_step.shadow.version) == ("champion", 3)
    collect([module(graph=full)])
    assert full.name == "late-flight"


def test_a_view_used_twice_has_two_sets_of_names() -> None:
    weather = tm.FeatureView(source=source(), keys="origin", name="weather")
    assert weather.on(origin="dest").prefix("dest_").full_name("temp") == "dest_weather__temp"
    assert dict(weather.on(origin="dest").keys) == {"origin": "dest"}


def test_every_public_name_exists() -> None:
    for name in tm.__all__:
        if name not in ("Platform", "open", "Dataset"):
            assert getattr(tm, name) is not None
    with pytest.raises(AttributeError, match="it has"):
        tm.featureview  # noqa: B018
