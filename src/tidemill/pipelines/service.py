"""The pipeline service: planning, running, starting on behalf of others."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tidemill.core.errors import AlreadyExists, Conflict, NotFound, Unavailable
from tidemill.core.ids import digest_text
from tidemill.core.records.events import Pin
from tidemill.core.records.runs import Run
from tidemill.core.scope import Scope
from tidemill.core.specs.definition import Definitions
from tidemill.core.steps import Pipeline
from tidemill.pipelines.archive import archive_code
from tidemill.pipelines.cache import Cache
from tidemill.pipelines.execution import Execution, Operations, StepRun, texts
from tidemill.pipelines.planning import PlannedStep, Planning
from tidemill.pipelines.values import Values, artifacts_of, shown
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.protocol import MetadataStore, Reader
from tidemill.tracking.active import ActiveRun
from tidemill.tracking.environment import process_start, this_process
from tidemill.tracking.service import Tracking

Launch = Callable[[str], int]
"""Executes an accepted run, given its id, in a process of its own; returns its process id."""


class PipelineRun(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline that ran."""

    id: str
    pipeline: str
    status: str
    result: Any
    """What the pipeline returned, as plain JSON."""
    steps: tuple[StepRun, ...]


class Pipelines:
    """Pipelines of a project; implements `tidemill.core.protocols.PipelineStarter`.

    Args:
        scope: Project, principal and clock.
        metadata: Where records are kept.
        artifacts: Where results and code are kept.
        tracking: Where runs are recorded.
        operations: The platform's operations by name.
        definitions: The project's definitions.
        folder: The project folder.
        files: Its files with definitions.
        launch: Executes an accepted run in a process of its own; None executes it here.
    """

    def __init__(
        self, scope: Scope, *, metadata: MetadataStore, artifacts: ArtifactStore, tracking: Tracking,
        operations: Operations, definitions: Definitions, folder: Path, files: tuple[str, ...], launch: Launch | None = None,
    ) -> None:  # fmt: skip
        self._scope = scope
        self._metadata = metadata
        self._artifacts = artifacts
        self._tracking = tracking
        self._operations = operations
        self._definitions = definitions
        self._folder = folder
        self._files = files
        self._launch = launch
        self._values = Values(artifacts, tracking.datasets)
        self._cache = Cache(scope, metadata, self._values)

    # -- running

    def run(self, pipeline: str, arguments: Mapping[str, Any] | None = None, *, reason: str = "by hand") -> PipelineRun:
        """Run a pipeline here and wait for it.

        Raises:
            NotFound: There is no such pipeline.
            InvalidArgument: The arguments do not fit, or cannot be kept.
            UserCodeError: A step failed.
        """
        return self._execute(self._accept(pipeline, arguments or {}, reason).id)

    def start(
        self, pipeline: str, *, arguments: Mapping[str, Any], reason: str, fingerprint: str, wait: bool = False
    ) -> str:
        """Start a pipeline once per fingerprint; see `tidemill.core.protocols.PipelineStarter`.

        With `wait`, or where pipelines run inline, the run is over when this returns, and its failure is raised.
        """
        try:
            run = self._accept(pipeline, arguments, reason, once=digest_text("pipeline", pipeline, fingerprint))
        except AlreadyExists as earlier:
            return earlier.known[0]
        if self._launch is None or wait:
            self._execute(run.id)
        else:
            self._hand_over(run, self._launch)
        return run.id

    def execute(self, run_id: str) -> PipelineRun:
        """Execute a run that was accepted by `start`, in this process.

        Raises:
            Conflict: It has ended, or another process executes it.
        """
        return self._execute(run_id)

    def resume(self, run_id: str) -> PipelineRun:
        """Run a failed or killed pipeline again with the same arguments; steps that finished are not executed again.

        Training sets and splits are those of the run that is resumed, whatever `tm.NOW` is by now. Steps whose code was
        changed since run again.

        Raises:
            NotFound: It is not the run of a pipeline.
            Conflict: It has finished, or is still running.
        """
        self._tracking.reap()
        run = self._pipeline_run(run_id)
        if run.status not in ("failed", "killed"):
            raise Conflict(f"run {run.id} is {run.status}", expected="a failed or killed run",
                           hint=f"Run it anew: tidemill run {run.name}")  # fmt: skip
        root = run.tags.get("root", run.id)
        return self._execute(self._accept(run.name, self._arguments(run), f"resumes {run.id}", root=root).id)

    def _accept(
        self, pipeline: str, arguments: Mapping[str, Any], reason: str, *, once: str | None = None,
        root: str | None = None,
    ) -> ActiveRun:  # fmt: skip
        definition: Pipeline[..., Any] = self._definitions.get("pipeline", pipeline)
        params = definition.parameters(arguments)
        code = {"digest": definition.digest(), "archive": archive_code(self._artifacts, self._folder, self._files)}
        packed = {name: self._values.pack(value) for name, value in arguments.items()}
        tags = {"reason": reason, "arguments": packed, **({} if root is None else {"root": root})}
        run = self._tracking.start(
            pipeline, kind="pipeline", group=pipeline, tags=tags, code=code, once=once,
            params=texts({name: shown(value) for name, value in params.items()}),
        )  # fmt: skip
        self._pin(run.id, [code["archive"], *(digest for one in packed.values() for digest in artifacts_of(one))])
        return run

    def _pin(self, run_id: str, digests: Sequence[str]) -> None:
        stamp = self._scope.stamp()
        with self._metadata.write() as writer:
            writer.put(*(Pin(**stamp, target=f"artifact/{digest}", owner=f"run/{run_id}") for digest in digests))

    def _hand_over(self, run: ActiveRun, launch: Launch) -> None:
        try:
            pid = launch(run.id)
        except OSError as error:
            run.end("failed", error=f"its process could not be started: {error}")
            raise Unavailable(f"a process for pipeline {run.name!r} could not be started: {error}") from error
        process = {"host": socket.gethostname(), "pid": pid, "started": process_start(pid)}
        with self._metadata.write() as writer:
            now = self._found(writer, run.id)
            if not now.environment.get("process", {}).get("executes"):  # else it has said so itself
                writer.change(Run, {"id": run.id}, environment={**now.environment, "process": process})

    def _claim(self, run_id: str) -> Run:
        """Make this process the one that executes a run, so that the run is over when the process is."""
        self._pipeline_run(run_id)
        with self._metadata.write() as writer:
            run = self._found(writer, run_id)
            if run.status != "running" or run.environment.get("process", {}).get("executes"):
                state = "is being executed" if run.status == "running" else f"has {run.status}"
                raise Conflict(f"run {run.id} {state}", hint=f"Start another: tidemill run {run.name}")
            process = {**this_process(), "executes": True}
            writer.change(Run, {"id": run.id}, environment={**run.environment, "process": process})
        return run

    def _found(self, reader: Reader, run_id: str) -> Run:
        run = reader.get(Run, id=run_id)
        if run is None:
            raise NotFound(f"run {run_id} is gone")
        return run

    def _execute(self, run_id: str) -> PipelineRun:
        record = self._claim(run_id)
        with self._tracking.resume(run_id) as run:
            definition: Pipeline[..., Any] = self._definitions.get("pipeline", record.name)
            graph = definition.trace(definition.parameters(self._arguments(record)))
            execution = Execution(
                self._tracking, self._cache, self._operations, parent=run.id, root=record.tags.get("root", run.id)
            )
            result = shown(execution.run(graph))
            run.set_tag("result", result)
        return PipelineRun(
            id=run.id, pipeline=record.name, status="finished", result=result, steps=tuple(execution.steps)
        )

    def _arguments(self, run: Run) -> dict[str, Any]:
        return {name: self._values.unpack(packed) for name, packed in run.tags["arguments"].items()}

    # -- asking

    def outcome(self, run_id: str) -> Mapping[str, Any]:
        """Status and result of a run; see `tidemill.core.protocols.PipelineStarter`."""
        run = self._pipeline_run(run_id)
        return {"status": run.status, "result": run.tags.get("result"), "error": run.error}

    def plan(self, pipeline: str, arguments: Mapping[str, Any] | None = None) -> list[PlannedStep]:
        """The steps a run would take, and which of them the cache would answer, without running anything."""
        definition: Pipeline[..., Any] = self._definitions.get("pipeline", pipeline)
        return Planning(self._cache).plan(definition.trace(definition.parameters(arguments or {})))

    def _pipeline_run(self, run_id: str) -> Run:
        run = self._tracking.get(run_id)
        if run.kind != "pipeline":
            raise NotFound(f"run {run.id} is a {run.kind}, not a pipeline", hint="Give the id of the pipeline's run")
        return run
