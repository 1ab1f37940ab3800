"""The data plane: what serving does for a request, once, whatever language the client speaks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import polars as pl

from tidemill.core.errors import (
    DeadlineExceeded,
    InvalidData,
    NotReady,
    Overloaded,
    TidemillError,
    http_status,
    unknown,
)
from tidemill.core.protocols import Captured
from tidemill.core.specs.serving import Graph
from tidemill.core.times import parse_duration
from tidemill.serving.answer import Answer
from tidemill.serving.board import Region
from tidemill.serving.codecs.protocol import Decoded
from tidemill.serving.frames import ROW_ID
from tidemill.serving.generation import Generation, Predicted, compile_generation
from tidemill.serving.lane import Lane
from tidemill.serving.metrics import EndpointMetrics
from tidemill.serving.runtime import Runtime, Target
from tidemill.serving.shadow import Shadow, Waiting

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass
class Slot:
    """An endpoint in this worker: its graph, the generation that answers, and the one that may follow."""

    name: str
    graph: Graph
    metrics: EndpointMetrics
    shadow: Shadow
    live: Generation | None = None
    staged: dict[int, Generation] = field(default_factory=dict)


class Plane:
    """Answers requests with the live generations. All methods but `stage` belong to the event loop's thread.

    Args:
        runtime: What the worker is made of.
        region: Its part of the shared numbers.
        lane: The thread that computes.
    """

    def __init__(self, runtime: Runtime, *, region: Region, lane: Lane) -> None:
        self._runtime = runtime
        self._lane = lane
        self._region = region
        self._admitted = 0
        self._deadline = parse_duration(runtime.settings.deadline) / 1e6
        self._slots = {name: self._slot(name, graph) for name, graph in runtime.graphs.items()}

    def _slot(self, name: str, graph: Graph) -> Slot:
        metrics = EndpointMetrics(self._region, self.project, name)
        return Slot(name, graph, metrics, Shadow(self._lane, self._runtime.captures, metrics))

    @property
    def project(self) -> str:
        """The project served."""
        return self._runtime.scope.project

    @property
    def slots(self) -> dict[str, Slot]:
        """The endpoints by name."""
        return self._slots

    def slot(self, endpoint: str) -> Slot:
        """One endpoint.

        Raises:
            NotFound: There is none of that name; the message lists those there are.
        """
        found = self._slots.get(endpoint)
        if found is None:
            raise unknown("endpoint", endpoint, self._slots)
        return found

    def live(self, endpoint: str) -> Generation:
        """The generation that answers now.

        Raises:
            NotFound: There is no such endpoint.
            NotReady: No generation is in service yet.
        """
        slot = self.slot(endpoint)
        if slot.live is None:
            raise _not_ready(slot, self._runtime)
        return slot.live

    # -- requests

    async def infer(
        self, endpoint: str, protocol: str, request_id: str, decode: Callable[[Generation], Decoded],
        encode: Callable[[Answer, Decoded], T],
    ) -> T:  # fmt: skip
        """Answer one request.

        Args:
            endpoint: Who is asked.
            protocol: The client's language, for the metrics.
            request_id: The request's id.
            decode: Makes rows of the request; runs in the lane.
            encode: Makes the reply of the answer; runs in the lane.

        Raises:
            NotFound: There is no such endpoint.
            NotReady: No generation is in service yet.
            Overloaded: As many requests as may wait are waiting.
            DeadlineExceeded: The answer took longer than a request may.
            InvalidData: The rows are wrong.
        """
        slot = self.slot(endpoint)
        started = time.perf_counter()
        with _counted(slot.metrics, protocol, started):
            generation = self._admit(slot)
            received_at = self._runtime.scope.now()

            def work() -> T:
                decoded = decode(generation)
                answer = self._answer(slot, generation, decoded, request_id, received_at, started)
                return encode(answer, decoded)

            future = self._lane.submit(work, lambda: self._leave(slot, generation))
            timer = asyncio.get_running_loop().call_later(self._deadline, self._expire, future)
            try:
                return await future
            finally:
                timer.cancel()

    def _admit(self, slot: Slot) -> Generation:
        if slot.live is None:
            raise _not_ready(slot, self._runtime)
        if self._admitted >= self._runtime.settings.queue:
            raise Overloaded(
                f"{self._admitted} requests are waiting in this worker", expected="fewer", hint="Try again in a second"
            )
        self._admitted += 1
        slot.metrics.started()
        slot.live.pin()
        return slot.live

    def _leave(self, slot: Slot, generation: Generation) -> None:
        self._admitted -= 1
        slot.metrics.finished()
        generation.release()

    def _expire(self, future: asyncio.Future[T]) -> None:
        if not future.done():
            allowed = self._runtime.settings.deadline
            future.set_exception(
                DeadlineExceeded(f"no answer within {allowed}", hint="Send fewer rows, or raise serve.deadline")
            )

    # -- in the lane

    def _answer(
        self, slot: Slot, generation: Generation, decoded: Decoded, request_id: str, received_at: int, started: float
    ) -> Answer:  # fmt: skip
        rows, target = decoded.rows, generation.target
        if rows.height > self._runtime.settings.max_rows:
            raise InvalidData(
                f"the request holds {rows.height} rows",
                expected=f"at most {self._runtime.settings.max_rows}",
                hint="Split it, or raise serve.max_rows",
            )
        if rows.is_empty():
            return Answer(slot.name, request_id, [], pl.DataFrame(), target.model.version, target.number)
        done = generation.run(rows, received_at)
        self._capture(slot.name, generation, done, request_id, received_at, started)
        slot.metrics.predicted(target.model.version, rows.height)
        ids = done.rows.get_column(ROW_ID).to_list()
        return Answer(slot.name, request_id, ids, done.answers, target.model.version, target.number)

    def _capture(
        self, endpoint: str, generation: Generation, done: Predicted, request_id: str, received_at: int, started: float
    ) -> None:  # fmt: skip
        # Before the answer: a prediction somebody was given is one that was kept, whatever happens next.
        duration = int((time.perf_counter() - started) * 1e6)
        number = generation.target.number
        kept = Captured(endpoint, number, request_id, received_at, duration, generation.captured(done))
        self._runtime.captures.append(kept)
        if generation.has_shadow:
            self._slots[endpoint].shadow.later(Waiting(generation, done, kept))

    # -- generations

    async def stage(self, target: Target) -> None:
        """Load, warm and check a generation beside the one that answers.

        Raises:
            TidemillError: It cannot run; nothing changed.
        """
        slot = self.slot(target.endpoint)
        if target.graph != slot.graph.digest():
            raise InvalidData(f"graph {target.endpoint!r} differs in this process", hint="Restart the server")
        runtime = self._runtime
        generation = await asyncio.to_thread(
            compile_generation, target, slot.graph, models=runtime.models, features=runtime.features,
            scope=runtime.scope,
        )  # fmt: skip
        await self._lane.submit(lambda: self._probe(generation), lambda: None)
        slot.staged[target.number] = generation

    def _probe(self, generation: Generation) -> None:
        try:
            generation.probe(self._runtime.scope.now())
        except TidemillError as error:
            if error.code == "invalid_argument":
                raise
            # A row without values may be more than a user's function bears; real rows will tell.
            _log.warning("trying %s on an empty row failed: %s", generation.target.endpoint, error)

    def commit(self, endpoint: str, number: int, drained: Callable[[], None] = lambda: None) -> None:
        """Let a staged generation answer every request admitted from now on.

        Args:
            endpoint: The endpoint.
            number: The staged generation.
            drained: Called when the generation before holds no request any more.
        """
        slot = self.slot(endpoint)
        before, slot.live = slot.live, slot.staged.pop(number)
        slot.staged.clear()
        if before is not None:
            before.retire(drained)

    def abort(self, endpoint: str, number: int) -> None:
        """Forget a staged generation."""
        self.slot(endpoint).staged.pop(number, None)


@contextmanager
def _counted(metrics: EndpointMetrics, protocol: str, started: float) -> Iterator[None]:
    status = 200
    try:
        yield
    except BaseException as error:
        status = http_status(error)
        raise
    finally:
        metrics.answered(protocol, status, time.perf_counter() - started)


def _not_ready(slot: Slot, runtime: Runtime) -> NotReady:
    step = slot.graph.predict_step
    ref = None if step is None else runtime.models.resolve(step.model)
    if step is None or ref is None:
        uri = "its model" if step is None else str(step.model)
        alias = uri.removeprefix("models:/").replace("@", " ")
        return NotReady(
            f"endpoint {slot.name!r} serves nothing: no champion yet ({uri})",
            hint=f"Train and promote a model, or set the alias: tidemill models alias {alias} VERSION",
        )
    last = next(iter(runtime.serving.generations(slot.name, limit=1)), None)
    if last is not None and last.state == "failed":
        return NotReady(
            f"endpoint {slot.name!r} serves nothing: version {ref.version} could not be served: {last.detail}",
            hint="Correct it and register it again, or set the alias to another version",
        )
    return NotReady(f"endpoint {slot.name!r} is loading version {ref.version}", hint="Try again in a moment")
