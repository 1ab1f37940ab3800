"""The reconciler: follows aliases and definitions, and has the workers run what they name."""

from __future__ import annotations

import logging
import signal
import time
from types import FrameType
from typing import Any

import msgspec

from tidemill.core.errors import TidemillError, Unavailable
from tidemill.core.protocols import ModelRef
from tidemill.core.records.serving import Generation
from tidemill.core.specs.serving import Graph
from tidemill.core.uris import ModelUri
from tidemill.serving.channel import Channel, Message
from tidemill.serving.logs import log_json
from tidemill.serving.presence import BEAT_SECONDS
from tidemill.serving.runtime import MakeRuntime, Runtime, Target

EVERY = 0.2
"""Seconds between two looks at the event log."""

_log = logging.getLogger(__name__)


def run_reconciler(
    channel: Channel, current: dict[str, Target], make_runtime: MakeRuntime, *, server: str, url: str, fresh: bool,
    log_level: str,
) -> None:  # fmt: skip
    """Follow until told to stop. Called in a fresh child process.

    Args:
        channel: To the supervisor.
        current: What the workers run, by endpoint.
        make_runtime: Builds what is needed.
        server: Name of the server, for the records.
        url: Where it listens.
        fresh: Whether all workers shall be replaced, whatever they run.
        log_level: The lowest level that is logged.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    runtime = make_runtime()
    log_json(runtime.scope.clock, log_level)
    reconciler = Reconciler(channel, current, runtime, server=server, url=url)
    try:
        reconciler.adopt()
        if fresh:
            reconciler.replace_workers()
        reconciler.follow()
    except _Left:
        runtime.serving.end_all(server=server)
    finally:
        runtime.close()


class _Left(BaseException):
    """The supervisor stops, or is gone."""


def _leave(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Left


class Reconciler:
    """Compares what aliases name with what the workers run.

    Args:
        channel: To the supervisor.
        current: What the workers run, by endpoint.
        runtime: What it is made of.
        server: Name of the server, for the records.
        url: Where it listens.
    """

    def __init__(
        self, channel: Channel, current: dict[str, Target], runtime: Runtime, *, server: str, url: str
    ) -> None:  # fmt: skip
        self._channel, self._current, self._runtime = channel, current, runtime
        self._server, self._url = server, url
        self._refused: dict[str, Target] = {}
        self._retry_at: dict[str, float] = {}
        self._differed: set[str] | None = None
        self._seq = 0
        self._beat_at = float("-inf")

    # -- living

    def _beat(self) -> None:
        """Show that this server lives, when it is time."""
        if time.monotonic() < self._beat_at:
            return
        self._runtime.serving.beat(server=self._server)
        self._beat_at = time.monotonic() + BEAT_SECONDS

    def _try_to_beat(self) -> None:
        try:
            self._beat()
        except Unavailable as error:  # the store will be back
            _log.warning("cannot show that this server lives: %s", error)

    # -- beginning

    def adopt(self) -> None:
        """Bring the records in line with what runs: an earlier reconciler or server may have been killed."""
        serving = self._runtime.serving
        self._beat()
        self._seq = serving.latest_change(0)
        serving.end_others(url=self._url, server=self._server)
        known = {endpoint.name for endpoint in serving.endpoints()}
        for name, graph in self._runtime.graphs.items():
            if name not in known:
                serving.deploy(graph)
        for target in self._current.values():
            self._confirm(target)

    def _confirm(self, target: Target) -> None:
        for generation in self._runtime.serving.generations(target.endpoint):
            if generation.number == target.number and generation.state == "staged":
                self._runtime.serving.started(generation, [])

    def replace_workers(self) -> None:
        """Have every worker replaced by one that reads the project anew."""
        staged = {name: wanted for name in self._runtime.graphs if (wanted := self._stage(name)) is not None}
        targets = [target for target, _ in staged.values()]
        reply = self._ask({"do": "roll", "targets": msgspec.to_builtins(targets)})
        for target, record in staged.values():
            self._settle(target, record, reply)

    def _stage(self, name: str) -> tuple[Target, Generation] | None:
        target = self._wanted(self._runtime.graphs[name])
        return None if target is None else self._numbered(target)

    # -- following

    def follow(self) -> None:
        """Look again and again."""
        self._reconcile()
        while True:
            self._pause(EVERY)
            try:
                self._beat()
                newest = self._runtime.serving.latest_change(self._seq)
                due = any(at <= time.monotonic() for at in self._retry_at.values())
                if newest > self._seq or due:
                    self._reconcile()
                    self._seq = newest
            except Unavailable as error:  # the store will be back; what runs goes on running
                _log.warning("cannot look for changes: %s", error)

    def _pause(self, seconds: float) -> None:
        if self._channel.wait(seconds) and self._channel.receive() is None:
            raise _Left

    def _reconcile(self) -> None:
        if self._definitions_changed():
            self._channel.send({"do": "renew"})
            return
        for name, graph in self._runtime.graphs.items():
            try:
                self._bring_up(name, self._wanted(graph))
            except TidemillError as error:
                _log.warning("cannot tell what %s should run: %s", name, error, extra={"endpoint": name})

    def _definitions_changed(self) -> bool:
        """Whether another graph was applied than the one this process read; a fresh process reads the new one."""
        applied = {endpoint.name: endpoint.digest for endpoint in self._runtime.serving.endpoints()}
        changed = {name for name, graph in self._runtime.graphs.items() if applied.get(name) != graph.digest()}
        changed |= set(applied) - set(self._runtime.graphs)
        if self._differed is None:
            self._differed = changed  # what differs already will not be mended by another process
        return not changed <= self._differed

    def _wanted(self, graph: Graph) -> Target | None:
        step = graph.predict_step
        model = None if step is None else self._resolve(step.model)
        if step is None or model is None:
            return None  # before the first champion; an alias taken away later leaves what runs
        shadow = None if step.shadow is None else self._resolve(step.shadow)
        if shadow == model:
            shadow = None  # it would say the same
        return Target(endpoint=graph.name, number=0, graph=graph.digest(), model=model, shadow=shadow)

    def _resolve(self, uri: ModelUri) -> ModelRef | None:
        return self._runtime.models.resolve(uri)

    def _bring_up(self, name: str, wanted: Target | None) -> None:
        if wanted is None or wanted == _unnumbered(self._current.get(name)):
            return
        if wanted == self._refused.get(name) and self._retry_at.get(name, float("inf")) > time.monotonic():
            return
        target, record = self._numbered(wanted)
        reply = self._ask({"do": "swap", "target": msgspec.to_builtins(target)})
        self._settle(target, record, reply)

    def _numbered(self, wanted: Target) -> tuple[Target, Generation]:
        graph = self._runtime.graphs[wanted.endpoint]
        record = self._runtime.serving.stage(graph, _models(graph, wanted), server=self._server, url=self._url)
        return msgspec.structs.replace(wanted, number=record.number), record

    def _settle(self, target: Target, record: Generation, reply: Message) -> None:
        if reply["is"] == "done":
            self._current[target.endpoint] = target
            self._refused.pop(target.endpoint, None)
            self._retry_at.pop(target.endpoint, None)
            self._runtime.serving.started(record, reply["workers"])
        else:
            self._refused[target.endpoint] = msgspec.structs.replace(target, number=0)
            self._runtime.serving.failed(record, reply["reason"])
            self._try_later(target.endpoint, again=reply["again"])

    def _try_later(self, endpoint: str, *, again: bool) -> None:
        if again:
            self._retry_at[endpoint] = time.monotonic() + 1.0
        else:
            self._retry_at.pop(endpoint, None)

    def _ask(self, message: dict[str, Any]) -> Message:
        self._channel.send(message)
        while not self._channel.wait(BEAT_SECONDS):  # loading a model may take long
            self._try_to_beat()
        while (replies := self._channel.receive()) is not None:
            if replies:
                return replies[-1]
        raise _Left


def _unnumbered(target: Target | None) -> Target | None:
    return None if target is None else msgspec.structs.replace(target, number=0)


def _models(graph: Graph, target: Target) -> dict[str, int]:
    step = graph.predict_step
    assert step is not None  # a graph without a model has no target
    models = {str(step.model): target.model.version}
    if target.shadow is not None and step.shadow is not None:
        models[str(step.shadow)] = target.shadow.version
    return models
