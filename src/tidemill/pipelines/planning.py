"""What a run would do, and why, without running anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from tidemill.core.steps import Handle, Node, Step, StepGraph
from tidemill.pipelines.cache import Cache, Recall, Result
from tidemill.pipelines.execution import CACHED, key_of


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """What a node would do."""

    node: str
    cache: str
    """`hit`, `miss`, or why it cannot be told or is never cached."""
    changed: tuple[str, ...] = ()
    """On a miss with an earlier result of the same call: the parts of the key that differ."""


@dataclass
class Planning:
    """Goes through a graph as an execution would, as far as the cache answers.

    Args:
        cache: Results of earlier executions.
    """

    cache: Cache
    known: dict[str, tuple[Result, ...]] = field(default_factory=dict)

    def plan(self, graph: StepGraph) -> list[PlannedStep]:
        """One entry per node, in order."""
        return [self._planned(node) for node in graph.nodes]

    def _planned(self, node: Node) -> PlannedStep:
        if not isinstance(node.target, Step) and node.target not in CACHED:
            return PlannedStep(node=node.id, cache="decided when it runs")
        waits = sorted({handle.node.id for handle in node.upstream() if handle.node.id not in self.known})
        if waits:
            return PlannedStep(node=node.id, cache=f"depends on {', '.join(waits)}")
        key = key_of(node, self._digest, "")
        if key.reason:
            return PlannedStep(node=node.id, cache=f"never: {key.reason}")
        recall = self.cache.recall(key)
        if recall is None:
            return PlannedStep(node=node.id, cache="miss", changed=tuple(self.cache.changed(key) or ()))
        return self._hit(node, recall)

    def _hit(self, node: Node, recall: Recall) -> PlannedStep:
        if recall.lost:
            return PlannedStep(node=node.id, cache=f"miss: {recall.lost}")
        self.known[node.id] = recall.results
        return PlannedStep(node=node.id, cache="hit")

    def _digest(self, handle: Handle) -> Any:
        return self.known[handle.node.id][handle.index].digest()
