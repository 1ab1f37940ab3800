from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tidemill.core.errors import InvalidArgument, InvalidData, NotFound
from tidemill.data.splits import Split, split_by_time, split_groups, split_random, split_rows, split_stratified

DAY = 86_400_000_000
ROWS = st.lists(st.tuples(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 8))), min_size=2, max_size=40)


def check_disjoint(split: Split, ids: list[Any]) -> None:
    fit, test = split.fit.to_list(), split.test.to_list()
    assert not any(a and b for a, b in zip(fit, test, strict=True))
    in_test = {i for i, t in zip(ids, test, strict=True) if t and i is not None}
    assert not any(f and i in in_test for i, f in zip(ids, fit, strict=True))
    assert split.description["fit_rows"] == sum(fit)
    assert split.description["test_rows"] == sum(test)
    assert split.description["dropped"] == len(ids) - sum(fit) - sum(test)


@given(ROWS, st.one_of(st.integers(1, 10).map(lambda d: f"{d}d"), st.floats(0.1, 0.9)))
def test_by_time_the_newest_are_tested_on(rows: list[tuple[int, int | None]], test: str | float) -> None:
    times = pl.Series("at", [day * DAY for day, _ in rows])
    ids = pl.Series("id", [i for _, i in rows], pl.Int64)
    try:
        split = split_by_time(times, test=test, ids=ids)
    except InvalidData:
        assume(False)
    check_disjoint(split, ids.to_list())
    oldest_tested = min(d for (d, _), t in zip(rows, split.test, strict=True) if t)
    assert all(t == (d >= oldest_tested) for (d, _), t in zip(rows, split.test, strict=True))
    if isinstance(test, str):
        newest = max(d for d, _ in rows)
        assert [d >= newest - int(test[:-1]) for d, _ in rows] == split.test.to_list()
    else:
        assert split.test.sum() >= round(len(rows) * test)


@given(ROWS, st.floats(0.1, 0.9), st.integers(0, 5), st.booleans())
def test_random_keeps_ids_and_groups_together(
    rows: list[tuple[int, int | None]], test: float, seed: int, grouped: bool
) -> None:
    frame = pl.DataFrame(rows, schema={"g": pl.Int64, "id": pl.Int64}, orient="row")
    options: dict[str, Any] = {
        "by": "random",
        "test": test,
        "seed": seed,
        "ids": ("id",),
        "group": "g" if grouped else None,
    }
    try:
        split = split_rows(frame, **options)
    except InvalidData:
        assume(False)
    check_disjoint(split, frame["id"].to_list())
    if grouped:
        sides = frame.with_columns(split.test).group_by("g").agg(pl.col("test").n_unique())
        assert sides["test"].max() == 1
    assert split_rows(frame, **options).test.equals(split.test)


def test_another_seed_draws_other_rows() -> None:
    drawn = [split_random(1000, test=0.2, seed=seed).test for seed in range(2)]
    assert [int(test.sum()) for test in drawn] == [200, 200]
    assert not drawn[0].equals(drawn[1])


@given(ROWS, st.floats(0.1, 0.9), st.integers(0, 5))
def test_groups_stay_whole_and_make_up_the_share(rows: list[tuple[int, int | None]], test: float, seed: int) -> None:
    frame = pl.DataFrame(rows, schema={"id": pl.Int64, "g": pl.Int64}, orient="row")
    options: dict[str, Any] = {"by": "group", "column": "g", "test": test, "seed": seed, "ids": ("id",)}
    try:
        split = split_rows(frame, **options)
    except InvalidData:
        assume(False)
    check_disjoint(split, frame["id"].to_list())
    tested = set(frame["g"].filter(split.test))
    assert split.test.to_list() == [g in tested for g in frame["g"]]
    assert (split.description["groups"], split.description["test_groups"]) == (frame["g"].n_unique(), len(tested))
    assert split_rows(frame, **options).test.equals(split.test)
    # Half the largest group too many or too few, but for the one group each side keeps.
    largest = max(Counter(g for _, g in rows).values())
    if 1 < len(tested) < frame["g"].n_unique() - 1:
        assert abs(split.test.sum() - len(rows) * test) <= largest / 2


@given(
    st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["a", "b", "c", None])), min_size=2, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(0, 5),
)
def test_every_class_has_its_share_of_the_test(rows: list[tuple[int, str | None]], test: float, seed: int) -> None:
    frame = pl.DataFrame(rows, schema={"id": pl.Int64, "class": pl.String}, orient="row")
    sizes = Counter(name for _, name in rows)
    options: dict[str, Any] = {"by": "stratified", "label": "class", "test": test, "seed": seed}
    if min(sizes.values()) == 1:
        with pytest.raises(InvalidData, match="have one row"):
            split_rows(frame, **options)
        return
    split = split_rows(frame, **options)
    check_disjoint(split, list(range(len(rows))))
    drawn = Counter(frame["class"].filter(split.test))
    assert all(abs(drawn[name] - size * test) < 1 and 0 < drawn[name] < size for name, size in sizes.items())
    assert split.description["dropped"] == 0
    assert split_rows(frame, **options).test.equals(split.test)
    try:
        check_disjoint(split_rows(frame, **options, ids=("id",)), frame["id"].to_list())
    except InvalidData:
        assert frame["id"].n_unique() < len(rows)


@pytest.mark.parametrize("classes", [[0.5, float("nan"), None] * 4, [True, False, True, False] * 3])
def test_classes_may_be_of_any_type(classes: list[Any]) -> None:
    split = split_stratified(pl.Series("c", classes), test=0.25)
    assert split.test.sum() == 3


def test_a_class_with_one_row_is_named() -> None:
    message = r"1 of 2 classes of column 'c' have one row: 'rare'.*at least two rows"
    with pytest.raises(InvalidData, match=message):
        split_stratified(pl.Series("c", ["common", "rare", "common"]), test=0.5)


def test_one_group_cannot_be_divided() -> None:
    with pytest.raises(InvalidData, match="'plane' has 1 group"):
        split_groups(pl.Series("plane", ["a", "a"]), test=0.5)


def test_other_seeds_draw_other_groups_and_rows() -> None:
    column = pl.Series("c", [number % 50 for number in range(1000)])
    for split in (split_groups, split_stratified):
        drawn = [split(column, test=0.2, seed=seed).test for seed in range(2)]
        assert [int(test.sum()) for test in drawn] == [200, 200]
        assert not drawn[0].equals(drawn[1])


def test_an_id_in_the_test_is_not_fitted_on() -> None:
    frame = pl.DataFrame({"at": ["2024-01-01", "2024-01-02", "2024-01-03"], "a": [1, 2, 1], "b": ["x", "x", "x"]})
    split = split_rows(frame, by="time", time="at", test="0s", ids=("a", "b"))
    assert (split.fit.to_list(), split.test.to_list()) == ([False, True, False], [False, False, True])
    assert split.description == {
        "by": "time", "test": "0us", "start": "2024-01-03T00:00:00Z", "fit_rows": 1, "test_rows": 1, "dropped": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "luck"}, "luck.*time, random"),
        ({"by": "time"}, "no time to split by"),
        ({"by": "time", "time": "at", "group": "g"}, "random split only"),
        ({"by": "time", "time": "at", "test": 1.5}, "between 0 and 1"),
        ({"by": "random", "test": "28d"}, "share between 0 and 1"),
        ({"by": "random", "test": 0.0}, "between 0 and 1"),
        ({"by": "group"}, "needs the column whose rows stay together"),
        ({"by": "group", "group": "g"}, "Pass column= instead"),
        ({"by": "group", "column": "g", "test": "28d"}, "split by group.*share between 0 and 1"),
        ({"by": "group", "column": "g", "test": 1.0}, "between 0 and 1"),
        ({"by": "stratified"}, "these rows have no label"),
        ({"by": "stratified", "column": "g", "test": "28d"}, "share between 0 and 1"),
        ({"by": "random", "column": "g"}, "goes with a split by group or a stratified one"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    frame = pl.DataFrame({"at": ["2024-01-01", "2024-01-02"], "g": [1, 2]})
    with pytest.raises(InvalidArgument, match=message):
        split_rows(frame, **options)


def test_sides_without_rows_and_rows_without_time_are_refused() -> None:
    at = pl.Series("at", ["2024-01-01", "2024-01-02"])
    with pytest.raises(InvalidData, match="no row is left to fit on"):
        split_by_time(at, test="30d")
    with pytest.raises(InvalidData, match="1 rows have no time"):
        split_by_time(pl.Series("at", ["2024-01-01", None]), test="1d")
    with pytest.raises(NotFound, match="'nope'"):
        split_rows(pl.DataFrame({"x": [1]}), by="random", group="nope")
