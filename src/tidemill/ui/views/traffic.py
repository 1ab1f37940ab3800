"""What the captured requests of an endpoint say: how many, how fast, by which version."""

from __future__ import annotations

import msgspec
import polars as pl

from tidemill.platform import Platform
from tidemill.ui.charts.lines import Line, LineChart

DAY = 86_400_000_000
SLICES = 48
"""Points of the charts."""
COLUMNS = ("request_id", "received_at", "duration_us", "model_version")


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of the last day that had any.

    Attributes:
        since: Start, microseconds UTC; `until` is the end.
        requests: How many.
        rows: Rows in them.
        per_second: Requests a second, by the platform's clock.
        p50: Half of the requests took at most so long, in microseconds.
        p99: 99 of 100 took at most so long.
        versions: Rows by model version.
    """

    since: int
    until: int
    requests: int
    rows: int
    per_second: float
    p50: float | None
    p99: float | None
    versions: dict[str, int]
    charts: list[LineChart]


def traffic(platform: Platform, endpoint: str, now: int) -> Traffic | None:
    """Read the captures of the day before the last request; None when nothing was captured."""
    table = f"captures/{endpoint}"
    if platform.tables.version(table) is None:
        return None
    rows = platform.tables.scan(table)
    if not set(COLUMNS) <= set(rows.collect_schema().names()):
        return None
    last = rows.select(pl.col("received_at").max()).collect().item()
    if last is None:
        return None
    since = last - DAY
    requests = (
        rows.filter(pl.col("received_at") > since).group_by("request_id")
        .agg(pl.len().alias("rows"), pl.col("received_at", "duration_us", "model_version").first())
        .collect()
    )  # fmt: skip
    return _summed(requests, since, last)


def _summed(requests: pl.DataFrame, since: int, until: int) -> Traffic:
    took = requests["duration_us"]
    versions = (
        requests.drop_nulls("model_version").group_by("model_version").agg(pl.col("rows").sum()).sort("model_version")
    )
    return Traffic(
        since=since, until=until, requests=requests.height, rows=int(requests["rows"].sum()),
        per_second=requests.height / (DAY / 1e6), p50=took.quantile(0.5, "nearest"), p99=took.quantile(0.99, "nearest"),
        versions={str(version): rows for version, rows in versions.iter_rows()}, charts=_charts(requests, since),
    )  # fmt: skip


def _charts(requests: pl.DataFrame, since: int) -> list[LineChart]:
    step = DAY // SLICES
    sliced = (
        requests.with_columns(slice=((pl.col("received_at") - since - 1) // step).clip(0, SLICES - 1))
        .group_by("slice")
        .agg(pl.len().alias("count"), p50=_quantile(0.5), p99=_quantile(0.99))
    )
    found = {row["slice"]: row for row in sliced.to_dicts()}
    times = [since + index * step for index in range(SLICES)]
    counts: list[float | None] = [float(found[i]["count"]) if i in found else 0.0 for i in range(SLICES)]
    latency = [
        Line(name=name, values=[found[i][name] if i in found else None for i in range(SLICES)], points=True)
        for name in ("p50", "p99")
    ]
    return [
        LineChart(
            title="Requests",
            unit="per half hour",
            times=times,
            lines=[Line(name="requests", values=counts)],
            low=0.0,
        ),
        LineChart(title="Latency", unit="ms", times=times, lines=latency, low=0.0),
    ]


def _quantile(share: float) -> pl.Expr:
    return pl.col("duration_us").quantile(share, "nearest") / 1000
