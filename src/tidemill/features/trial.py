"""On-demand transforms, tried on a few rows before they are applied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import polars as pl

from tidemill.core.errors import UserCodeError
from tidemill.features.offline import Read, on_demand, planned_features
from tidemill.features.plan import OnDemandPlan, ServicePlan, UsePlan
from tidemill.features.rows import SAMPLE_ROWS
from tidemill.features.transforms import check_same

_MOMENT = "\0moment"


def check_on_demand(plan: ServicePlan, rows: pl.DataFrame, read: Read) -> None:
    """Try the on-demand transforms of a service: together, one by one and in reverse rows must come out the same.

    The stored features they read are those of a few rows of each view, as if its table held no more.

    Args:
        plan: The service, resolved for the columns of the rows.
        rows: Some of the rows predicted for; where there are none yet, rows of nulls are taken.
        read: Gives the rows of a source's table.

    Raises:
        InvalidArgument: A row's values depend on the rows around it (`shift`, `over`, `mean`, ...).
    """
    parts = [part for part in plan.parts if isinstance(part, OnDemandPlan)]
    asked = {name for part in parts for name in part.stored}
    columns = [column for use in plan.uses if asked & set(use.names.values()) for column in _stored(plan, use, read)]
    sample = _as_many(rows).hstack(columns)
    for part in parts:
        _check(part, sample)


def _stored(plan: ServicePlan, use: UsePlan, read: Read) -> Iterable[pl.Series]:
    """Features of the keys of a view's own rows, and of one that is not known."""
    table = read(use.rows.view.source).head(SAMPLE_ROWS).collect()
    derived, _ = use.rows.derive(table.lazy())
    known = pl.max_horizontal("event_ts", "created_ts") if use.rows.view.is_as_known else pl.col("event_ts")
    # A window ends before the moment: at a row's own time it would not hold the row.
    asked = derived.select(*use.use.view.key_columns, (known.cast(pl.Int64) + 1).alias(_MOMENT))
    own = replace(use, use=replace(use.use, keys={key: key for key in use.use.view.key_columns}))
    found = planned_features(ServicePlan(plan.service, (own,)), asked, _MOMENT, lambda source: table.lazy())
    values = _as_many(found.select(list(use.names.values())))
    return pl.concat([values[1:], values.clear(1)]).iter_columns()


def _as_many(frame: pl.DataFrame) -> pl.DataFrame:
    """As many rows as are tried, some of them again where there are fewer."""
    if not frame.height:
        return frame.clear(SAMPLE_ROWS)
    return frame[[place % frame.height for place in range(SAMPLE_ROWS)]]


def _check(part: OnDemandPlan, sample: pl.DataFrame) -> None:
    def made(rows: pl.DataFrame) -> pl.DataFrame:
        return on_demand(part, rows.drop(part.stored), {name: rows[name] for name in part.stored})

    try:
        whole = made(sample)
        alone = pl.concat([made(row) for row in sample.iter_slices(1)])
        turned = made(sample.reverse()).reverse()
    except UserCodeError:
        return  # of values that were put together here, and may never meet
    check_same(
        f"on-demand transform {part.part.name!r}", whole, {"alone": alone, "in reverse order": turned},
        hint="Let a feature view combine rows, with aggregates=[...], and read its features",
    )  # fmt: skip
