"""What features mean, as far as the documentation of their sources says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tidemill.core.specs.features import FeatureService, FeatureView, ViewUse

_SAME_UNIT = frozenset({"sum", "mean", "min", "max", "first", "last", "median", "mode", "ewma", "stddev_samp", "stddev_pop",
                        "approx_quantile"})  # fmt: skip
"""Aggregates whose values have the unit of their column."""


def meanings(part: FeatureView | FeatureService, names: Iterable[str]) -> dict[str, str]:
    """Full name -> what the feature is, with its unit, for those whose column is documented.

    A feature has the words of the source's column it is called after; an aggregate those of its column.

    Args:
        part: A view, or a service whose views are asked.
        names: Full names of features.

    Example:
        >>> from tidemill.core.specs.sources import Source
        >>> said = {"columns": {"temp": "Air temperature"}, "units": {"temp": "°C"}}
        >>> view = FeatureView(source=Source("weather", time="at", documentation=said), keys="origin", name="sky")
        >>> meanings(view, ["sky__temp", "sky__visib"])
        {'sky__temp': 'Air temperature (°C)'}
    """
    uses = part.uses if isinstance(part, FeatureService) else (_whole(part),)
    known: dict[str, str] = {}
    for use in uses:
        start = use.full_name("")
        columns = _columns(use.view)
        for name in names:
            if name.startswith(start) and (said := _said(use.view, name.removeprefix(start), columns)):
                known[name] = said
    return known


def _whole(view: FeatureView) -> ViewUse:
    return ViewUse(view, {key: key for key in view.key_columns})


def _columns(view: FeatureView) -> Mapping[str, tuple[str, bool]] | None:
    """Feature -> its column, and whether it has that column's unit; None where a feature is its column."""
    if not view.is_windowed:
        return None
    return {
        feature: (aggregate.column, aggregate.operation in _SAME_UNIT)
        for aggregate in view.aggregates for feature, _ in aggregate.features()
    }  # fmt: skip


def _said(view: FeatureView, feature: str, columns: Mapping[str, tuple[str, bool]] | None) -> str:
    column, same_unit = (feature, True) if columns is None else columns.get(feature, ("", False))
    documentation = view.source.documentation
    what = _entry(documentation, "columns", column)
    unit = _entry(documentation, "units", column) if same_unit else ""
    return " ".join(filter(None, [what, f"({unit})" if unit else ""]))


def _entry(documentation: Mapping[str, Any], table: str, column: str) -> str:
    entries = documentation.get(table)
    return str(entries.get(column) or "") if isinstance(entries, Mapping) else ""
