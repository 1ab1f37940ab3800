"""Translated functions compute what pandas and Python compute, or are refused."""

from __future__ import annotations

import textwrap
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tidemill.features.feast.expressions import Untranslatable, translated
from tidemill.features.feast.repository import Code

ROWS = {
    "a": [1.0, -2.5, 4.0, 0.0],
    "n": [3, -7, 0, 12],
    "t": ["x", "it's", 'say "y"', "z"],
    "at": [
        datetime.fromisoformat(one)
        for one in ("2024-05-01T13:45:10", "2023-12-31T23:59:59", "2000-02-29", "1999-01-01T07:00")
    ],
}
COLUMNS = {name: name for name in ROWS}


def function(body: str, header: str = "def f(rows):") -> str:
    return f"{header}\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"


def ours(code: Code) -> dict[str, list[Any]]:
    made = {name: eval(text, {"pl": pl}) for name, text in translated(code, COLUMNS).items()}
    return pl.DataFrame(ROWS).select(**made).to_dict(as_series=False)


def run(text: str, rows: Any) -> Any:
    names: dict[str, Any] = {"pd": pd, "np": np, "pandas": pd, "numpy": np}
    exec(text.replace("@decorated\n", ""), names)
    return names["f"](rows)


PANDAS = [
    "rows['a'] + rows['n'] * 2 - 1",
    "-(rows['a'] - 3) / (rows['n'] + 0.5)",
    "1 - rows['a'] * (2 - rows['n'])",
    "rows['a'] > 0",
    "(rows['a'] > 0) & ~(rows['n'] <= 3) | (rows['t'] == 'x')",
    "rows['t'] == 'say \"y\"'",
    'rows["t"] != "it\'s"',
    "rows['n'].astype('float64') / 2",
    "rows['a'].astype(int)",
    "rows['a'].abs()",
    "np.sqrt(abs(rows['a']))",
    "np.log1p(rows['a'].abs())",
    "np.exp(rows['a'])",
    "rows['at'].dt.hour + rows['at'].dt.day",
    "rows['a'].fillna(0.5)",
    "'a' + rows['t'] + ('b' + 'c') == 'axbc'",
    "abs(-1) * rows['a']",
]


@pytest.mark.parametrize("expression", PANDAS)
def test_a_pandas_function(expression):
    text = "@decorated\n" + function(
        f"""
        '''What it does.'''
        import math
        out = pd.DataFrame()
        value = {expression}
        out["value"] = value
        out["same"] = value
        return out
        """
    )
    expected = run(text, pd.DataFrame(ROWS))
    found = ours(Code(mode="pandas", text=text))
    for name in ("value", "same"):
        assert found[name] == pytest.approx(expected[name].to_list(), rel=1e-15)


@pytest.mark.parametrize("made", ["pd.DataFrame({'x': rows['a'] * 2, 'y': rows['t']})", "pandas.DataFrame(dict())"])
def test_a_frame_made_at_once(made):
    text = function(f"return {made}")
    if "dict" in made:
        with pytest.raises(Untranslatable):
            ours(Code(mode="pandas", text=text))
    else:
        expected = run(text, pd.DataFrame(ROWS)).to_dict("list")
        assert ours(Code(mode="pandas", text=text)) == expected


PYTHON = [
    "a if n > 0 else -a",
    "'big' if a > 1 and not n < 0 or n == 12 else 'small'",
    "None if a < 0 else a + n",
    "a is None",
    "-3 < n < 10",
    "float(n) / 4",
    "int(a)",
    "abs(a)",
    "-1 if not (1 < 2) else -1.5 if a > 0 else abs(-2) * a",
    "1",
]


@pytest.mark.parametrize("expression", PYTHON)
def test_a_python_function_of_one_row(expression):
    text = function(f"a: float = rows['a']\nn = rows['n']\nout = {{}}\nout['value'] = {expression}\nreturn out")
    expected = [run(text, {k: v[i] for k, v in ROWS.items()})["value"] for i in range(4)]
    found = ours(Code(mode="python", text=text, singleton=True))["value"]
    assert found in (expected, expected[:1])  # a constant is one row until it is joined to others


@pytest.mark.parametrize("expression", PYTHON[:-1])
def test_a_python_function_of_lists(expression):
    text = function(f"return {{'value': [{expression} for a, n in zip(rows['a'], rows['n'])], 'n': rows['n']}}")
    assert ours(Code(mode="python", text=text)) == run(text, ROWS)


def test_a_loop_over_one_list():
    text = function("return {'value': [a * 2 for a in rows['a']]}")
    assert ours(Code(mode="python", text=text)) == {"value": [2.0, -5.0, 8.0, 0.0]}


def test_columns_go_by_their_names_here():
    text = function("return {'value': rows['view__a'] + rows['a']}")
    made = translated(Code(mode="python", text=text, singleton=True), {"a": "b", "view__a": "b"})
    assert made == {"value": 'pl.col("b") + pl.col("b")'}


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("return rows", "return rows"),
        ("return {'x': rows['a'].mean()}", "rows['a'].mean()"),
        ("return {'x': rows['a'].shift(1)}", "rows['a'].shift(1)"),
        ("return {'x': rows['a'] // 2}", "rows['a'] // 2"),
        ("return {'x': rows['a'] ** 2}", "rows['a'] ** 2"),
        ("return {'x': (rows['a'] / rows['n']).fillna(0)}", "fillna(0)"),
        ("return {'x': rows['b']}", "line 2 of its function reads 'b', which is none of its inputs"),
        ("return {'x': other}", "line 2 of its function reads 'other', which is not made there"),
        ("return {'x': not rows['a']}", "not rows['a']"),
        ("return {'x': rows['a'] or 1}", "rows['a'] or 1"),
        ("return {'x': 1 if rows['a'] else 2}", "1 if rows['a'] else 2"),
        ("return {'x': lookup(rows['a'])}", "lookup(rows['a'])"),
        ("return {'x': rows['at'].dt.weekday}", "rows['at'].dt.weekday"),
        ("return {'x': 1 in rows['a']}", "1 in rows['a']"),
        ("return {**rows}", "an empty part"),
        ("for x in rows:\n    pass\nreturn {}", "for x in rows:"),
        ("x, y = rows['a'], 1\nreturn {'x': x}", "x, y = "),
        ("print(rows)", "print(rows)"),
        ("x = rows['a']", "it returns nothing at its end"),
        ("return {'x': rows['a'] is None is None}", "rows['a'] is None is None"),
        ("return {'x': f'{rows[1]}'}", "line 2 of its function, `f'{rows[1]}'`"),
        ("return {'x': f'{1!r:>{10}}' + rows['t']}", "f'{1!r:>{10}}'"),
        ("return {f'x': rows['a']}", "f'x'"),
        ("return {'x': rows[f'a']}", "f'a'"),
        ("return {'x': rows['a'].astype(f'float64')}", "astype(f'float64')"),
        # A no-break space: Python 3.11 reads it in these, but has no way to write it.
        ("return {'x': rows['t'] == f\"{'\xa0'}\"}", "line 2 of its function, `"),
        ("return {'x': f\"{'\xa0'}\".join(rows['t'])}", "line 2 of its function, `"),
        ("return {'x': (y := rows['a'])}", "(y := rows['a'])"),
        ("return {'x': [*rows['a']]}", "[*rows['a']]"),
        ("return {'x': lambda: rows}", "lambda: rows"),
        ("return {'x': b'x'}", "b'x'"),
        ("return {'x': 1j}", "1j"),
        ("return {'x': ...}", "`...`"),
        ("return {'x': rows['a':'t']}", "'a':'t'"),
        ("match rows:\n    case _:\n        return {}", "match rows:"),
        ("with rows:\n    pass\nreturn {}", "with rows:"),
        ("x: float\nreturn {'x': rows['a']}", "x: float"),
        ("return", "`return`"),
    ],
)
def test_what_means_something_else_is_refused(body, what):
    with pytest.raises(Untranslatable) as refused:
        translated(Code(mode="python", text=function(body), singleton=True), COLUMNS)
    assert what in str(refused.value)


@pytest.mark.parametrize("body", ["return {'x': rows['a'] + rows['n']}", "return {'x': [a for a in rows['a'] if a]}",
                                  "return {'x': [a for a in sorted(rows['a'])]}", "return {'x': 2 * rows['n']}"])  # fmt: skip
def test_lists_are_not_added_up_as_columns(body):
    """`+` of two lists joins them."""
    with pytest.raises(Untranslatable):
        translated(Code(mode="python", text=function(body)), COLUMNS)


NO_FUNCTION = [
    "", "f = lambda rows: rows", "def f(a, b):\n    return {}", "def f(:", "def f(rows):\n    return '\0'",
    "def f(rows):\n    return '\ud800'", "async def f(rows):\n    return {}",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_FUNCTION)
def test_what_is_no_function_of_one_argument_is_refused(text):
    with pytest.raises(Untranslatable, match="not a function of one argument"):
        translated(Code(mode="pandas", text=text), COLUMNS)
