"""How much healing was worth: the model in service against one frozen at the start and one retrained every month."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import msgspec
import numpy as np
import polars as pl

from tidemill.core.times import to_datetime
from tidemill.demo.year import midnight
from tidemill.measures.classification import log_loss, roc_auc
from tidemill.platform import Platform
from tidemill.registry.service import ref_of
from tidemill.tracking.dataset import Dataset
from tidemill.training.threads import threads_for

MODEL, ENDPOINT = "late-flight", "late-flight"


class MonthScores(msgspec.Struct, frozen=True, kw_only=True):
    """The three models on the flights of one month whose outcome is known."""

    month: str
    labelled: int
    auc_frozen: float | None
    auc_served: float | None
    auc_monthly: float | None
    log_loss_frozen: float | None
    log_loss_served: float | None
    log_loss_monthly: float | None
    """None where no flight of the month has an outcome yet, or only one kind of outcome."""


def compare(
    platform: Platform, *, known: pl.DataFrame, frozen: int, end: int, progress: Callable[[str], None]
) -> list[MonthScores]:
    """Score the three models, month by month.

    Args:
        platform: The project that lived through the months.
        known: Columns `flight_id` and `known`: when each flight's outcome became known.
        frozen: The version that was champion at the start.
        end: Where the lived time ends.
        progress: Told which month is being trained.
    """
    rows = _all_rows(platform, end)
    facts = rows.frame.select("flight_id", "scheduled_at").join(
        known, on="flight_id", how="left", maintain_order="left"
    )
    served = facts.join(_served(platform), left_on="flight_id", right_on="row_id", how="left", maintain_order="left")
    champion = platform.registry.get(MODEL, frozen)
    params = champion.params
    old = platform.registry.load(ref_of(champion))

    def scored(month: tuple[date, date]) -> MonthScores | None:
        first, last = month
        chosen = _between(facts, first, last) & served["probability"].is_not_null()
        if not chosen.any():
            return None
        progress(f"{first:%B}")
        part = rows.part(chosen, {"month": f"{first:%Y-%m}"})
        frozen_says = old.predict(part.frame)["probability"]
        monthly = frozen_says if first.month == 4 else _retrained(rows, facts, first, params, part)
        return _scores(f"{first:%Y-%m}", part, frozen_says, served["probability"].filter(chosen), monthly)

    # Two models at once, each on one thread, take half the time of one after the other on two.
    with threads_for(1), ThreadPoolExecutor(2) as pool:
        return [one for one in pool.map(scored, _months(end)) if one is not None]


def _all_rows(platform: Platform, end: int) -> Dataset:
    service = platform.definitions.get("feature_service", "late_flight")
    spine, label = platform.definitions.get("source", "flights"), platform.definitions.get("label", "late")
    return platform.features.training_set(service=service, spine=spine, label=label, until=end)


def _served(platform: Platform) -> pl.DataFrame:
    """The probability served for each flight: the last one, where a request was repeated after an interruption."""
    captured = platform.monitoring.captures.read(ENDPOINT)
    return captured.select("row_id", "probability").unique("row_id", keep="last", maintain_order=True)


def _months(end: int) -> Iterator[tuple[date, date]]:
    for month in range(4, 13):
        first = date(2013, month, 1)
        if midnight(first) < end:
            yield first, date(2013 + month // 12, month % 12 + 1, 1)


def _between(facts: pl.DataFrame, first: date, last: date) -> pl.Series:
    low, high = to_datetime(midnight(first)), to_datetime(midnight(last))
    return facts["scheduled_at"].is_between(low, high, closed="left")


def _retrained(rows: Dataset, facts: pl.DataFrame, first: date, params: dict[str, Any], part: Dataset) -> pl.Series:
    from tidemill.demo.late_flights import train

    past = rows.part(facts["known"] < to_datetime(midnight(first)), {"known_before": first.isoformat()})
    model = train.function(past, **params)
    return pl.Series(model.predict_proba(part.X)[:, 1])


def _scores(month: str, part: Dataset, frozen: pl.Series, served: pl.Series, monthly: pl.Series) -> MonthScores:
    truth = part.y.astype(np.float64)
    scored: dict[str, float | None] = {}
    for name, chances in (("frozen", frozen), ("served", served), ("monthly", monthly)):
        values = chances.to_numpy()
        scored[f"auc_{name}"] = roc_auc(truth, values)
        scored[f"log_loss_{name}"] = log_loss(truth, values)
    return MonthScores(month=month, labelled=len(part), **scored)
