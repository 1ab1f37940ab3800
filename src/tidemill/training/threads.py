"""How many threads the libraries under an estimator may use."""

from __future__ import annotations

import importlib.util
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

SINGLE_BELOW = 100_000
"""Up to so many rows one thread is used."""

SINGLE_BELOW_PASSIVE = 20_000
"""The same where OpenMP's waiting threads sleep, as the command line has them do."""


def threads_for(rows: int) -> AbstractContextManager[Any]:
    """Within the block, OpenMP and BLAS use one thread if there are few rows, else what they like.

    On few rows a second thread saves a third at best. But where another process keeps a core busy, such as the one that
    serves, the threads wait for each other at every node of a tree: a fit of 0.2 s was seen to take 20 s.

    Args:
        rows: Rows to fit on or to predict.
    """
    passive = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    if rows > (SINGLE_BELOW_PASSIVE if passive else SINGLE_BELOW) or importlib.util.find_spec("threadpoolctl") is None:
        return nullcontext()
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits
