"""A run that is being written to."""

from __future__ import annotations

import itertools
import secrets
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tidemill.core.errors import Conflict, Interrupted, InvalidArgument, NotFound
from tidemill.core.records.events import Event, Pin
from tidemill.core.records.runs import Link, MetricPoint, Run
from tidemill.core.scope import Scope
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.protocol import MetadataStore, Writer
from tidemill.tracking.environment import Usage
from tidemill.tracking.values import canonical, check_key, check_path, kind_of, number, plain_values

ENDS = ("finished", "failed", "killed", "cached")
"""The states a run can end in."""

_BATCH = 1000
_ERROR_LENGTH = 20_000


class ActiveRun:
    """Writes to one run. What a method wrote is durable when it returns: a kill -9 afterwards loses nothing of it.

    As a context manager it ends the run: `finished`, `failed` with the error's text, or `killed` when it was interrupted.
    Safe for threads, and for several processes writing to one run.
    """

    def __init__(self, scope: Scope, *, metadata: MetadataStore, artifacts: ArtifactStore, run: Run) -> None:
        self._scope = scope
        self._metadata = metadata
        self._artifacts = artifacts
        self.id = run.id
        self.name = run.name
        self._usage = Usage.now()
        self._ended = False
        self._began = time.perf_counter()
        # Points of equal name, step and time need different numbers, whichever process wrote them.
        self._numbers = itertools.count(secrets.randbits(20) << 32)

    def __repr__(self) -> str:
        return f"<ActiveRun {self.name} {self.id}>"

    # -- parameters and tags

    def log_param(self, name: str, value: Any) -> None:
        """Record a parameter; see `log_params`."""
        self.log_params({name: value})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters, all or none.

        Raises:
            Conflict: A parameter has another value already; parameters do not change.
        """
        self.log(params=params)

    def set_tag(self, name: str, value: Any) -> None:
        """Set or replace a tag."""
        self.log(tags={name: value})

    def remove_tag(self, name: str) -> None:
        """Remove a tag.

        Raises:
            NotFound: The run has none of that name.
        """
        with self._metadata.write() as writer:
            tags = dict(self._run(writer).tags)
            if name not in tags:
                raise NotFound(f"No tag with name: {name}", known=sorted(tags))
            del tags[name]
            writer.change(Run, {"id": self.id}, tags=tags)

    # -- metrics

    def log_metric(self, name: str, value: float, step: int = 0, *, at: int | None = None) -> None:
        """Record one value of a metric; NaN and the infinities are values too.

        Args:
            name: The metric.
            value: Its value.
            step: Where in the run it was measured.
            at: When, in microseconds; now when absent.
        """
        self.log(metrics={name: value}, step=step, at=at)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record the values of several metrics at one step, all or none."""
        self.log(metrics=metrics, step=step)

    def log_curve(self, name: str, values: Sequence[float], *, first: int = 0) -> None:
        """Record a metric's values at consecutive steps, a thousand in one write.

        Args:
            name: The metric.
            values: Its values.
            first: Step of the first.
        """
        for start in range(0, len(values), _BATCH):
            part = values[start : start + _BATCH]
            points = [self._point(name, value, first + start + i, None) for i, value in enumerate(part)]
            with self._metadata.write() as writer:
                writer.add(*points)

    def log(
        self, *, params: Mapping[str, Any] | None = None, tags: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None, step: int = 0, at: int | None = None,
    ) -> None:  # fmt: skip
        """Record parameters, tags and metrics in one write: all of it or nothing.

        Raises:
            Conflict: A parameter has another value already.
            InvalidArgument: A name or value cannot be kept.
        """
        given, marks = plain_values(params or {}, "parameter"), plain_values(tags or {}, "tag")
        points = [self._point(name, value, step, at) for name, value in (metrics or {}).items()]
        with self._metadata.write() as writer:
            if given or marks:
                run = self._run(writer)
                writer.change(Run, {"id": self.id}, params=_merged(run, given), tags={**run.tags, **marks})
            writer.add(*points)

    def _point(self, name: str, value: float, step: int, at: int | None) -> MetricPoint:
        plain = number(name, value)
        kind = kind_of(plain)
        if type(step) is not int:
            raise InvalidArgument(f"step={step!r} of metric {name!r}", expected="an integer")
        return MetricPoint(
            **self._scope.stamp(), run_id=self.id, name=check_key(name, "metric"), step=step,
            at=self._scope.now() if at is None else at, seq=next(self._numbers),
            value=plain if kind == "finite" else None, kind=kind,
        )  # fmt: skip

    # -- inputs, outputs, artifacts

    def log_input(self, name: str, uri: str, digest: str | None = None, **detail: Any) -> None:
        """Record what the run read: `dataset/DIGEST`, `table/NAME@VERSION`, `model/NAME/VERSION`, ..."""
        self._link("input", name, uri, digest, detail)

    def log_output(self, name: str, uri: str, digest: str | None = None, **detail: Any) -> None:
        """Record what the run made."""
        self._link("output", name, uri, digest, detail)

    def _link(self, direction: str, name: str, uri: str, digest: str | None, detail: Mapping[str, Any]) -> None:
        with self._metadata.write() as writer:
            writer.put(self._edge(direction, name, uri, digest, detail))

    def _edge(self, direction: str, name: str, uri: str, digest: str | None, detail: Mapping[str, Any]) -> Link:
        if not uri.partition("/")[2]:
            raise InvalidArgument(f"{uri!r} names nothing", expected="KIND/NAME, such as dataset/DIGEST")
        return Link(
            **self._scope.stamp(), run_id=self.id, direction=direction, name=check_key(name, direction), uri=uri,
            digest=digest, detail=plain_values(detail, "detail"),
        )  # fmt: skip

    def log_artifact(self, name: str, content: bytes | str | Path) -> str:
        """Keep a file with the run; the same name again replaces it.

        Args:
            name: A relative path such as `plots/roc.json`.
            content: The bytes, a text, or the path of a file.

        Returns:
            The digest.
        """
        check_path(name)
        if isinstance(content, Path):
            digest, size = self._artifacts.put_file(content), content.stat().st_size
        else:
            data = content.encode() if isinstance(content, str) else content
            digest, size = self._artifacts.put(data), len(data)
        link = self._edge("output", name, f"artifact/{digest}", digest, {"size": size})
        with self._metadata.write() as writer:
            self._replace_artifact(writer, link)
        return digest

    def _replace_artifact(self, writer: Writer, link: Link) -> None:
        mine = {"run_id": self.id, "direction": "output", "uri": ("like", "artifact/%")}
        earlier = [old.uri for old in writer.find(Link, {**mine, "name": link.name})]
        writer.remove(Link, {**mine, "name": link.name})
        kept = {old.uri for old in writer.find(Link, mine)}
        owner = f"run/{self.id}"
        if gone := [uri for uri in earlier if uri not in kept]:
            writer.remove(Pin, {"target": gone, "owner": owner})
        writer.add(link)
        writer.put(Pin(**self._scope.stamp(), target=link.uri, owner=owner))

    # -- the end

    def end(self, status: str = "finished", *, error: str | None = None) -> None:
        """End the run.

        Args:
            status: `finished`, `failed`, `killed` or `cached`.
            error: What went wrong, if something did.

        Raises:
            Conflict: It ended differently already.
        """
        if status not in ENDS:
            raise InvalidArgument(f"a run cannot end as {status!r}", known=ENDS)
        self._ended = True
        used = {**Usage.now().since(self._usage), "seconds": round(time.perf_counter() - self._began, 6)}
        with self._metadata.write() as writer:
            run = self._run(writer)
            if run.status == "running":
                end_run(writer, self._scope, run, status, error=error, resources=used)
            elif run.status != status:
                raise Conflict(f"run {self.id} has {run.status} already", hint="A run ends once")

    def _run(self, writer: Writer) -> Run:
        run = writer.get(Run, id=self.id)
        if run is None:
            raise NotFound(f"run {self.id} is gone")
        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._ended:
            return  # the block ended it itself, for example as `cached`
        if error is None or (isinstance(error, SystemExit) and not error.code):
            self.end("finished")
        else:
            stopped = isinstance(error, KeyboardInterrupt | Interrupted | GeneratorExit)
            text = "".join(traceback.format_exception(kind, error, trace))[-_ERROR_LENGTH:]
            self.end("killed" if stopped else "failed", error=text)


def end_run(
    writer: Writer, scope: Scope, run: Run, status: str, *, error: str | None, resources: Mapping[str, Any]
) -> None:
    """Write the end of a run and its event."""
    now = scope.now()
    writer.change(Run, {"id": run.id}, status=status, ended_at=now, error=error,
                  resources={**run.resources, **resources})  # fmt: skip
    body = {"kind": run.kind, "name": run.name, "status": status, "parent": run.parent}
    writer.emit(Event(**scope.stamp(), kind="run.ended", subject=f"run/{run.id}", body=body))


def _merged(run: Run, given: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if name in run.params and canonical(run.params[name]) != canonical(value):
            raise Conflict(
                f"parameter {name!r} of run {run.id} is {run.params[name]!r}, not {value!r}: "
                "Changing param values is not allowed",
                hint="Start another run",
            )
    return {**run.params, **given}
