"""A project's stores in a temporary folder, and rows to make datasets of."""

from __future__ import annotations

import polars as pl
import pytest


@pytest.fixture
def rides() -> pl.DataFrame:
    """Six rides: id, time, two features, a label."""
    hour = 3_600_000_000
    return pl.DataFrame(
        {
            "ride": [1, 2, 3, 4, 5, 6],
            "at": pl.Series([hour * i for i in range(6)]).cast(pl.Datetime("us", "UTC")),
            "station": ["north", "south", None, "north", "east", "south"],
            "temp": [1.5, None, 3.0, 4.0, 5.0, 6.0],
            "late": [True, False, True, False, True, False],
        }
    )
