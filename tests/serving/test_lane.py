from __future__ import annotations

import asyncio
import threading

import pytest

from tidemill.serving.lane import Lane


def test_jobs_run_in_order_and_before_what_nobody_waits_for() -> None:
    async def run() -> list[str]:
        lane, done, gate = Lane(), list[str](), threading.Event()
        first = lane.submit(lambda: gate.wait(10), lambda: None)
        assert lane.later(lambda: done.append("later"))
        jobs = [lane.submit(lambda name=name: done.append(name), lambda: None) for name in "abc"]  # type: ignore[misc]
        gate.set()
        await asyncio.gather(first, *jobs)
        lane.close()
        return done

    assert asyncio.run(run()) == ["a", "b", "c", "later"]


def test_what_nobody_waits_for_any_more_is_skipped_but_finished() -> None:
    async def run() -> None:
        lane, ran, finished, gate = Lane(), list[int](), list[int](), threading.Event()
        blocking = lane.submit(lambda: gate.wait(10), lambda: None)
        job = lane.submit(lambda: ran.append(1), lambda: finished.append(1))
        job.cancel()
        gate.set()
        await blocking
        await lane.submit(lambda: None, lambda: None)
        assert (ran, finished) == ([], [1])
        lane.close()

    asyncio.run(run())


def test_errors_reach_who_waits_and_background_errors_end_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        lane = Lane(background=1)
        with pytest.raises(ZeroDivisionError):
            await lane.submit(lambda: 1 / 0, lambda: None)
        gate = threading.Event()
        blocking = lane.submit(lambda: gate.wait(10), lambda: None)
        assert lane.later(lambda: print(1 / 0))
        assert not lane.later(lambda: None)
        gate.set()
        await blocking
        assert await lane.submit(lambda: 7, lambda: None) == 7
        lane.close()

    asyncio.run(run())
    assert "work in the background failed" in caplog.text
