from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import InvalidArgument
from tidemill.tracking.filters import Clause, Filter, Junction, parse_filter, parse_name


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("metric.acc >= 0.94", Clause("metrics", "acc", ">=", 0.94)),
        ("metrics.acc>=100", Clause("metrics", "acc", ">=", 100.0)),
        ("metrics.`val/loss` < -1e-3", Clause("metrics", "val/loss", "<", -0.001)),
        ("metrics.val/loss < .5", Clause("metrics", "val/loss", "<", 0.5)),
        ("params.m!='tf'", Clause("params", "m", "!=", "tf")),
        ('params."m" != "tf"', Clause("params", "m", "!=", "tf")),
        ("`params`.model >= 'LR'", Clause("params", "model", ">=", "LR")),
        ("parameters.depth IN (4, 6)", Clause("params", "depth", "IN", (4.0, 6.0))),
        ("params.depth not in ('4')", Clause("params", "depth", "NOT IN", ("4",))),
        ("tags.version = 'commit''s hash'", Clause("tags", "version", "=", "commit's hash")),
        ("tag.a.b.c LIKE '%x_'", Clause("tags", "a.b.c", "LIKE", "%x_")),
        ("tags.x ilike '%A'", Clause("tags", "x", "ILIKE", "%A")),
        ("tags.x IS NULL", Clause("tags", "x", "IS NULL", None)),
        ("params.x is not null", Clause("params", "x", "IS NOT NULL", None)),
        ("attributes.status = 'finished'", Clause("attributes", "status", "=", "finished")),
        ("status == 'finished'", Clause("attributes", "status", "=", "finished")),
        ("start_time > 1664067852747", Clause("attributes", "started_at", ">", 1664067852747.0)),
        ("run_id IN ('a', 'b')", Clause("attributes", "id", "IN", ("a", "b"))),
        ("  user_id = 'ada'  ", Clause("attributes", "principal", "=", "ada")),
    ],
)
def test_clauses(text: str, clause: Clause) -> None:
    assert parse_filter(text) == clause


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "metrics.acc", "metrics.acc >=", "metrics.acc >= 'high'", "metrics.acc LIKE '1%'", "metrics.acc IN (1)",
        "metrics.acc IS NULL", "params.acc = LR", "params.acc LR", "= 'LR'", "params. = 'LR'", "nothing.acc = 'LR'",
        "attribute.experiment_id != 1", "status = 1", "start_time > 'noon'", "status < 'finished'", "params.a = 'x' AND",
        "AND params.a = 'x'", "params.a = 'x' params.b = 'y'", "(params.a = 'x'", "params.a = 'x')", "params.a IN ()",
        "params.a IN ('x'", "params.a IN 'x'", "params.a LIKE 3", "params.a = 'x' ; drop table runs", "params.a = 'x",
        "__import__('os')", "NOT", "metrics.a > 1 -- comment", "'params'.a = 'x'", "1 = 1", "tags.a < 'x'",
    ],
)  # fmt: skip
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_filter(text)


def test_and_binds_closer_than_or() -> None:
    a, b, c = (Clause("metrics", name, ">", 1.0) for name in "abc")
    assert parse_filter("metrics.a > 1 or metrics.b > 1 and metrics.c > 1") == Junction(
        "OR", (a, Junction("AND", (b, c)))
    )
    assert parse_filter("(metrics.a > 1 or metrics.b > 1) and not metrics.c > 1") == Junction(
        "AND", (Junction("OR", (a, b)), Junction("NOT", (c,)))
    )


def test_the_message_says_where() -> None:
    with pytest.raises(InvalidArgument, match=r"found 'oor' at position 15.*Expected AND, OR or the end"):
        parse_filter("metrics.a > 1 oor metrics.b > 1")
    with pytest.raises(InvalidArgument, match=r"no attribute 'statsu'.*Known: .*status"):
        parse_filter("statsu = 'finished'")
    with pytest.raises(InvalidArgument, match=r"'metrisc' in .* is no part of a run.*Known: metrics"):
        parse_name("metrisc.auc")


keys = st.from_regex(r"[a-z][a-z0-9_/-]{0,8}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
numbers = st.floats(allow_nan=False, allow_infinity=False)
clauses = st.one_of(
    st.builds(Clause, st.just("metrics"), keys, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), numbers),
    st.builds(Clause, st.sampled_from(["params", "tags"]), keys, st.sampled_from(["=", "!="]), st.one_of(texts, numbers)),
    st.builds(Clause, st.just("tags"), keys, st.sampled_from(["LIKE", "ILIKE"]), texts),
    st.builds(
        Clause, st.just("params"), keys, st.sampled_from(["IN", "NOT IN"]),
        st.lists(st.one_of(texts, numbers), min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Clause, st.just("tags"), keys, st.sampled_from(["IS NULL", "IS NOT NULL"]), st.none()),
)  # fmt: skip
filters: st.SearchStrategy[Filter] = st.recursive(
    clauses,
    lambda inner: st.one_of(
        st.builds(Junction, st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Junction, st.just("NOT"), st.tuples(inner)),
    ),
    max_leaves=6,
)


def written(item: Filter) -> str:
    if isinstance(item, Junction):
        if item.op == "NOT":
            return f"NOT ({written(item.parts[0])})"
        return f" {item.op} ".join(f"({written(part)})" for part in item.parts)
    value = "" if item.value is None else f" {literal(item.value)}"
    return f"{item.entity}.{item.key} {item.op}{value}"


def literal(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))})"
    return repr(value) if isinstance(value, float) else "'" + str(value).replace("'", "''") + "'"


@given(filters)
def test_what_is_written_is_read(wanted: Filter) -> None:
    assert parse_filter(written(wanted)) == wanted


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        parse_filter(text)
