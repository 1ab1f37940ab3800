"""Sources on SQL databases: the same on each of them, and what each brings with it."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from tests.data.conftest import MakeData

from tidemill.core.errors import InvalidArgument, InvalidData, MissingExtra, NotFound, TidemillError, Unavailable
from tidemill.core.specs.checks import check
from tidemill.core.specs.sources import Source
from tidemill.data.database import selection
from tidemill.data.documentation import describe_source
from tidemill.data.service import Data

PASSWORD = "geheim77"
BEFORE = datetime(2023, 12, 1, tzinfo=UTC).replace(tzinfo=None)  # as a database keeps it


class Shop:
    """A database with a table `orders`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        self.orders = sa.Table(
            "orders", sa.MetaData(), sa.Column("id", sa.BigInteger), sa.Column("at", sa.DateTime),
            sa.Column("price", sa.Float), sa.Column("note", sa.String(99)),
        )  # fmt: skip
        self.orders.create(self.engine)

    def add(self, *rows: tuple[int, int, float | None]) -> None:
        names = ("id", "at", "price")
        made = [dict(zip(names, (i, BEFORE.replace(hour=hour), price), strict=True)) for i, hour, price in rows]
        with self.engine.connect() as connection:
            connection.execute(self.orders.insert(), made)

    def run(self, statement: str) -> None:
        with self.engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def source(self, **options: Any) -> Source:
        table = "" if "query" in options else f"{'&' if '?' in self.url else '?'}table=orders"
        return Source("orders", self.url + table, **{"time": "at", "id": "id", **options})


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.service),
        pytest.param("mariadb", marks=pytest.mark.service),
    ]
)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    fixtures = {"postgres": "empty_postgres_url", "mariadb": "mariadb_url"}
    name = fixtures.get(request.param)
    made = Shop(f"sqlite:///{tmp_path}/shop.db" if name is None else request.getfixturevalue(name))
    yield made
    made.engine.dispose()


@pytest.fixture
def little(tmp_path: Path) -> Iterator[Shop]:
    """A shop in a file, for what is the same everywhere."""
    made = Shop(f"sqlite:///{tmp_path}/shop.db")
    yield made
    made.engine.dispose()


def ids(data: Data) -> list[int]:
    return sorted(data.scan("orders").collect()["id"].to_list())


def test_a_table_is_archived_and_taken_in(shop: Shop, data: Data) -> None:
    shop.add((2, 1, 2.5), (1, 0, None), (3, 2, -1.0))
    arrival = data.ingest(shop.source(checks=[check("price").between(0, 9)]))
    assert (arrival.rows, arrival.quarantined, arrival.origin) == (2, 1, shop.source().describe()["url"])
    rows = data.scan("orders").sort("id").select("id", "price", "event_ts").collect()
    assert rows.rows() == [(1, None, BEFORE.replace(tzinfo=UTC)), (2, 2.5, BEFORE.replace(hour=1, tzinfo=UTC))]
    assert arrival.archive is not None
    archived = pl.read_parquet(data.artifacts.local_path(arrival.archive))
    assert archived["id"].to_list() == [1, 2, 3]  # all of them, in the order of the id
    assert data.ingest(shop.source()).id == arrival.id


def test_reading_goes_on_where_it_stopped(shop: Shop, make_data: MakeData) -> None:
    source = shop.source(since="at")
    shop.add((1, 0, 1.0), (2, 1, 2.0))
    first = make_data().ingest(source)
    assert make_data().ingest(source).id == first.id
    shop.add((3, 1, 3.0))  # the same time as the newest row before
    second = make_data().ingest(source)
    shop.add((4, 1, 4.0), (5, 2, 5.0))
    third = make_data().ingest(source)
    data = make_data()
    assert data.ingest(source).id == third.id
    assert [arrival.rows for arrival in (first, second, third)] == [2, 1, 2]
    assert ids(data) == [1, 2, 3, 4, 5]
    assert data.quarantine(source).height == 0


def test_a_number_may_tell_the_order_and_no_id_is_needed(shop: Shop, data: Data) -> None:
    source = shop.source(since="id", id=None)
    shop.add((1, 5, 1.0), (2, 3, 2.0))
    data.ingest(source)
    shop.add((2, 3, 2.5), (3, 1, 3.0))
    assert data.ingest(source).rows == 2
    assert data.scan("orders").collect().height == 4


def test_quarantined_rows_are_not_read_again(little: Shop, data: Data) -> None:
    source = little.source(since="id", checks=[check("price").between(0, 9)])
    little.add((1, 0, 1.0), (2, 0, 99.0))
    first = data.ingest(source)
    assert (first.rows, first.quarantined) == (1, 1)
    assert data.ingest(source).id == first.id
    little.add((3, 0, 99.0))
    assert data.ingest(source).quarantined == 1
    assert sorted(data.quarantine(source)["id"]) == ["2", "3"]


def test_a_strict_delivery_that_failed_is_read_again(little: Shop, data: Data) -> None:
    source = little.source(since="id", checks=[check("price").between(0, 9)])
    little.add((1, 0, 1.0), (2, 0, 99.0))
    with pytest.raises(InvalidData, match="strict"):
        data.ingest(source, strict=True)
    little.run("UPDATE orders SET price = 9")
    assert data.ingest(source, strict=True).rows == 2


def test_a_query_is_read_as_it_is_written(shop: Shop, data: Data) -> None:
    shop.add((1, 0, 1.0), (2, 1, 2.0), (3, 2, 3.0))
    query = "SELECT id, at, price * 2 AS double_price, ' :x 50%' AS label FROM orders WHERE id > 1;"
    source = shop.source(query=query, since="id")
    assert data.ingest(source).rows == 2
    rows = data.scan("orders").sort("id").collect()
    assert rows["double_price"].to_list() == [4.0, 6.0]
    assert rows["label"].unique().to_list() == [" :x 50%"]
    shop.add((4, 3, 4.0))
    assert data.ingest(source).rows == 1


def test_what_is_not_there_is_named(shop: Shop, data: Data) -> None:
    shop.add((1, 0, 1.0))
    wrong = Source("orders", shop.source().url.replace("orders", "ordres"))  # type: ignore[union-attr]
    with pytest.raises(NotFound, match=r"table.*'ordres'.*orders"):
        data.ingest(wrong)
    with pytest.raises(NotFound, match=r"column.*'when'.*at, id, note, price.*since= of the source"):
        data.ingest(shop.source(since="when"))
    with pytest.raises(NotFound, match=r"column.*'nope'.*definition"):
        data.ingest(shop.source(id="nope"))
    with pytest.raises(InvalidArgument, match=r"cannot be read.*Check table="):
        data.ingest(shop.source(query="SELECT nonsense FROM orders"))
    assert data.arrivals() == []


def test_rows_that_would_never_be_read_are_refused(little: Shop, data: Data) -> None:
    little.add((1, 0, 1.0))
    little.run("INSERT INTO orders (id, price) VALUES (2, 2.0)")
    with pytest.raises(InvalidData, match=r"1 rows of .* have no at, so they would never be read.*IS NOT NULL"):
        data.ingest(little.source(since="at"))


def test_an_empty_table_has_no_rows(little: Shop, data: Data) -> None:
    for since in (None, "id"):
        with pytest.raises(InvalidData, match="has no rows"):
            data.ingest(little.source(since=since))


def test_many_rows_come_in_several_parts(little: Shop, data: Data) -> None:
    count = 50_003
    little.run(
        "INSERT INTO orders (id, price) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
        f" WHERE i < {count}) SELECT i, CASE WHEN i > 50000 THEN 0.5 END FROM n"
    )
    assert data.ingest(little.source(time=None, since="id")).rows == count
    assert data.scan("orders").collect()["price"].sum() == 1.5


@pytest.mark.service
def test_every_type_of_postgres_has_a_column(empty_postgres_url: str, data: Data) -> None:
    query = """SELECT 1 AS id, 1.50::numeric(10,2) AS price, 12345678901234567890::numeric(20,0) AS big, 0.1::numeric AS n,
        TIMESTAMPTZ '2023-12-01 02:00+02' AS at, '{"b": [1]}'::jsonb AS body, ARRAY[1, 2] AS parts, true AS paid,
        '0ea9a8a0-0000-4000-8000-000000000000'::uuid AS token, INET '10.0.0.1' AS host, 'a'::bytea AS raw,
        INTERVAL '90 minutes' AS took, TIME '12:30' AS opens, DATE '2023-12-01' AS day, NULL::int AS nothing"""
    data.ingest(Source("types", empty_postgres_url, query=query, time="at", id="id"))
    (row,) = data.scan("types").collect().to_dicts()
    assert row["event_ts"] == datetime(2023, 12, 1, tzinfo=UTC)
    assert (row["price"], row["big"], row["n"], row["parts"], row["paid"]) == (
        1.5,
        12345678901234567890,
        0.1,
        [1, 2],
        True,
    )
    assert (row["body"], row["host"], row["raw"]) == ('{"b": [1]}', "10.0.0.1", b"a")
    assert (row["token"], row["nothing"]) == ("0ea9a8a0-0000-4000-8000-000000000000", None)
    assert (str(row["took"]), str(row["opens"]), str(row["day"])) == ("1:30:00", "12:30:00", "2023-12-01")


@pytest.mark.service
def test_a_table_of_another_schema_and_its_texts(empty_postgres_url: str, data: Data) -> None:
    shop = Shop(empty_postgres_url)
    shop.run('CREATE SCHEMA "Old Ones"; CREATE TABLE "Old Ones"."Orders" AS SELECT 7 AS id, \'a\' AS name')
    shop.engine.dispose()
    url = f"{empty_postgres_url}?table=Old%20Ones.Orders"
    assert data.ingest(Source("orders", url, id="id")).rows == 1
    with pytest.raises(InvalidArgument, match="since='name' names a column of texts"):
        data.ingest(Source("orders", url, since="name"))
    with pytest.raises(NotFound, match=r"schema.*'New'"):
        data.ingest(Source("orders", f"{empty_postgres_url}?table=New.Orders"))


@pytest.mark.service
def test_times_of_mariadb_are_told_in_utc(mariadb_url: str, data: Data) -> None:
    shop = Shop(mariadb_url)
    shop.run("CREATE TABLE stamps (id INT, at TIMESTAMP(6) NULL)")
    shop.run("INSERT INTO stamps VALUES (1, FROM_UNIXTIME(1701388800.25))")
    shop.engine.dispose()
    data.ingest(Source("stamps", f"{mariadb_url}?table=stamps", time="at"))
    assert data.scan("stamps").collect()["event_ts"].dt.timestamp("us").to_list() == [1_701_388_800_250_000]


# -- secrets -----------------------------------------------------------------------------------------------------------


def check_hidden(error: TidemillError) -> None:
    seen: BaseException | None = error
    while seen is not None:
        assert PASSWORD not in f"{seen} {seen!r}"
        seen = seen.__cause__


@pytest.mark.service
def test_a_refused_password_is_not_shown(empty_postgres_url: str, mariadb_url: str, data: Data) -> None:
    for url in (empty_postgres_url, mariadb_url):
        scheme, address = url.split("://")[0], url.partition("@")[2]
        source = Source("orders", f"{scheme}://nobody_x:{PASSWORD}@{address}?table=orders")
        with pytest.raises(Unavailable, match=r"nobody_x:\*\*\*@.*does not answer") as caught:
            data.ingest(source)
        check_hidden(caught.value)


def test_no_server_at_the_address(data: Data) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for scheme in ("postgresql", "mysql"):
        with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port}.*Check the URL") as caught:
            data.ingest(Source("orders", f"{scheme}://ada:{PASSWORD}@127.0.0.1:{port}/db?table=orders"))
        check_hidden(caught.value)


@pytest.mark.parametrize("odd", [PASSWORD, f"a/{PASSWORD}", f"{PASSWORD}#b", f"a?{PASSWORD}@c"])
def test_a_definition_never_shows_its_password(odd: str) -> None:
    source = Source("orders", f"postgresql://ada:{odd}@db/shop?table=orders")
    assert PASSWORD not in f"{source!r} {source.describe()} {describe_source(source, None)}"
    assert source.describe()["url"] == "postgresql://ada:***@db/shop?table=orders"
    assert source.digest() == Source("orders", "postgresql://ada:other@db/shop?table=orders").digest()


def test_the_password_may_come_from_the_environment() -> None:
    source = Source("orders", "postgresql://ada@db/shop?table=orders#password=SHOP_PASSWORD")
    assert source.url is not None
    made = selection(source.url, source, Path(), {"SHOP_PASSWORD": PASSWORD})
    assert (made.url.password, made.table, made.url.drivername) == (PASSWORD, "orders", "postgresql+psycopg")
    assert PASSWORD not in repr(made)
    assert made.origin == "postgresql://ada@db/shop?table=orders"
    with pytest.raises(InvalidArgument, match="SHOP_PASSWORD, which is not set"):
        selection(source.url, source, Path(), {})


# -- definitions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "query", "message"),
    [
        (f"postgresql://ada:{PASSWORD}@h:port/db?table=x", None, "cannot be read"),
        ("postgresql://h/db", None, "neither a table nor a query"),
        ("postgresql://h/db?table=x", "SELECT 1", "a table and a query"),
        ("postgresql://h/db?table=x&table=y", None, "several tables"),
    ],
)
def test_a_wrong_url_is_refused(data: Data, url: str, query: str | None, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message) as caught:
        data.ingest(Source("orders", url, query=query))
    check_hidden(caught.value)


def test_a_missing_file_is_not_made(data: Data, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no database .*shop\.db"):
        data.ingest(Source("orders", "sqlite:///shop.db?table=orders"))
    assert not (tmp_path / "shop.db").exists()


def test_a_file_is_relative_to_the_project_and_only_read(little: Shop, data: Data) -> None:
    little.add((1, 0, 1.0))
    assert data.ingest(Source("orders", "sqlite:///shop.db?table=orders")).rows == 1
    with pytest.raises((InvalidArgument, Unavailable)):
        data.ingest(Source("orders", "sqlite:///shop.db", query="DELETE FROM orders RETURNING id"))


@pytest.mark.service
def test_two_columns_of_one_name_are_refused(empty_postgres_url: str, data: Data) -> None:
    with pytest.raises(InvalidData, match=r"has several columns named 'a'.*Name them with AS"):
        data.ingest(Source("orders", empty_postgres_url, query="SELECT 1 AS a, 2 AS a"))


@pytest.mark.parametrize(("scheme", "extra"), [("postgresql", "postgres"), ("mysql", "mysql"), ("mariadb", "mysql")])
def test_without_the_driver_the_extra_is_named(
    data: Data, monkeypatch: pytest.MonkeyPatch, scheme: str, extra: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=rf"pip install 'tidemill\[{extra}\]'"):
        data.ingest(Source("orders", f"{scheme}://h/db?table=x"))
