"""Endpoints and generations, as the records tell of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tidemill.core.errors import unknown
from tidemill.core.records.events import Event
from tidemill.core.records.serving import LIVE, Endpoint, Generation, generation_digest
from tidemill.core.scope import Scope
from tidemill.core.specs.serving import Graph
from tidemill.serving.presence import beat, leave, present
from tidemill.stores.metadata.protocol import MetadataStore, Reader, Writer

FOLLOWED = ("alias.moved", "definition.applied")
"""Kinds of events that may change what a server should run."""


class EndpointStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint and what runs behind it."""

    endpoint: Endpoint
    serving: tuple[Generation, ...]
    """One per server; empty before the first champion."""
    last: Generation | None
    """The newest generation, whatever became of it."""


class Serving:
    """Endpoints of a project.

    Args:
        scope: Project, principal and clock.
        metadata: Where records are kept.
    """

    def __init__(self, scope: Scope, *, metadata: MetadataStore) -> None:
        self._scope = scope
        self._metadata = metadata

    def deploy(self, graph: Graph) -> Endpoint:
        """Make a graph an endpoint, or change the graph of one; servers follow."""
        endpoint = Endpoint(**self._scope.stamp(), name=graph.name, graph=graph.describe(), digest=graph.digest())
        with self._metadata.write() as writer:
            known = writer.get(Endpoint, project=self._scope.project, name=graph.name)
            if known is not None and known.digest == endpoint.digest:
                return known
            writer.put(endpoint)
        return endpoint

    def endpoints(self) -> list[Endpoint]:
        """All endpoints, by name."""
        with self._metadata.read() as reader:
            return reader.find(Endpoint, {"project": self._scope.project}, order=["name"])

    def generations(self, endpoint: str, *, limit: int = 100) -> list[Generation]:
        """Generations of an endpoint, newest first; one whose server was killed has the state `gone`.

        Raises:
            NotFound: There is no such endpoint.
        """
        with self._metadata.read() as reader:
            self._endpoint(reader, endpoint)
            return self._generations(reader, endpoint, limit)

    def status(self, endpoint: str) -> EndpointStatus:
        """An endpoint and what runs behind it.

        Raises:
            NotFound: There is no such endpoint.
        """
        with self._metadata.read() as reader:
            found = self._endpoint(reader, endpoint)
            where = {"project": self._scope.project, "endpoint": endpoint, "state": "serving"}
            serving = present(reader, reader.find(Generation, where, order=["-number"]))
            last = self._generations(reader, endpoint, 1)
        alive = tuple(one for one in serving if one.state == "serving")
        return EndpointStatus(endpoint=found, serving=alive, last=last[0] if last else None)

    def numbers_of(self, graph: Graph) -> list[int]:
        """The generations that ran exactly this graph, with whatever versions of its models."""
        where = {"project": self._scope.project, "endpoint": graph.name}
        with self._metadata.read() as reader:
            found = reader.find(Generation, where, order=["number"])
        return [one.number for one in found if one.digest == generation_digest(graph.digest(), one.models)]

    def _endpoint(self, reader: Reader, name: str) -> Endpoint:
        found = reader.get(Endpoint, project=self._scope.project, name=name)
        if found is None:
            known = reader.find(Endpoint, {"project": self._scope.project})
            raise unknown("endpoint", name, [endpoint.name for endpoint in known])
        return found

    def _generations(self, reader: Reader, endpoint: str, limit: int) -> list[Generation]:
        where = {"project": self._scope.project, "endpoint": endpoint}
        return present(reader, reader.find(Generation, where, order=["-number"], limit=limit))

    # -- what the reconciler of a server writes

    def latest_change(self, after: int) -> int:
        """Sequence number of the newest event that may change what a server should run; `after` if there is none."""
        where = {"project": self._scope.project, "kind": list(FOLLOWED), "seq": (">", after)}
        with self._metadata.read() as reader:
            found = reader.find(Event, where, order=["-seq"], limit=1)
        return found[0].seq if found else after

    def stage(
        self, graph: Graph, models: Mapping[str, int], *, server: str, url: str
    ) -> Generation:  # fmt: skip
        """Record a generation that is about to be tried, under the next number of its endpoint."""
        digest = generation_digest(graph.digest(), models)
        with self._metadata.write() as writer:
            number = writer.next(f"generation/{self._scope.project}/{graph.name}")
            staged = Generation(**self._scope.stamp(), endpoint=graph.name, number=number, models=dict(models),
                                digest=digest, state="staged", server=server, url=url)  # fmt: skip
            writer.add(staged)
        return staged

    def beat(self, *, server: str) -> None:
        """Record that a server lives; without that its generations soon count as gone."""
        with self._metadata.write() as writer:
            beat(writer, self._scope, server)

    def started(self, generation: Generation, workers: Sequence[int]) -> None:
        """Record that a generation answers, and that the one before it on the same server does not any more."""
        now = self._scope.now()
        with self._metadata.write() as writer:
            before = {**self._where(generation), "state": "serving", "server": generation.server}
            del before["number"]
            writer.change(Generation, before, state="retired", ended_at=now)
            pids = {str(index): pid for index, pid in enumerate(workers)}
            writer.change(Generation, self._where(generation), state="serving", workers=pids)
            self._tell(writer, generation, "serving", "")

    def failed(self, generation: Generation, reason: str) -> None:
        """Record that a generation could not run; the one before it still answers."""
        now = self._scope.now()
        with self._metadata.write() as writer:
            writer.change(Generation, self._where(generation), state="failed", detail=reason, ended_at=now)
            self._tell(writer, generation, "failed", reason)

    def end_others(self, *, url: str, server: str) -> None:
        """Record the end of generations at this address whose server is gone: it was killed before it could do so."""
        where = {"project": self._scope.project, "url": url, "server": ("!=", server), "state": list(LIVE)}
        with self._metadata.write() as writer:
            for gone in {one.server for one in writer.find(Generation, where)}:
                leave(writer, self._scope, gone)
            self._end(writer, where, "its server ended")

    def end_all(self, *, server: str) -> None:
        """Record the end of all generations of a server that stops."""
        where = {"project": self._scope.project, "server": server, "state": list(LIVE)}
        with self._metadata.write() as writer:
            self._end(writer, where, "its server stopped")
            leave(writer, self._scope, server)

    def _end(self, writer: Writer, where: Mapping[str, object], detail: str) -> None:
        writer.change(Generation, where, state="retired", detail=detail, ended_at=self._scope.now())

    def _where(self, generation: Generation) -> dict[str, object]:
        return {"project": self._scope.project, "endpoint": generation.endpoint, "number": generation.number}

    def _tell(self, writer: Writer, generation: Generation, state: str, reason: str) -> None:
        body = {"number": generation.number, "state": state, "models": generation.models, "detail": reason}
        subject = f"endpoint/{generation.endpoint}"
        writer.emit(Event(**self._scope.stamp(), kind="generation.changed", subject=subject, body=body))
