"""What every engine must do; subclass `EngineSuite` in a test module and give it a fixture `engine`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tidemill.core.errors import InvalidData, UserCodeError
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.core.specs.sources import Source
from tidemill.engines.protocol import Engine, Keyed
from tidemill.features.offline import offline_features

_UTC = pl.Datetime("us", "UTC")

# -- functions of partitions: at the top of a module, so that every process finds them ----------------------------------


def tally(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """For each key of the left rows, how many rows both sides have of it here."""
    theirs = right.group_by("key").agg(right=pl.len())
    return left.group_by("k").agg(left=pl.len()).join(theirs, left_on="k", right_on="key", how="left", nulls_equal=True)


def unchanged(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows."""
    return rows


def breaking(rows: pl.DataFrame) -> pl.DataFrame:
    """Raises what a bug would."""
    raise ZeroDivisionError(f"{rows.height} rows, no divisor")


def refusing(rows: pl.DataFrame) -> pl.DataFrame:
    """Raises an error of Tidemill."""
    raise InvalidData("the rows are odd", expected="even rows", hint="Add one")


# -- data ---------------------------------------------------------------------------------------------------------------

_moments = st.integers(0, 60)
_key = st.tuples(st.none() | st.integers(-2, 6), st.none() | st.sampled_from(["", "a", "é"]))
_rows = st.lists(
    st.tuples(_key, st.none() | _moments, st.none() | _moments, st.none() | st.integers(-9, 9)), max_size=60
)
_spine = st.lists(st.tuples(_key, _moments), max_size=30)


def whole(engine: Engine, inputs: Sequence[Keyed], function: Any, partitions: int | None = None) -> list[pl.DataFrame]:
    """Every answer."""
    return list(engine.map_partitions(inputs, function, partitions))


class EngineSuite:
    """The contract of `Engine`.

    A subclass gives a fixture `engine`: an open engine, the same one for all tests.
    """

    @settings(max_examples=3, suppress_health_check=[
        HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.differing_executors])  # fmt: skip
    @given(rows=_rows, spine=_spine, known=st.booleans())
    def test_features_are_those_of_the_plain_path(
        self, engine: Engine, rows: list[Any], spine: list[Any], known: bool
    ) -> None:
        service, table, asked = _features(rows, spine)

        def read(source: Source) -> pl.LazyFrame:
            return table.lazy()

        plain = offline_features(service, asked, "t", read, known)
        found = offline_features(service, asked, "t", read, known, engine=engine)
        assert_frame_equal(found, plain, rel_tol=1e-9, abs_tol=0)

    def test_equal_keys_of_all_inputs_meet_whatever_their_width(self, engine: Engine) -> None:
        left = pl.DataFrame({"k": pl.Series([*range(40), *range(0, 40, 2)], dtype=pl.Int16)})
        right = pl.DataFrame({"x": "z", "key": pl.Series(list(range(20, 60)) * 3, dtype=pl.Int64)})
        halves = Keyed(right.schema, ("key",), (right[:50], right[50:]))
        narrow = Keyed.of(left, ["k"])

        found = pl.concat(whole(engine, [narrow, halves], widened, 7)).sort("k")

        assert found["k"].to_list() == list(range(40))
        assert found["left"].to_list() == [2, 1] * 20
        assert found["right"].to_list() == [None] * 20 + [3] * 20

    def test_rows_with_a_null_in_their_key_meet_in_one_partition(self, engine: Engine) -> None:
        left = pl.DataFrame({"k": pl.Series([None, None, 1], dtype=pl.Int64)})
        right = pl.DataFrame({"key": pl.Series([None, 1], dtype=pl.Int64)})
        found = pl.concat(whole(engine, [Keyed.of(left, ["k"]), Keyed.of(right, ["key"])], tally, 5)).sort("k")
        assert found.rows() == [(None, 2, 1), (1, 1, 1)]

    def test_nothing_is_no_partition(self, engine: Engine) -> None:
        empty = pl.DataFrame(schema={"k": pl.Int64})
        assert whole(engine, [Keyed.of(empty, ["k"]), Keyed(empty.schema, ("k",), ())], tally) == []

    def test_an_input_without_rows_comes_as_an_empty_frame(self, engine: Engine) -> None:
        left = pl.DataFrame({"k": [1]})
        nothing = Keyed(pl.Schema({"key": pl.Int64()}), ("key",), ())
        assert [answer.rows() for answer in whole(engine, [Keyed.of(left, ["k"]), nothing], tally)] == [[(1, 1, None)]]

    def test_one_hot_key_is_one_partition(self, engine: Engine) -> None:
        rows = pl.DataFrame({"k": ["hot"] * 5000, "x": range(5000)})
        (found,) = whole(engine, [Keyed.of(rows, ["k"])], unchanged, 8)
        assert sorted(found["x"].to_list()) == list(range(5000))

    def test_more_partitions_than_keys(self, engine: Engine) -> None:
        rows = pl.DataFrame({"k": [1, 2, 3] * 4})
        found = whole(engine, [Keyed.of(rows, ["k"])], unchanged, 50)
        assert sorted(sorted(set(part["k"].to_list())) for part in found if part.height) == [[1], [2], [3]]

    def test_types_survive_the_journey(self, engine: Engine) -> None:
        rows = pl.DataFrame(
            {
                "k": pl.Series(["a", None, "b"], dtype=pl.Categorical),
                "small": pl.Series([255, None, 0], dtype=pl.UInt8),
                "large": pl.Series([2**64 - 1, None, 0], dtype=pl.UInt64),
                "real": [float("nan"), None, -0.0],
                "list": [[1, None], None, []],
                "struct": [{"x": 1, "y": "z"}, None, {"x": None, "y": ""}],
                "enum": pl.Series(["on", None, "off"], dtype=pl.Enum(["on", "off"])),
                "bytes": [b"\x00\xff", None, b""],
                "nothing": pl.Series([None] * 3),
                "at": pl.Series([-1, None, 2**53 + 1], dtype=pl.Int64).cast(pl.Datetime("ns", "Asia/Tokyo")),
                "took": pl.Series([1, None, -1], dtype=pl.Int64).cast(pl.Duration("ms")),
                "day": pl.Series([-1, None, 1], dtype=pl.Int32).cast(pl.Date),
            }
        )
        found = pl.concat(whole(engine, [Keyed.of(rows, ["k"])], unchanged, 3))
        back = [found.filter(pl.col("k").cast(pl.String).eq_missing(pl.lit(key))) for key in ("a", None, "b")]
        assert_frame_equal(pl.concat(back), rows, categorical_as_str=True)

    def test_what_a_function_raises_is_told_with_the_engine(self, engine: Engine) -> None:
        rows = Keyed.of(pl.DataFrame({"k": [1]}), ["k"])
        with pytest.raises(
            UserCodeError, match=rf"engine '{engine.name}' raised ZeroDivisionError: 1 rows, no divisor"
        ):
            whole(engine, [rows], breaking)
        with pytest.raises(InvalidData, match=r"the rows are odd\. Expected even rows\. Add one\."):
            whole(engine, [rows], refusing)
        assert len(whole(engine, [rows], unchanged)) == 1, "it goes on after a failure"


def widened(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """`tally` of keys that differ in width."""
    return tally(left.cast({"k": pl.Int64}), right)


def _features(rows: list[Any], spine: list[Any]) -> tuple[FeatureService, pl.DataFrame, pl.DataFrame]:
    """A service with every kind of part, its table, and rows to ask for."""
    table = pl.DataFrame(
        [(*key, at, told, x) for key, at, told, x in rows], orient="row",
        schema={"a": pl.Int64, "b": pl.String, "event_ts": pl.Int64, "created_ts": pl.Int64, "x": pl.Int64},
    ).with_columns(
        pl.col("event_ts", "created_ts").cast(_UTC), at=pl.col("event_ts"), told=pl.col("created_ts"),
        nr=pl.col("x"), ingest_seq=pl.int_range(pl.len(), dtype=pl.Int64),
    )  # fmt: skip
    source = Source("s", time="at", created="told", id="nr", delay=1)
    state = FeatureView(
        lambda r: r.select("x", word=pl.col("b") + "!"), source=source, keys=["a", "b"], ttl=20, name="v"
    )
    single = FeatureView(lambda r: r.with_columns(y=pl.col("x") / 3), source=source, keys="a", name="w", aggregates=[
        agg.sum("y", over=[9, 30]), agg.count("x", over=15, hop=5), agg.last_k("x", 2), agg.stddev("y", over=30),
    ])  # fmt: skip
    service = FeatureService([state, single, single.on(a="other").prefix("o_")], name="s")
    asked = pl.DataFrame(
        [(*key, key[0], t) for key, t in spine], orient="row",
        schema={"a": pl.Int32, "b": pl.Categorical, "other": pl.Int64, "t": pl.Int64},
    )  # fmt: skip
    return service, table, asked
