from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import InvalidData, NotFound
from tidemill.core.specs.checks import Check, check
from tidemill.data.quality import judge

FLOATS = st.one_of(st.none(), st.floats(width=32))
TEXTS = st.one_of(st.none(), st.sampled_from(["a", "ab", "b", ""]))
CHECKS = [
    check("x").between(-1, 1),
    check("x").not_null(),
    check("t").one_of("a", "b"),
    check("t").matches("^a"),
    check("t").unique(),
    check("x").not_after("y"),
]


def fails(rule: Check, row: dict[str, Any], earlier: list[dict[str, Any]]) -> bool:
    """The oracle: one rule on one row, in plain Python."""
    value = row[rule.column]
    if rule.rule == "not_null":
        return value is None
    if value is None:
        return False
    match rule.rule:
        case "between":
            return not rule.arguments[0] <= value <= rule.arguments[1]
        case "one_of":
            return value not in rule.arguments
        case "matches":
            return not value.startswith("a")
        case "unique":
            return any(other[rule.column] == value for other in earlier)
    other = row[rule.arguments[0]]
    return other is not None and not (value != value and other != other) and (value > other or value != value)


@given(st.lists(st.fixed_dictionaries({"x": FLOATS, "y": FLOATS, "t": TEXTS}), max_size=30))
def test_checks_agree_with_plain_python(rows: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(rows, schema={"x": pl.Float64, "y": pl.Float64, "t": pl.String})
    verdict = judge(frame, CHECKS)
    expected = [[rule.label for rule in CHECKS if fails(rule, row, rows[:n])] for n, row in enumerate(rows)]
    assert verdict.reason.to_list() == ["; ".join(labels) for labels in expected]
    assert verdict.passed.to_list() == [not labels for labels in expected]
    counts = {rule.label: sum(rule.label in labels for labels in expected) for rule in CHECKS}
    assert verdict.counts == {label: count for label, count in counts.items() if count}


def test_what_was_found_before_comes_first() -> None:
    frame = pl.DataFrame({"x": [1, 9, 9]})
    found = ("in the future", pl.Series([False, False, True]), pl.Series(["in the future"] * 3))
    verdict = judge(frame, [check("x").between(0, 5)], [found])
    assert verdict.reason.to_list() == ["", "x.between(0, 5)", "in the future; x.between(0, 5)"]
    assert verdict.counts == {"in the future": 1, "x.between(0, 5)": 2}


def test_a_check_of_a_column_that_does_not_exist_is_named() -> None:
    with pytest.raises(NotFound, match=r"'visb'.*Did you mean 'visib'"):
        judge(pl.DataFrame({"visib": [1]}), [check("visb").not_null()])
    with pytest.raises(NotFound, match=r"'end'"):
        judge(pl.DataFrame({"start": [1]}), [check("start").not_after("end")])


def test_a_check_that_does_not_suit_its_column_is_named() -> None:
    with pytest.raises(InvalidData, match=r"x\.matches\('a'\) does not suit"):
        judge(pl.DataFrame({"x": [1]}), [check("x").not_null(), check("x").matches("a")])
