from __future__ import annotations

import pytest
import sklearn.ensemble  # noqa: F401 - loads the thread pools to look at
from threadpoolctl import threadpool_info, threadpool_limits

from tidemill.training.threads import SINGLE_BELOW, SINGLE_BELOW_PASSIVE, threads_for


def counts() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info()}


@pytest.mark.parametrize(("policy", "limit"), [("", SINGLE_BELOW), ("PASSIVE", SINGLE_BELOW_PASSIVE)])
def test_few_rows_use_one_thread_and_many_what_there_is(
    policy: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    with threadpool_limits(2):
        with threads_for(limit):
            assert counts() == {1}
        assert counts() == {2}
        with threads_for(limit + 1):
            assert counts() == {2}
