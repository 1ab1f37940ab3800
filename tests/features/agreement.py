"""When an answer is the oracle's, and the windows and arguments it is tried with."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from tidemill.core.specs.windows import AnyWindow, CalendarWindow, Window
from tidemill.testing import oracle

NUMERIC = ("sum", "mean", "stddev_samp", "stddev_pop", "var_samp", "var_pop", "sum_rate", "ewma", "median",
           "approx_quantile")  # fmt: skip
ARGUMENTS = {"rate": (1e6,), "sum_rate": (1,), "ewma": (3.0,), "approx_quantile": (0.7, 0.01, 3),
             "approx_unique_count": (12,)}  # fmt: skip


hopped = st.builds(
    lambda size, mode, hop, offset: Window(size, mode, 0 if mode == "exact" else hop, offset),
    st.none() | st.integers(1, 15),
    st.sampled_from(["exact", "sawtooth", "hopping"]),
    st.integers(1, 7),
    st.sampled_from([0, 0, 2, 5]),
)
tumbling = st.builds(lambda size, offset: Window(size, "tumbling", offset=offset), st.integers(1, 9), st.integers(0, 2))
# Midnight of 1970-01-01 UTC is in the middle of the times, and begins a day, a month, a quarter and a year.
periods = st.builds(CalendarWindow, st.sampled_from(["day", "week", "month", "quarter", "year"]), st.just("UTC"),
                    st.integers(1, 2), st.booleans())  # fmt: skip
windows: st.SearchStrategy[AnyWindow] = hopped | tumbling | periods


def agree(got: Any, expected: Any, scale: float = 0.0) -> bool:
    if isinstance(expected, float) and isinstance(got, float):
        if math.isnan(expected):
            return math.isnan(got)
        return got == expected or abs(got - expected) <= 1e-9 * abs(expected) + scale
    if isinstance(got, int) and isinstance(expected, int) and scale and expected:
        return abs(got - expected) <= scale
    if isinstance(expected, list):
        return isinstance(got, list) and len(got) == len(expected) and all(map(agree, got, expected))
    return type(got) is type(expected) and bool(got == expected)


def of_oracle(window: AnyWindow) -> dict[str, Any]:
    """A window in the oracle's words."""
    if isinstance(window, CalendarWindow):
        return {"size": None, "periods": oracle.Periods(window.unit, window.tz, window.last, window.complete)}
    return {"size": window.size, "mode": window.mode, "hop": window.hop, "offset": window.offset}


def tolerance(operation: str, values: list[Any], expected: Any) -> float:
    """How far from the oracle an answer may be, besides 1e-9 of it.

    A sum: a unit in the last place of the largest value. A decayed mean: a few. A quantile of more values than are kept: its
    relative error. A HyperLogLog of 4096 registers and so few values: some that share a register.
    """
    if operation == "approx_unique_count":
        return 2.0
    if operation not in NUMERIC or not all(map(math.isfinite, values)):
        return 0.0
    if operation == "approx_quantile":
        return 0.01 * abs(expected) if len(values) > ARGUMENTS[operation][2] else 0.0
    largest = max((abs(float(value)) for value in values), default=0.0)
    return largest * {"sum": 4e-16, "mean": 4e-16, "sum_rate": 4e-16, "ewma": 1e-14}.get(operation, 0.0)
