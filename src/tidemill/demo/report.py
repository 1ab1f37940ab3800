"""The final table of the demo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tidemill.demo.comparison import MonthScores
from tidemill.demo.journal import DayRecord, SliceRecord


class Month(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    month: str
    flights: int
    requests: int
    failed: int
    retried: int
    p50_ms: float | None
    p99_ms: float | None
    alarms: int
    retrains: int
    model_version: int | None
    auc_frozen: float | None = None
    auc_served: float | None = None
    auc_monthly: float | None = None
    log_loss_frozen: float | None = None
    log_loss_served: float | None = None
    log_loss_monthly: float | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo showed."""

    months: list[Month]
    seconds: float
    """Wall clock of this run of the command."""
    failed: int
    retrains: int
    won_back: float | None
    """Share of the monthly model's gain in mean AUC over the frozen one that the model in service reached."""
    server_restarts: int = 0


def make_report(
    slices: Sequence[SliceRecord],
    days: Sequence[DayRecord],
    scores: Sequence[MonthScores],
    *,
    seconds: float,
    restarts: int,
) -> Report:
    """Join what was lived with how the models did.

    Args:
        slices: What requests gave.
        days: What the ends of days brought.
        scores: The models, month by month.
        seconds: How long the command took.
        restarts: How often a server had to be started again.
    """
    by_month = {one.month: one for one in scores}
    names = sorted({f"{one.day:%Y-%m}" for one in slices})
    months = [_month(name, slices, days, by_month.get(name)) for name in names]
    return Report(
        months=months,
        seconds=round(seconds, 1),
        failed=sum(month.failed for month in months),
        retrains=sum(month.retrains for month in months),
        won_back=_won_back(scores),
        server_restarts=restarts,
    )


def _month(name: str, slices: Sequence[SliceRecord], days: Sequence[DayRecord], scores: MonthScores | None) -> Month:
    asked = [one for one in slices if f"{one.day:%Y-%m}" == name]
    ends = [one for one in days if f"{one.closed:%Y-%m}" == name]
    times = np.array([ms for one in asked for ms in one.milliseconds])
    figures = (
        {}
        if scores is None
        else {k: v for k, v in msgspec.structs.asdict(scores).items() if k.startswith(("auc", "log"))}
    )
    return Month(
        month=name,
        flights=sum(one.flights for one in asked),
        requests=sum(one.requests for one in asked),
        failed=sum(one.failed for one in asked),
        retried=sum(one.retried for one in asked),
        p50_ms=_percentile(times, 50),
        p99_ms=_percentile(times, 99),
        alarms=sum(one.alarms for one in ends),
        retrains=sum(one.retrains for one in ends),
        model_version=ends[-1].version if ends else None,
        **figures,
    )


def _percentile(times: Any, share: float) -> float | None:
    return round(float(np.percentile(times, share)), 2) if len(times) else None


def _won_back(scores: Sequence[MonthScores]) -> float | None:
    full = [s for s in scores if None not in (s.auc_frozen, s.auc_served, s.auc_monthly)]
    frozen, served, monthly = (
        sum(getattr(one, f"auc_{name}") for one in full) for name in ("frozen", "served", "monthly")
    )
    return None if not full or monthly <= frozen else round((served - frozen) / (monthly - frozen), 4)


def write_report(report: Report, path: Path) -> None:
    """Write the report as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)))


_LIVED = (
    ("month", "month", "{}"), ("flights", "flights", "{:,}"), ("requests", "requests", "{:,}"),
    ("failed", "failed", "{:,}"), ("p50 ms", "p50_ms", "{:.1f}"), ("p99 ms", "p99_ms", "{:.1f}"),
    ("alarms", "alarms", "{}"), ("retrains", "retrains", "{}"), ("version", "model_version", "{}"),
)  # fmt: skip
_LEARNED = (
    ("month", "month", "{}"), ("AUC frozen", "auc_frozen", "{:.3f}"), ("served", "auc_served", "{:.3f}"),
    ("monthly", "auc_monthly", "{:.3f}"), ("log loss frozen", "log_loss_frozen", "{:.3f}"),
    ("served", "log_loss_served", "{:.3f}"), ("monthly", "log_loss_monthly", "{:.3f}"),
)  # fmt: skip


def print_report(report: Report, console: Any) -> None:
    """Print what happened month by month, how the three models did, and what it comes to."""
    _print_table("What happened", _LIVED, report, console)
    _print_table("The model left alone, the one in service, and one retrained every month", _LEARNED, report, console)
    console.print(_summary(report), highlight=False)


def _print_table(title: str, columns: Sequence[tuple[str, str, str]], report: Report, console: Any) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name, _, _ in columns:
        table.add_column(name, justify="left" if name == "month" else "right")
    for month in report.months:
        values = [(getattr(month, field), style) for _, field, style in columns]
        table.add_row(*["-" if value is None else style.format(value) for value, style in values])
    console.print(table)
    console.print()


def _summary(report: Report) -> str:
    text = f"{report.failed} failed requests, {report.retrains} retrains"
    if report.won_back is not None:
        scored = [
            month for month in report.months if None not in (month.auc_frozen, month.auc_served, month.auc_monthly)
        ]
        means = [
            np.mean([getattr(month, f"auc_{name}") for month in scored]) for name in ("frozen", "served", "monthly")
        ]
        text += f"; mean AUC {means[0]:.4f} frozen, {means[1]:.4f} served, {means[2]:.4f} retrained monthly"
        text += f"; the model in service won back {report.won_back:.0%} of what monthly retraining gains"
    return f"{text}. It took {report.seconds:,.0f} s."
