"""Which rows models have not seen: the only ones that can tell which of them is better."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from tidemill.core.errors import NotFound
from tidemill.core.records.models import ModelVersion
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.datasets import Datasets


def unseen_rows(rows: Dataset, versions: Iterable[ModelVersion], datasets: Datasets) -> pl.Series:
    """Per row whether none of some model versions was trained on it.

    Rows later than a version was trained on are unseen by it. Where rows or version have no time, a row is unseen when the
    dataset the version was fitted on has none with its id; without an id, none that is equal to it.

    Args:
        rows: The rows.
        versions: The model versions.
        datasets: Where the datasets they were fitted on are found.

    Returns:
        Boolean, one per row. All false if what a version was fitted on is not known.
    """
    mask = pl.Series("unseen", [True]).new_from_index(0, len(rows))
    for version in versions:
        mask &= _unseen_by(rows, version, datasets)
    return mask


def _unseen_by(rows: Dataset, version: ModelVersion, datasets: Datasets) -> pl.Series:
    if rows.manifest.time is not None and version.trained_until is not None:
        return rows.times > version.trained_until
    nothing = pl.Series([False]).new_from_index(0, len(rows))
    if version.dataset is None:
        return nothing
    try:
        fitted_on = datasets.load(version.dataset)
    except NotFound:
        return nothing
    return ~_identities(rows).is_in(_identities(fitted_on).unique().implode())


def _identities(rows: Dataset) -> pl.Series:
    m = rows.manifest
    columns = list(m.id) or [column.name for column in m.features] + ([m.label.name] if m.label else [])
    return rows.frame.select(pl.struct(columns).hash().alias("identity")).to_series()
