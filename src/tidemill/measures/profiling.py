"""Counting rows into profiles: a reference that fixes the cells, and windows counted in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import structs

from tidemill.measures.arrays import Floats, finite_or_none
from tidemill.measures.bins import sorted_count_cells, sorted_decile_edges
from tidemill.measures.columns import Categories, Numbers, as_categories, as_numbers, kind_of
from tidemill.measures.moments import finite_moments
from tidemill.measures.profile import (
    MAX_KNOWN_CATEGORIES,
    ORDERED,
    TOP_CATEGORIES,
    FeatureProfile,
    Kind,
    Profile,
    empty_feature,
)

Columns = Mapping[str, Any]


def reference_profile(columns: Columns, kinds: Mapping[str, Kind] | None = None) -> Profile:
    """The profile that fixes the cells every later window is counted in.

    Args:
        columns: By name: lists, numpy arrays or Polars series of equal length.
        kinds: Kinds by name; a column without one is judged by its dtype or first value.

    Example:
        >>> reference = reference_profile({"delay": [1.0, 2.0, None, 4.0]})
        >>> reference["delay"].missing, reference["delay"].high
        (1, 4.0)
    """
    chosen = {name: (kinds or {}).get(name) or kind_of(values) for name, values in columns.items()}
    features = {name: _reference_feature(values, chosen[name]) for name, values in columns.items()}
    return Profile(max((one.n for one in features.values()), default=0), features)


def profile_like(reference: Profile, columns: Columns) -> Profile:
    """The profile of a window, in the reference's cells; never raises because of what the rows hold.

    A column the window lacks counts as missing in every row; columns the reference lacks are left out.

    Args:
        reference: The profile of the reference rows.
        columns: By name, as for the reference.

    Example:
        >>> reference = reference_profile({"carrier": ["AA", "UA", "AA"]})
        >>> profile_like(reference, {"carrier": ["AA", "ZZ"]})["carrier"].unseen
        1
    """
    rows = max((len(values) for values in columns.values()), default=0)
    features = {
        name: _window_feature(one, columns[name]) if name in columns else _vanished(one, rows)
        for name, one in reference.features.items()
    }
    return structs.replace(reference, n_rows=rows, features=features)


def profile_frame(frame: Any, reference: Profile | None = None, kinds: Mapping[str, Kind] | None = None) -> Profile:
    """The profile of a Polars frame: in the reference's cells where one is given, else a reference itself.

    Args:
        frame: A `polars.DataFrame`.
        reference: The reference to count like.
        kinds: Kinds by column, only without a reference.
    """
    columns = {series.name: series for series in frame.get_columns()}
    return reference_profile(columns, kinds) if reference is None else profile_like(reference, columns)


def _reference_feature(values: Any, kind: Kind) -> FeatureProfile:
    if kind in ORDERED:
        return _reference_numbers(as_numbers(values, kind), kind)
    return _reference_categories(as_categories(values), kind)


def _window_feature(reference: FeatureProfile, values: Any) -> FeatureProfile:
    if reference.kind in ORDERED:
        return _count_numbers(empty_feature(reference), as_numbers(values, reference.kind))
    return _count_categories(empty_feature(reference), as_categories(values), frozenset(reference.rest))


def _vanished(reference: FeatureProfile, rows: int) -> FeatureProfile:
    return structs.replace(empty_feature(reference), n=rows, missing=rows)


def _reference_numbers(column: Numbers, kind: Kind) -> FeatureProfile:
    edges = tuple(sorted_decile_edges(column.ordered).tolist())
    low, high = _ends(column.ordered)
    cells = FeatureProfile(kind, edges=edges, low=low, high=high, scale=_sorted_scale(column.ordered))
    return structs.replace(_count_numbers(cells, column), alone=_lonely_ends(column.ordered))


def _count_numbers(cells: FeatureProfile, column: Numbers) -> FeatureProfile:
    ordered = column.ordered
    low, high = _ends(ordered)
    return structs.replace(
        cells,
        n=column.n,
        missing=column.missing,
        nan=column.nan,
        infinite=column.infinite,
        invalid=column.invalid,
        counts=tuple(sorted_count_cells(ordered, np.asarray(cells.edges, dtype=np.float64)).tolist()),
        below=0 if cells.low is None else int(np.searchsorted(ordered, cells.low, side="left")),
        above=0 if cells.high is None else len(ordered) - int(np.searchsorted(ordered, cells.high, side="right")),
        moments=finite_moments(ordered),
        min=low,
        max=high,
    )


def _reference_categories(column: Categories, kind: Kind) -> FeatureProfile:
    known = sorted(column.counts, key=lambda name: (-column.counts[name], name))
    if kind == "boolean":
        known = ["false", "true", *(name for name in known if name not in ("false", "true"))]
    cells = FeatureProfile(
        kind, categories=tuple(known[:TOP_CATEGORIES]), rest=tuple(known[TOP_CATEGORIES:MAX_KNOWN_CATEGORIES])
    )
    singles = sum(rows == 1 for rows in column.counts.values())
    return structs.replace(_count_categories(cells, column, frozenset(known)), rest=cells.rest, alone=singles)


def _count_categories(cells: FeatureProfile, column: Categories, rest: frozenset[str]) -> FeatureProfile:
    top = [column.counts.get(name, 0) for name in cells.categories]
    named = set(cells.categories)
    others = {name: rows for name, rows in column.counts.items() if name not in named}
    known = sum(rows for name, rows in others.items() if name in rest)
    return structs.replace(
        cells,
        n=column.n,
        missing=column.missing,
        counts=(*top, known),
        unseen=sum(others.values()) - known,
    )


def _lonely_ends(ordered: Floats) -> int:
    """How many of the least and the greatest value belong to one row only."""
    if len(ordered) < 2:
        return len(ordered)
    return int(ordered[0] < ordered[1]) + int(ordered[-1] > ordered[-2])


def _ends(ordered: Floats) -> tuple[float | None, float | None]:
    return (float(ordered[0]), float(ordered[-1])) if len(ordered) else (None, None)


def _sorted_scale(ordered: Floats) -> float | None:
    """The interquartile range, else the standard deviation (ddof 0), None for a constant or nothing."""
    if len(ordered) == 0:
        return None
    quarter, three = (ordered[int(q * (len(ordered) - 1))] for q in (0.25, 0.75))
    with np.errstate(over="ignore", invalid="ignore"):
        spread = three - quarter if three > quarter else ordered.std()
    return finite_or_none(spread) if spread > 0 else None
