"""What an operation called in user code talks to: the tracer of a pipeline being built, or an open platform.

`late_flight.training_set(...)` inside a pipeline function records a node; in a notebook, under `with tm.open():`, it runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from tidemill.core.errors import NotReady


class OperationRunner(Protocol):
    """Runs or records one of the platform's own operations."""

    def run(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        """The operation's result, or a handle of it while a pipeline is being traced."""
        ...


_runner: ContextVar[OperationRunner | None] = ContextVar("tidemill_runner", default=None)


@contextmanager
def use_runner(runner: OperationRunner) -> Iterator[None]:
    """Within the block, operations go to `runner`."""
    token = _runner.set(runner)
    try:
        yield
    finally:
        _runner.reset(token)


def current_runner() -> OperationRunner:
    """The runner in use.

    Raises:
        NotReady: There is none.
    """
    runner = _runner.get()
    if runner is None:
        raise NotReady("no platform is open here", hint="Wrap the call: `with tm.open(): ...`")
    return runner


def run_operation(operation: str, **arguments: Any) -> Any:
    """Run or record an operation by name; see `OperationRunner`."""
    return current_runner().run(operation, arguments)
