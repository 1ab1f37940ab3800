"""Running the nodes of a traced pipeline, one after the other, each a tracked run."""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tidemill.core.errors import InvalidData, TidemillError, UserCodeError
from tidemill.core.steps import Handle, Node, Step, StepGraph, fill
from tidemill.pipelines.cache import Cache, Recall, Result
from tidemill.pipelines.deadline import time_limit
from tidemill.pipelines.keys import CacheKey, key_of_node
from tidemill.pipelines.values import shown
from tidemill.tracking.active import ActiveRun
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.seeds import seeded
from tidemill.tracking.service import Tracking

CACHED = frozenset({"search"})
"""Operations whose result is the same whenever they run on the same input."""

CACHED_WITHIN = frozenset({"training_set", "split"})
"""Operations that answer again only when the run they belong to is resumed: tables grow, and `tm.NOW` moves."""

SEED = 0
"""What Python's and NumPy's global generators start from in every step."""

Operations = Mapping[str, Callable[..., Any]]


class StepRun(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one node."""

    node: str
    run_id: str
    status: str
    """`finished` or `cached`."""
    seconds: float
    result: Any
    cache: str = ""
    """Why it ran although results are cached."""


@dataclass
class Execution:
    """One execution of a graph.

    Args:
        tracking: Where runs are recorded.
        cache: Results of earlier executions.
        operations: The platform's operations by name.
        parent: Id of the pipeline's run.
        root: Id of the run that this one resumes; its own when it resumes none.
    """

    tracking: Tracking
    cache: Cache
    operations: Operations
    parent: str
    root: str
    results: dict[str, tuple[Result, ...]] = field(default_factory=dict)
    steps: list[StepRun] = field(default_factory=list)

    def run(self, graph: StepGraph) -> Any:
        """Run all nodes; returns what the pipeline function returned, handles replaced."""
        for node in graph.nodes:
            self.results[node.id] = self._run_node(node)
        return fill(graph.result, self._value)

    def _run_node(self, node: Node) -> tuple[Result, ...]:
        began = time.perf_counter()
        key = key_of(node, self._digest, self.root)
        arguments = fill(dict(node.arguments), self._value)
        recall = self.cache.recall(key)
        why = "" if recall is not None and not recall.lost else self._why(key, recall)
        with self._start(node, arguments, key, why) as run:
            if recall is not None and not recall.lost:
                results = recall.results
                run.set_tag("origin", recall.run_id)
            else:
                results = self._computed(node, arguments, key, run)
            _log_outputs(run, results)
            status = "finished" if why else "cached"
            run.end(status)
        values = [result.value for result in results]
        self.steps.append(
            StepRun(node=node.id, run_id=run.id, status=status, seconds=time.perf_counter() - began,
                    result=shown(values[0] if node.outputs == 1 else values), cache=why)
        )  # fmt: skip
        return results

    def _why(self, key: CacheKey, recall: Recall | None) -> str:
        if recall is not None:
            return recall.lost
        if key.reason:
            return f"never cached: {key.reason}"
        changed = self.cache.changed(key)
        return "first call" if changed is None else f"changed: {', '.join(changed)}"[:1000]

    def _start(self, node: Node, arguments: Mapping[str, Any], key: CacheKey, why: str) -> ActiveRun:
        params = {name: shown(value) for name, value in arguments.items()}
        run = self.tracking.start(node.id, kind="step", parent=self.parent, params=texts(params),
                                  tags={"cache": why or "hit"}, cache_key=key.digest)  # fmt: skip
        for name, value in arguments.items():
            if isinstance(value, Dataset):
                run.log_input(name, f"dataset/{value.digest}", value.digest)
        return run

    def _computed(
        self, node: Node, arguments: Mapping[str, Any], key: CacheKey, run: ActiveRun
    ) -> tuple[Result, ...]:  # fmt: skip
        if isinstance(node.target, Step):
            values = _outputs(node, _call_step(node.target, arguments, run))
        else:
            operation = self.operations[node.target]
            takes_parent = "parent" in inspect.signature(operation).parameters
            values = _outputs(node, operation(**arguments, **({"parent": run.id} if takes_parent else {})))
        results, lost = self.cache.keep(key, run.id, values)
        if lost and not key.reason:
            run.set_tag("cache", f"not kept: {lost}"[:1000])
        return results

    def _value(self, handle: Handle) -> Any:
        return self.results[handle.node.id][handle.index].value

    def _digest(self, handle: Handle) -> str:
        return self.results[handle.node.id][handle.index].digest()


def key_of(node: Node, digest_of: Callable[[Handle], str], root: str) -> CacheKey:
    """The key a node's results are cached by.

    Args:
        node: The call.
        digest_of: The digests of the results it takes.
        root: Id of the run it belongs to.
    """
    if isinstance(node.target, Step):
        return key_of_node(node, digest_of) if node.target.cache else CacheKey({}, "cache=False")
    if node.target in CACHED:
        return key_of_node(node, digest_of)
    if node.target in CACHED_WITHIN:
        return key_of_node(node, digest_of, within=root)
    return CacheKey({}, f"{node.target} changes the world")


def _call_step(step: Step[..., Any], arguments: Mapping[str, Any], run: ActiveRun) -> Any:
    for attempt in range(1, step.retries + 2):
        try:
            with time_limit(step.timeout, f"step {step.name!r}"), seeded(SEED):
                return step.call(arguments)
        except Exception as error:
            if attempt > step.retries:
                raise _failure(step, error, attempt) from error
            run.log_artifact(f"attempt-{attempt}.txt", "".join(traceback.format_exception(error)))
            run.set_tag("failed_attempts", attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _failure(step: Step[..., Any], error: Exception, attempts: int) -> TidemillError:
    if isinstance(error, TidemillError):
        return error
    tried = f" after {attempts} attempts" if attempts > 1 else ""
    return UserCodeError(f"step {step.name!r} failed{tried}: {type(error).__name__}: {error}")


def _outputs(node: Node, result: Any) -> tuple[Any, ...]:
    if node.outputs == 1:
        return (result,)
    if not isinstance(result, tuple | list) or len(result) != node.outputs:
        found = f"{len(result)} results" if isinstance(result, tuple | list) else f"a {type(result).__name__}"
        raise InvalidData(f"step {node.name!r} returned {found}", expected=f"{node.outputs}, as declared by outputs=")
    return tuple(result)


def _log_outputs(run: ActiveRun, results: tuple[Result, ...]) -> None:
    for index, result in enumerate(results):
        if isinstance(result.value, Dataset):
            digest = result.value.digest
            run.log_output(f"output-{index}", f"dataset/{digest}", digest)


def texts(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as a run keeps them: numbers as they are, anything else as a text of bounded length."""
    return {
        name: value if isinstance(value, int | float | bool | None) else str(value)[:2000]
        for name, value in params.items()
    }
