from __future__ import annotations

import signal
import threading
import time

import pytest

from tidemill.core.errors import DeadlineExceeded
from tidemill.pipelines.deadline import time_limit


def test_no_limit_and_enough_time_change_nothing() -> None:
    with time_limit(None, "work"):
        pass
    with time_limit(60_000_000, "work"):
        pass


def test_the_block_is_interrupted() -> None:
    reached = []

    def work() -> None:
        with time_limit(50_000, "work"):
            time.sleep(30)
            reached.append("the end")

    with pytest.raises(DeadlineExceeded, match=r"work took too long\. Expected at most 0\.05 s"):
        work()
    assert reached == []


def test_an_error_of_the_block_is_its_own() -> None:
    with pytest.raises(KeyError), time_limit(60_000_000, "work"):
        raise KeyError("x")


def test_a_timer_of_somebody_else_goes_on() -> None:
    before = signal.getitimer(signal.ITIMER_REAL), signal.getsignal(signal.SIGALRM)
    rang = []
    signal.signal(signal.SIGALRM, lambda number, frame: rang.append(number))
    signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        with time_limit(60_000_000, "work"):
            pass
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left <= 1000
        assert signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
        signal.raise_signal(signal.SIGALRM)
        assert rang == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before[1])
        signal.setitimer(signal.ITIMER_REAL, *before[0])


def test_in_another_thread_lateness_is_found_at_the_end() -> None:
    seen: list[object] = []

    def work() -> None:
        try:
            with time_limit(1000, "work"):
                time.sleep(0.05)
                seen.append("the end")
        except DeadlineExceeded as error:
            seen.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["the end", DeadlineExceeded]
