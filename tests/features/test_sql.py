"""Transforms in SQL: the same values and the same rules as in Python."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.features.tables import HOUR, UTC, Tables, keep

import tidemill as tm
from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument, UserCodeError
from tidemill.core.scope import Scope
from tidemill.core.specs.definition import collect
from tidemill.features.online import Online
from tidemill.features.rows import check_row_wise, view_rows
from tidemill.features.service import Features
from tidemill.stores.online.open import open_online

flights = tm.Source("flights", time="at", id="nr")

LATE = "SELECT *, delay > 15 AS late FROM rows"


def late(rows: Any) -> Any:
    return rows.with_columns(late=pl.col("delay") > 15)


@pytest.fixture
def tables() -> Tables:
    tables = Tables()
    rows = {
        "nr": list("abcdef"), "carrier": ["AA", "DL", "AA", None, "DL", "AA"],
        "at": [hour * HOUR for hour in (1, 2, 2, 3, 5, 6)], "delay": [20.0, 3.0, None, 99.0, 16.0, 15.0],
        "text": ["x", "it's", "", None, "a]b", 'q"'],
    }  # fmt: skip
    tables.add(flights, pl.DataFrame(rows).with_columns(pl.col("at").cast(UTC)))
    return tables


@pytest.fixture
def table(tables: Tables) -> pl.DataFrame:
    return tables.scan(flights).collect()


def view(transform: Any, **options: Any) -> tm.FeatureView:
    return tm.FeatureView(transform, **{"source": flights, "keys": "carrier", "name": "v", **options})


@pytest.mark.parametrize(
    ("statement", "python"),
    [
        (LATE, late),
        ("SELECT delay * 2 AS twice, upper(text) AS up FROM rows",
         lambda rows: rows.select(twice=pl.col("delay") * 2, up=pl.col("text").str.to_uppercase())),
        ("SELECT CASE WHEN delay IS NULL THEN 'none' ELSE 'it''s -- x' END AS word FROM rows",
         lambda rows: rows.select(word=pl.when(pl.col("delay").is_null()).then(pl.lit("none")).otherwise(pl.lit("it's -- x")))),
        ("WITH late AS (SELECT carrier, delay > 15 AS late FROM rows) SELECT late AND carrier = 'AA' AS ours FROM late",
         lambda rows: rows.select(ours=(pl.col("delay") > 15) & (pl.col("carrier") == "AA"))),
        ("SELECT EXTRACT(hour FROM at) AS hour, COALESCE(delay, 0) AS delay FROM rows",
         lambda rows: rows.select(hour=pl.col("at").dt.hour().cast(pl.Int32), delay=pl.col("delay").fill_null(0.0))),
    ],
)  # fmt: skip
def test_sql_and_python_derive_the_same_rows(table: pl.DataFrame, statement: str, python: Callable[[Any], Any]) -> None:
    found, expected = (view_rows(view(each), table.schema) for each in (tm.sql(statement), python))
    assert (found.inputs, found.reads, found.carried) == (expected.inputs, expected.reads, expected.carried)
    check_row_wise(found, table)
    assert_frame_equal(found.derive(table.lazy())[0], expected.derive(table.lazy())[0], check_dtypes=False)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT delay FROM rows ORDER BY delay",
        "SELECT delay FROM rows WHERE delay > 1",
        "SELECT DISTINCT delay FROM rows",
        "SELECT delay FROM rows LIMIT 2",
        "SELECT carrier, MAX(delay) AS most FROM rows GROUP BY carrier",
        "SELECT a.delay FROM rows a JOIN rows b ON a.nr = b.nr",
        "SELECT delay FROM rows UNION ALL SELECT delay FROM rows",
    ],
)
def test_what_goes_not_row_by_row_must_keep_keys_and_times(table: pl.DataFrame, statement: str) -> None:
    with pytest.raises(InvalidArgument, match=r"does more than select and with_columns, and its output lacks"):
        view_rows(view(tm.sql(statement)), table.schema)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT delay - AVG(delay) OVER (PARTITION BY carrier) AS more FROM rows",
        "SELECT delay, MAX(delay) OVER () AS most FROM rows",
        "SELECT LAG(delay) OVER (ORDER BY nr) AS before FROM rows",
        "SELECT *, ROW_NUMBER() OVER (ORDER BY nr) AS place FROM rows",
    ],
)
def test_a_row_must_not_depend_on_its_neighbours(table: pl.DataFrame, statement: str) -> None:
    with pytest.raises(InvalidArgument, match=r"sees rows (alone|in reverse order)"):
        check_row_wise(view_rows(view(tm.sql(statement)), table.schema), table)


def test_an_aggregate_of_all_rows_is_refused(table: pl.DataFrame) -> None:
    with pytest.raises(InvalidArgument, match="made 1 rows of 6"):
        view_rows(view(tm.sql("SELECT MAX(delay) AS most FROM rows")), table.schema).derive(table.lazy())


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT nonsense FROM rows", r"feature view 'v' raised ColumnNotFoundError.*nonsense.*Known: .*delay"),
        ("SELECT delay FROM flights", r"feature view 'v' raised SQLInterfaceError.*flights"),
        ("SELECT delay FROM", "feature view 'v' raised SQLInterfaceError"),
    ],
)
def test_errors_of_a_statement_name_the_view(table: pl.DataFrame, statement: str, message: str) -> None:
    with pytest.raises(UserCodeError, match=message):
        view_rows(view(tm.sql(statement)), table.schema)


@pytest.mark.parametrize("statement", ["", "  -- nothing", "DROP TABLE rows", "rows", None, 5])
def test_what_is_no_select_is_refused(statement: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"is no SELECT.*tm\.sql"):
        tm.sql(statement)


def test_a_definition_is_known_by_its_normalized_text() -> None:
    first = view(tm.sql(LATE))
    spread = "select_ed".replace(
        "select_ed", LATE.replace(" ", "\n  ").replace("FROM", "/* all\n */ FROM -- them\n") + " ;\n"
    )
    assert view(tm.sql(spread)).digest() == first.digest()
    assert first.describe()["transform"] == f"sql: {LATE}"
    for other in (LATE.replace("15", "16"), LATE.replace("late", "Late")):
        assert view(tm.sql(other)).digest() != first.digest()
    texts = ["SELECT 'a  b' AS x FROM rows", "SELECT 'a b' AS x FROM rows", "SELECT 'a -- b' AS x FROM rows"]
    assert len({view(tm.sql(text)).digest() for text in texts}) == 3
    assert [tm.sql(text).text for text in texts] == texts


def test_it_is_a_function_and_travels(table: pl.DataFrame) -> None:
    made = pickle.loads(pickle.dumps(tm.sql(LATE)))
    assert_frame_equal(made(table), late(table))
    assert_frame_equal(made(table.lazy()).collect(), late(table))


def test_online_equals_offline_and_python(tables: Tables, tmp_path: Path) -> None:
    windows = [tm.mean("late", over="3h"), tm.count("late", over="6h")]
    made = {
        "sql_state": view(tm.sql("SELECT delay > 15 AS late FROM rows"), name=None),
        "sql_window": view(tm.sql(LATE), aggregates=windows, name=None),
        "python_window": view(late, aggregates=windows, name=None),
    }
    service = tm.FeatureService(list(made.values()))
    definitions = collect([SimpleNamespace(flights=flights, service=service, **made)])  # type: ignore[list-item]
    store = open_online("lmdb:", tmp_path)
    scope = Scope("test", "ada", ManualClock(10 * HOUR))
    online = Online(scope, read=lambda source: tables.scan(source), store=store)
    features = Features(scope=scope, definitions=definitions, reader=tables.reader, online=online, save=keep)
    features.validate(definitions)
    features.materialize()
    spine = pl.DataFrame({"carrier": ["AA", "DL", "zz"]})
    for hour in range(1, 11):
        asked = spine.with_columns(at=pl.lit(hour * HOUR).cast(UTC))
        offline = features.offline("service", asked, "at")
        found = features.online(service, spine, hour * HOUR)
        assert found.equals(offline.select(found.columns))
        for name in ("late_mean_3h", "late_count_6h"):
            assert found[f"sql_window__{name}"].equals(found[f"python_window__{name}"])
    assert features.online(service, spine, 6 * HOUR)["sql_state__late"].to_list() == [False, True, None]
    store.close()
