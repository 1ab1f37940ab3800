"""Code laid out in lines: what is too long is divided where it can be."""

from __future__ import annotations

import ast

import pytest

from tidemill.features.feast.layout import WIDTH, assign, quoted


@pytest.mark.parametrize("text", [quoted("/a" * WIDTH), f"pl.col({quoted('b' * WIDTH)})", "x" * WIDTH])
def test_what_has_no_place_to_be_divided_at_stays_on_one_line(text: str) -> None:
    assert assign("far", text) == f"far = {text}\n"


def test_operators_divide_and_the_meaning_stays() -> None:
    text = " + ".join(f"pl.col({quoted(name * 20)}) * 2" for name in "abcdefg")
    lines = assign("total", text).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= WIDTH
    joined = ast.parse(f"({' '.join(lines).removeprefix('total = ')})", mode="eval")
    assert ast.dump(joined) == ast.dump(ast.parse(text, mode="eval"))
