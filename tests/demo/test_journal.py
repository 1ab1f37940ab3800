from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tidemill.demo.journal import DayRecord, Journal, Plan, SliceRecord

DAY = DayRecord(closed=date(2013, 4, 1), alarms=2, retrains=1, version=3)


def a_slice(end: int) -> SliceRecord:
    return SliceRecord(
        day=date(2013, 4, 1), end=end, flights=40, requests=2, failed=0, retried=1, milliseconds=(1.5, 2.25)
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "demo.jsonl"


def test_what_was_appended_is_read_by_another_journal(path: Path) -> None:
    journal = Journal(path)
    journal.append(a_slice(1))
    journal.append(a_slice(2))
    journal.append(DAY)
    assert Journal(path).read() == ([a_slice(1), a_slice(2)], [DAY])


def test_a_journal_that_does_not_exist_holds_nothing(path: Path) -> None:
    assert Journal(path).read() == ([], [])
    assert Journal(path).plan() is None


def test_the_plan_is_replaced_whole(path: Path) -> None:
    Journal(path).begin(Plan(days=7, every=4, trials=6, frozen_version=2))
    Journal(path).begin(Plan(days=9, every=4, trials=6, frozen_version=1))
    assert Journal(path).plan() == Plan(days=9, every=4, trials=6, frozen_version=1)
    assert [one.name for one in path.parent.iterdir()] == ["demo.plan.json"]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_left_out(path: Path, cut: int) -> None:
    journal = Journal(path)
    journal.append(a_slice(1))
    journal.append(a_slice(2))
    path.write_bytes(path.read_bytes()[:-cut])
    assert Journal(path).read() == ([a_slice(1)], [])


def test_one_continues_after_a_torn_last_line(path: Path) -> None:
    journal = Journal(path)
    journal.append(a_slice(1))
    journal.append(a_slice(2))
    path.write_bytes(path.read_bytes()[:-7])
    again = Journal(path)
    again.append(a_slice(2))
    again.append(DAY)
    assert again.read() == ([a_slice(1), a_slice(2)], [DAY])
