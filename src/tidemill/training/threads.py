"""How many threads the libraries under an estimator may use."""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager, nullcontext
from typing import Any

SINGLE_BELOW = 200_000
"""Up to so many rows one thread is used to fit."""

SINGLE_ANSWER_BELOW = 20_000
"""The same to predict: threads then share the rows and wait for each other far less."""


def threads_for(rows: int, single_below: int = SINGLE_BELOW) -> AbstractContextManager[Any]:
    """Within the block, OpenMP and BLAS use one thread if there are few rows, else what they like.

    On few rows a second thread saves a third at best, and where waiting threads sleep (`OMP_WAIT_POLICY=PASSIVE`, as the
    command line has them do) it costs: of gradient-boosted trees 23,000 rows took 0.36 s on one thread and 0.65 to 1.1 s on
    two, 150,000 rows 1.8 and 2.8 s, 250,000 rows 3.7 and 3.5 s; to predict, two were faster by half from 23,000 rows on. Where
    another process keeps a core busy, such as the one that serves, threads wait for each other at every node of a tree: a fit
    of 0.2 s was seen to take 20 s.

    Args:
        rows: Rows to fit on or to predict.
        single_below: Up to so many rows one thread is used.
    """
    if rows > single_below or importlib.util.find_spec("threadpoolctl") is None:
        return nullcontext()
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits
