"""On-demand features that read stored ones: the same in batch and online, whatever is known of a key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.features.tables import HOUR, Tables
from tests.features.test_online import Bench, stamped
from tests.features.test_partitioned import Watched

from tidemill.core.errors import InvalidArgument, NotReady, UserCodeError
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.definition import Definitions
from tidemill.core.specs.features import FeatureService, FeatureView, on_demand
from tidemill.core.specs.sources import Source
from tidemill.features.catalog import Catalog
from tidemill.features.offline import offline_features
from tidemill.features.plan import plan_on_demand

orders = Source("orders", time="at", id="nr")
last_order = FeatureView(
    lambda rows: rows.select("amount", "city", "at_home", placed="at"), source=orders, keys="who", ttl=5 * HOUR,
    name="last_order",
)  # fmt: skip
spending = FeatureView(None, source=orders, keys="who", name="spending",
                       aggregates=[agg.sum("amount", over="3h"), agg.last_k("city", 2, over="9h", name="cities"),
                                   agg.count("nr", over="9h", name="orders")])  # fmt: skip


@on_demand
def basket(rows: Any) -> Any:
    return rows.select(
        double=pl.col("price") * 2,
        share=pl.col("price") / pl.col("last_order__amount"),
        moved=pl.col("city") != pl.col("last_order__city"),
        waited=pl.col("t") - pl.col("last_order__placed"),
    )


@on_demand
def habits(rows: Any) -> Any:
    return rows.with_columns(
        rest=pl.col("spending__amount_sum_3h") - pl.col("last_order__amount"),
        again=pl.col("spending__cities").list.contains(pl.col("city")),
        new=pl.col("spending__orders") == 0,
        of_gift=pl.col("gift_last_order__at_home").fill_null(False),
    )


@on_demand
def plain(rows: Any) -> Any:
    return rows.select(large=pl.col("price") > 10)


# Before the views and between them: what is stored is there for all of them.
service = FeatureService(
    [basket, last_order, plain, habits, last_order.on(who="friend").prefix("gift_"), spending], name="offers"
)
NAMES = ["double", "share", "moved", "waited", "last_order__amount", "last_order__city", "last_order__at_home",
         "last_order__placed", "large", "rest", "again", "new", "of_gift", "gift_last_order__amount", "gift_last_order__city",
         "gift_last_order__at_home", "gift_last_order__placed", "spending__amount_sum_3h", "spending__cities",
         "spending__orders"]  # fmt: skip


def some_orders() -> pl.DataFrame:
    return stamped(
        {"nr": [1, 2, 3, 4, 5], "who": ["ann", "ann", "bob", "cy", None], "amount": [10.0, 4.0, 8.0, None, 3.0],
         "city": ["bern", "genf", "genf", None, "chur"], "at_home": [True, False, True, None, True]},
        [2 * HOUR, 4 * HOUR, 3 * HOUR, 4 * HOUR, HOUR],
    )  # fmt: skip


def asked() -> tuple[pl.DataFrame, list[int]]:
    """Known keys, expired ones, unknown ones and none at all, with and without what is sent along."""
    who = ["ann", "ann", "ann", "bob", "cy", "new", None, "ann"]
    t = [4 * HOUR, 4 * HOUR - 1, 10 * HOUR, 5 * HOUR, 5 * HOUR, 5 * HOUR, 5 * HOUR, 0]
    rows = {"who": who, "friend": ["bob", None, "ann", "ann", "bob", "cy", "new", "ann"],
            "price": [1.0, 20.0, None, 12.0, 5.0, 6.0, 7.0, 8.0],
            "city": ["genf", "bern", "bern", None, "genf", "genf", "genf", "x"]}  # fmt: skip
    at = pl.Series("t", t).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame(rows).with_columns(at), t


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.add(orders, some_orders())
    bench.online.materialize([last_order, spending])
    return bench


def offline(bench: Bench, rows: pl.DataFrame, **options: Any) -> pl.DataFrame:
    return offline_features(service, rows, "t", bench.read, **options).select(NAMES)


def test_values_are_made_of_the_request_and_what_is_stored(bench: Bench) -> None:
    rows, _ = asked()
    found = offline(bench, rows)
    assert found["share"].to_list() == [0.25, 2.0, None, 1.5, None, None, None, None]
    assert found["moved"].to_list() == [False, False, None, None, None, None, None, None]
    assert found["again"].to_list()[:4] == [False, True, True, False]  # a window ends before the moment
    assert found["new"].to_list() == [False, False, False, False, False, True, True, True]
    assert found["of_gift"].to_list() == [True, False, False, False, True, False, False, False]
    assert found["large"].to_list()[:2] == [False, True]


def test_batch_and_online_are_equal(bench: Bench) -> None:
    rows, t = asked()
    batch = offline(bench, rows)
    online = bench.online.lookup(service, rows, np.array(t))
    assert online.columns == NAMES
    assert_frame_equal(online, batch, check_exact=True)
    assert_frame_equal(bench.online.lookup(service, rows.clear(), np.array([], np.int64)), batch.clear())
    for place, row in enumerate(rows.iter_rows(named=True)):
        one = bench.online.lookup(service, rows[place : place + 1], np.array(t[place : place + 1]))
        assert_frame_equal(one, batch[place : place + 1], check_exact=True)
        if row["price"] is not None and row["city"] is not None:  # values that tell their types
            assert bench.online.vector(service, row, t[place]) == batch.row(place, named=True)


def test_an_engine_gives_the_same(bench: Bench) -> None:
    rows, _ = asked()
    engine = Watched()
    assert_frame_equal(offline(bench, rows, engine=engine), offline(bench, rows), check_exact=True)
    assert engine.calls == 2


def test_rows_that_arrive_count_at_once(bench: Bench) -> None:
    moment = datetime(1970, 1, 1, 5, tzinfo=UTC)
    row = {"who": "new", "friend": "new", "price": 6.0, "city": "bern", "t": moment}
    assert bench.online.vector(service, row, 5 * HOUR)["share"] is None
    arrived = stamped(
        {"nr": [9], "who": ["new"], "amount": [3.0], "city": ["bern"], "at_home": [True]}, [4 * HOUR], first=9
    )
    bench.online.apply_rows([last_order, spending], orders, arrived)
    found = bench.online.vector(service, row, 5 * HOUR)
    assert (found["share"], found["of_gift"], found["waited"].total_seconds()) == (2.0, True, 3600)


def test_a_vector_has_what_its_row_suffices_for(bench: Bench) -> None:
    keys = {"who": "ann", "friend": "bob"}
    stored = [name for name in NAMES if "__" in name]
    assert list(bench.online.vector(service, keys, 4 * HOUR)) == stored
    found = bench.online.vector(service, {**keys, "city": "genf"}, 4 * HOUR)
    assert [name for name in NAMES if name in found] == list(found)
    assert set(found) == {*stored, "rest", "again", "new", "of_gift"}
    assert (found["rest"], found["again"]) == (6.0, False)


def test_what_reads_stored_features_alone_asks_for_the_key_alone(bench: Bench) -> None:
    @on_demand
    def half(rows: Any) -> Any:
        return rows.select(half=pl.col("last_order__amount") / 2)

    assert bench.online.vector(FeatureService([half, last_order], name="s"), {"who": "ann"}, 4 * HOUR)["half"] == 2.0


def test_a_caller_sends_nothing_that_is_stored() -> None:
    tables = Tables()
    tables.add(orders, some_orders().drop("event_ts", "created_ts", "ingest_seq"))
    asks = Source("asks", time="t", id="ask")
    tables.add(asks, asked()[0].with_row_index("ask"))
    definitions = Definitions({("source", "asks"): asks, ("feature_service", "offers"): service})
    (info,) = Catalog(definitions, tables.reader).services()
    assert info.problem is None
    assert [column.name for column in info.request] == ["who", "friend", "t", "price", "city"]
    assert [column.name for column in info.features] == NAMES


SPINE = pl.Schema({"who": pl.String, "x": pl.Int64, "t": pl.Int64})
STORED = {"view__a": pl.Float64(), "view__b": pl.String(), "view__c": pl.Int64()}


def test_a_transform_is_given_what_it_reads_of_the_stored() -> None:
    @on_demand
    def some(rows: Any) -> Any:
        return rows.select(y=pl.col("x") + pl.col("view__a"))

    @on_demand
    def named(rows: Any) -> Any:
        return rows.drop("view__b").select(y=pl.col("x") + pl.col("view__a"))

    @on_demand
    def every(rows: Any) -> Any:
        return rows.with_columns(y=pl.concat_str(pl.col("^view__.*$")))

    @on_demand
    def none(rows: Any) -> Any:
        return rows.select(y=pl.col("x") + 1)

    plans = [plan_on_demand(one, SPINE, "t", STORED) for one in (some, named, every, none)]
    assert [plan.reads for plan in plans] == [("x",), ("x",), (), ("x",)]
    assert [plan.stored for plan in plans] == [("view__a",), tuple(STORED), tuple(STORED), ()]
    assert [plan.types for plan in plans] == [{"y": pl.Float64}, {"y": pl.Float64}, {"y": pl.String}, {"y": pl.Int64}]
    assert plans[3].given == SPINE  # what reads nothing that is stored is given nothing of it


def test_what_is_in_neither_is_named_with_what_could_be_read(bench: Bench) -> None:
    @on_demand
    def wrong(rows: Any) -> Any:
        return rows.select(y=pl.col("last_order__amout"))

    rows, t = asked()
    told = (
        r"'wrong' raised ColumnNotFoundError: .*last_order__amout.* Known: who, friend, price, city, t\. "
        r"Of the service's views it may read last_order__amount, last_order__city, last_order__at_home, last_order__placed\."
    )
    for parts in ([last_order, wrong], [wrong, last_order]):
        with pytest.raises(UserCodeError, match=told):
            offline_features(FeatureService(parts, name="s"), rows, "t", bench.read)
    with pytest.raises(UserCodeError, match=told):
        bench.online.lookup(FeatureService([wrong, last_order], name="s"), rows, np.array(t))
    with pytest.raises(UserCodeError, match=r"Known: who, friend, price, city, t\.$"):  # a service without views
        offline_features(FeatureService([wrong], name="s"), rows, "t", bench.read)


def test_on_demand_features_do_not_read_each_other(bench: Bench) -> None:
    @on_demand
    def further(rows: Any) -> Any:
        return rows.select(quadruple=pl.col("double") * 2)

    with pytest.raises(UserCodeError, match=r"'further' raised ColumnNotFoundError: .*double"):
        offline_features(FeatureService([basket, last_order, further], name="s"), asked()[0], "t", bench.read)


@pytest.mark.parametrize("made", [pl.col("last_order__amount"), pl.col("price").alias("last_order__city")])
def test_names_do_not_collide(bench: Bench, made: pl.Expr) -> None:
    @on_demand
    def same(rows: Any) -> Any:
        return rows.select(made)

    for parts in ([last_order, same], [same, last_order]):
        with pytest.raises(InvalidArgument, match=r"'s' has two features 'last_order__\w+'\. .* name of its own"):
            offline_features(FeatureService(parts, name="s"), asked()[0], "t", bench.read)
    rows = asked()[0].with_columns(last_order__city=pl.lit("bern"))
    with pytest.raises(InvalidArgument, match="'last_order__city' is also a column of the rows"):
        offline_features(FeatureService([last_order, basket], name="s"), rows, "t", bench.read)


def test_a_view_that_is_not_there_yet_is_said_to_be(bench: Bench) -> None:
    bench.online.remove([spending])
    with pytest.raises(NotReady, match="spending"):
        bench.online.vector(service, {"who": "ann", "friend": "bob"}, HOUR)


# -- before they are applied ---------------------------------------------------------------------------------------------


def making(expression: pl.Expr) -> Any:
    def made(rows: Any) -> Any:
        return rows.select(made=expression)

    return made


def validate(*parts: Any, asks: Source | None = None, rows: pl.DataFrame | None = None) -> None:
    tables = Tables()
    tables.add(orders, some_orders().drop("event_ts", "created_ts", "ingest_seq"))
    asks = asks or Source("asks", time="t", id="ask")
    if rows is not None:
        tables.add(asks, rows)
    definitions = {("source", "asks"): asks, ("feature_service", "s"): FeatureService(parts, name="s")}
    Catalog(Definitions(definitions), tables.reader).validate()


ASKS = asked()[0].with_row_index("ask")
GOOD = {
    "stored": pl.col("last_order__amount").fill_null(0) + pl.col("price"),
    "lists": pl.col("spending__cities").list.len(),
    "raises": pl.col("last_order__city").str.to_integer(strict=True),  # what a trial cannot tell, it lets pass
}
MIXING = {
    "mean": pl.col("last_order__amount").fill_null(pl.col("last_order__amount").mean()),
    "max": pl.col("price") / pl.col("spending__amount_sum_3h").max(),
    "shift": pl.col("last_order__city").shift(1),
    "request": pl.col("price") - pl.col("price").mean(),
    "over": pl.col("last_order__amount").sum().over("last_order__city"),
    "unseen": pl.col("gift_last_order__amount").fill_null(strategy="forward"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_transform_of_single_rows_is_applied(name: str) -> None:
    made = on_demand(making(GOOD[name]))
    parts = [made, last_order, spending]
    validate(*parts, rows=ASKS)
    validate(*parts, rows=ASKS[:1])
    declared = Source("asks", time="t", id="ask", types={"who": "string", "price": "float64", "ask": "int64"})
    validate(*parts, asks=declared)
    validate(*parts, asks=declared, rows=ASKS.clear())


@pytest.mark.parametrize("name", MIXING)
def test_a_transform_that_mixes_rows_is_refused(name: str) -> None:
    parts = [on_demand(making(MIXING[name])), last_order, spending, last_order.on(who="friend").prefix("gift_")]
    with pytest.raises(InvalidArgument, match=r"on-demand transform 'made' gives other values when it sees rows alone"):
        validate(*parts, rows=ASKS)
