"""Numbers, sizes and times as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.ui import formats


@given(st.floats(min_value=1e-4, max_value=1e8))
def test_four_significant_digits_are_kept(value: float) -> None:
    shown = float(formats.number(value).replace(",", ""))
    assert abs(shown - value) <= max(value * 5.1e-4, 0)


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_whole_numbers_are_exact(value: int) -> None:
    assert int(formats.number(value).replace(",", "")) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (5.0, "5"),
        (0.7412345, "0.7412"),
        (1234.5, "1,234"),
        (-0.5, "-0.5000"),
        (1e-7, "1.000e-07"),
        (2.5e12, "2.500e+12"),
        (math.nan, "not a number"),
        (math.inf, "∞"),
        (None, "–"),
        (True, "yes"),
        (False, "no"),
        ("x", "x"),
    ],
)
def test_numbers_of_every_kind(value: object, shown: str) -> None:
    assert formats.number(value) == shown


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (0, "0 ms"),
        (1_500, "1.5 ms"),
        (2_500_000, "2.5 s"),
        (90_000_000, "1 min 30 s"),
        (3_600_000_000, "1 h"),
        (86_400_000_000, "1 d"),
        (90_000_000_000, "1 d 1 h"),
        (None, "–"),
    ],
)
def test_durations(micros: int | None, shown: str) -> None:
    assert formats.duration(micros) == shown


@given(st.integers(min_value=0, max_value=10**16), st.integers(min_value=0, max_value=10**16))
def test_relative_times_know_their_direction(at: int, now: int) -> None:
    text = formats.relative(at, now)
    if abs(at - now) < 1_000_000:
        assert text == "now"
    else:
        assert text.endswith(" ago") == (at < now)
        assert text.startswith("in ") == (at > now)


def test_sizes_and_shares() -> None:
    assert [formats.size(value) for value in (None, 0, 999, 1000, 2_500_000)] == ["–", "0 B", "999 B", "1 kB", "2.5 MB"]
    assert [formats.share(value) for value in (None, 0.0, 1.0, 0.0734)] == ["–", "0 %", "100 %", "7.3 %"]
    assert formats.count_of(2, "run") == "2 runs"
