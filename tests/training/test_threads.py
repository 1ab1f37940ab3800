from __future__ import annotations

import sklearn.ensemble  # noqa: F401 - loads the thread pools to look at
from threadpoolctl import threadpool_info, threadpool_limits

from tidemill.training.threads import SINGLE_BELOW, threads_for


def counts() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info()}


def test_few_rows_use_one_thread_and_many_what_there_is() -> None:
    with threadpool_limits(2):
        with threads_for(SINGLE_BELOW):
            assert counts() == {1}
        assert counts() == {2}
        with threads_for(SINGLE_BELOW + 1):
            assert counts() == {2}
        with threads_for(10, single_below=9):
            assert counts() == {2}
