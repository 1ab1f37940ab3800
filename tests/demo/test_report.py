from __future__ import annotations

import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tidemill.demo.comparison import MonthScores
from tidemill.demo.journal import DayRecord, SliceRecord
from tidemill.demo.report import make_report, print_report, write_report

ASKED_FOR = {
    "month", "flights", "requests", "failed", "p50_ms", "p99_ms", "alarms", "retrains", "model_version", "auc_frozen",
    "auc_served", "auc_monthly", "log_loss_frozen", "log_loss_served",
}  # fmt: skip


def asked(day: date, *, failed: int = 0, milliseconds: tuple[float, ...] = (1.0, 2.0, 3.0)) -> SliceRecord:
    return SliceRecord(day=day, end=0, flights=50, requests=len(milliseconds), failed=failed, retried=0,
                       milliseconds=milliseconds)  # fmt: skip


def closed(day: date, version: int, *, alarms: int = 0, retrains: int = 0) -> DayRecord:
    return DayRecord(closed=day, alarms=alarms, retrains=retrains, version=version)


def scores(month: str, frozen: float | None, served: float | None, monthly: float | None) -> MonthScores:
    return MonthScores(month=month, labelled=100, auc_frozen=frozen, auc_served=served, auc_monthly=monthly,
                       log_loss_frozen=0.5, log_loss_served=0.4, log_loss_monthly=0.39)  # fmt: skip


LIVED = (
    [asked(date(2013, 4, 1)), asked(date(2013, 4, 30), failed=1, milliseconds=(4.0,)), asked(date(2013, 5, 1))],
    [
        closed(date(2013, 4, 1), 2),
        closed(date(2013, 4, 30), 5, alarms=3, retrains=1),
        closed(date(2013, 5, 1), 5, alarms=1),
    ],
)


def report(*months: MonthScores) -> Any:
    return make_report(*LIVED, months, seconds=12.345, restarts=2)


def test_months_add_up_their_days() -> None:
    made = report(scores("2013-04", 0.7, 0.7, 0.7))
    april, may = made.months
    assert (april.month, april.flights, april.requests, april.failed) == ("2013-04", 100, 4, 1)
    assert (april.alarms, april.retrains, april.model_version) == (3, 1, 5)
    assert (april.p50_ms, april.p99_ms) == (2.5, 3.97)
    assert (may.month, may.alarms, may.auc_served) == ("2013-05", 1, None)
    assert (made.failed, made.retrains, made.seconds, made.server_restarts) == (1, 1, 12.3, 2)


def test_won_back_is_the_share_of_the_gain_in_mean_auc() -> None:
    # Mean AUC 0.70 frozen, 0.74 monthly, 0.73 served: three quarters of the gain.
    made = report(scores("2013-04", 0.72, 0.72, 0.72), scores("2013-05", 0.68, 0.74, 0.76))
    assert made.won_back == pytest.approx(0.75)


def test_months_without_an_outcome_do_not_count() -> None:
    made = report(scores("2013-04", 0.70, 0.73, 0.74), scores("2013-05", None, None, None))
    assert made.won_back == pytest.approx(0.75)


def test_there_is_nothing_to_win_back_where_retraining_gains_nothing() -> None:
    assert report(scores("2013-04", 0.7, 0.7, 0.7)).won_back is None
    assert report().won_back is None


def test_the_file_holds_what_was_promised(tmp_path: Path) -> None:
    write_report(report(scores("2013-04", 0.7, 0.71, 0.72)), tmp_path / "r.json")
    read = json.loads((tmp_path / "r.json").read_text())
    assert [set(month) >= ASKED_FOR for month in read["months"]] == [True, True]
    assert read["months"][0]["auc_served"] == 0.71
    assert read["months"][1]["auc_served"] is None


def test_the_table_says_what_it_came_to() -> None:
    out = io.StringIO()
    print_report(report(scores("2013-04", 0.70, 0.73, 0.74)), Console(file=out, width=200))
    text = out.getvalue()
    assert "2013-04" in text
    assert "0.730" in text
    assert "1 failed requests, 1 retrains" in text
    assert "won back 75%" in text
