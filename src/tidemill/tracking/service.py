"""The tracking service: starting runs, and finding what they left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tidemill.core.errors import AlreadyExists, InvalidArgument, NotFound, unknown
from tidemill.core.ids import check_name
from tidemill.core.records.events import Event, Pin
from tidemill.core.records.runs import Link, MetricPoint, Run
from tidemill.core.scope import Scope
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.protocol import MetadataStore, Reader, Where, Writer
from tidemill.tracking.active import ActiveRun, end_run
from tidemill.tracking.checkout import read_checkout
from tidemill.tracking.datasets import Datasets
from tidemill.tracking.environment import describe_environment, distributions_text, is_alive, this_process
from tidemill.tracking.filters import parse_filter
from tidemill.tracking.lineage import LineageGraph, trace
from tidemill.tracking.metrics import curves, latest_metrics
from tidemill.tracking.query import matches, named_metrics, ordered, parse_order
from tidemill.tracking.values import check_key, plain_values

KINDS = ("run", "pipeline", "step", "search", "trial", "refit")
DEFAULT_GROUP = "default"


class Tracking:
    """Runs and datasets of a project.

    Args:
        scope: Project, principal and clock.
        metadata: Where records are kept.
        artifacts: Where files are kept.
        folder: The folder whose git checkout is recorded with runs; the current one when absent.
    """

    def __init__(
        self, scope: Scope, *, metadata: MetadataStore, artifacts: ArtifactStore, folder: Path | None = None
    ) -> None:
        self._scope = scope
        self._metadata = metadata
        self._artifacts = artifacts
        self._folder = folder
        self.datasets = Datasets(scope, metadata=metadata, artifacts=artifacts)

    # -- writing

    def start(
        self, name: str, *, kind: str = "run", group: str | None = None, parent: str | None = None,
        params: Mapping[str, Any] | None = None, tags: Mapping[str, Any] | None = None,
        code: Mapping[str, Any] | None = None, cache_key: str | None = None, owned: bool = True,
        once: str | None = None,
    ) -> ActiveRun:  # fmt: skip
        """Start a run. Use it as a context manager, or call `end`.

        Args:
            name: What it does; not unique.
            kind: `run`, `pipeline`, `step`, `search`, `trial` or `refit`.
            group: What it belongs to; its parent's group, or `default`, when absent.
            parent: Id of the run it is part of; its commit is taken over.
            params: Parameters.
            tags: Tags.
            code: Facts about the code besides the git checkout: digest, archive.
            cache_key: Of a step.
            owned: Whether this process executes the run, so that the run is over when the process is.
            once: What may start only one run ever, such as the fingerprint of an alert.

        Raises:
            NotFound: There is no such parent.
            AlreadyExists: A run was started for `once` before; its id is the only one in `known`.
        """
        if kind not in KINDS:
            raise InvalidArgument(f"{kind!r} is no kind of run", known=KINDS)
        check_key(name, "run")
        above = None if parent is None else self.get(parent)
        checkout = self._checkout() if above is None else {k: v for k, v in above.code.items() if k in _CHECKOUT}
        run = Run(
            **self._scope.stamp(), id=self._scope.new_id(), kind=kind, name=name, parent=None if above is None else above.id,
            run_group=_group(group, above), status="running", started_at=self._scope.now(),
            params=plain_values(params or {}, "parameter"), tags=plain_values(tags or {}, "tag"),
            code=plain_values({**checkout, **(code or {})}, "code"), cache_key=once or cache_key,
            environment={**describe_environment(), **({"process": this_process()} if owned else {})},
        )  # fmt: skip
        return self._begin(run, once=once is not None)

    def _begin(self, run: Run, *, once: bool) -> ActiveRun:
        kept = [self._artifacts.put(distributions_text())]
        if "diff" in run.code:
            kept.append(run.code["diff"])
        stamp = self._scope.stamp()
        body = {"kind": run.kind, "name": run.name, "group": run.run_group, "parent": run.parent}
        with self._metadata.write() as writer:
            if once:
                _claim(writer, run)
            writer.add(run)
            writer.put(*(Pin(**stamp, target=f"artifact/{digest}", owner=f"run/{run.id}") for digest in kept))
            writer.emit(Event(**stamp, kind="run.started", subject=f"run/{run.id}", body=body))
        return self._active(run)

    def _checkout(self) -> dict[str, Any]:
        found = read_checkout(self._folder or Path.cwd())
        if found is None:
            return {}
        if found.diff:
            self._artifacts.put(found.diff)
        return found.describe()

    def _active(self, run: Run) -> ActiveRun:
        return ActiveRun(self._scope, metadata=self._metadata, artifacts=self._artifacts, run=run)

    def resume(self, run_id: str) -> ActiveRun:
        """Write to a run that exists, from this or another process.

        Raises:
            NotFound: There is no such run.
        """
        return self._active(self.get(run_id))

    def reap(self, alive: Callable[[dict[str, Any]], bool] = is_alive) -> list[str]:
        """End as `killed` the runs whose process is gone; returns their ids.

        Args:
            alive: Whether a process still runs, from what a run recorded of it: host, pid and start.
        """
        gone = [run for run in self._found({"status": "running"}) if _is_orphan(run, alive)]
        for run in gone:
            with self._metadata.write() as writer:
                now = writer.get(Run, id=run.id)
                if now is not None and now.status == "running":
                    end_run(writer, self._scope, now, "killed", error="its process ended without a word", resources={})
        return [run.id for run in gone]

    # -- reading

    def get(self, run_id: str) -> Run:
        """A run by its id, or by an unambiguous beginning or end of it of at least four digits.

        Raises:
            NotFound: There is none.
            InvalidArgument: Several ids begin or end like that.
        """
        if not run_id.isalnum() or not 4 <= len(run_id) <= 32:
            raise InvalidArgument(
                f"{run_id!r} is not the id of a run", expected="32 hex digits, or at least four of them"
            )
        with self._metadata.read() as reader:
            run = reader.get(Run, id=run_id) if len(run_id) == 32 else self._by_part(reader, run_id)
        if run is None or run.project != self._scope.project:
            raise NotFound(f"Run with id={run_id} not found", hint="List runs with `tidemill runs list`")
        return run

    def _by_part(self, reader: Reader, part: str) -> Run | None:
        # Ids of one minute begin alike, so their ends count as well.
        for pattern in (f"{part}%", f"%{part}"):
            found = reader.find(Run, {"project": self._scope.project, "id": ("like", pattern)}, limit=2)
            if len(found) > 1:
                raise InvalidArgument(f"several runs match {part!r}", hint="Give more of the id",
                                      known=[run.id for run in found])  # fmt: skip
            if found:
                return found[0]
        return None

    def find(
        self, filter: str | None = None, *, order: str | Sequence[str] = (), limit: int | None = 1000,
        offset: int = 0, kind: str | Sequence[str] | None = None, group: str | None = None, status: str | None = None,
        parent: str | None = None,
    ) -> list[Run]:  # fmt: skip
        """Search runs.

        Args:
            filter: Such as `metrics.roc_auc > 0.7 AND params.depth IN (4, 6)`; see `tidemill.tracking.filters`.
            order: Such as `metrics.roc_auc DESC`; newest first when absent.
            limit: At most so many.
            offset: Leave out the first so many.
            kind: Only runs of this kind, or these kinds.
            group: Only runs of this group.
            status: Only runs in this state.
            parent: Only parts of this run.

        Raises:
            InvalidArgument: The filter or the order cannot be read.
        """
        wanted = None if not filter or not filter.strip() else parse_filter(filter)
        by = parse_order(order)
        given = {"kind": kind if isinstance(kind, str | None) else list(kind), "run_group": group, "status": status,
                 "parent": parent}  # fmt: skip
        runs = self._found({name: value for name, value in given.items() if value is not None})
        names = (named_metrics(wanted) if wanted else set()) | {key for entity, key, _ in by if entity == "metrics"}
        metrics = self.latest([run.id for run in runs], names) if names else {}
        if wanted:
            runs = [run for run in runs if matches(run, metrics.get(run.id, {}), wanted)]
        return ordered(runs, metrics, by)[offset : None if limit is None else offset + limit]

    def _found(self, where: Where) -> list[Run]:
        with self._metadata.read() as reader:
            return reader.find(Run, {"project": self._scope.project, **where}, order=["-created_at"])

    def children(self, run_id: str) -> list[Run]:
        """The parts of a run, in the order they started."""
        return self.find(parent=self.get(run_id).id, order=["started_at", "run_id"], limit=None)

    def latest(self, run_ids: Sequence[str], names: set[str] | None = None) -> dict[str, dict[str, float]]:
        """Run id -> metric -> latest value (greatest step, then time, then value).

        Args:
            run_ids: The runs.
            names: Only these metrics.
        """
        with self._metadata.read() as reader:
            return latest_metrics(reader, run_ids, names)

    def metrics(self, run_id: str, name: str) -> list[MetricPoint]:
        """The history of one metric of a run, by step and time.

        Raises:
            NotFound: The run has no such metric; the message lists those it has.
        """
        known = self.curves(run_id)
        if name not in known:
            raise unknown(f"metric of run {run_id}", name, known)
        return known[name]

    def curves(self, run_id: str) -> Mapping[str, list[MetricPoint]]:
        """The histories of all metrics of a run."""
        run = self.get(run_id)
        with self._metadata.read() as reader:
            return curves(reader.find(MetricPoint, {"run_id": run.id}))

    def links(self, run_id: str, direction: str | None = None) -> list[Link]:
        """Inputs and outputs of a run.

        Args:
            run_id: The run.
            direction: Only `input` or `output`.
        """
        where = {"run_id": self.get(run_id).id, **({} if direction is None else {"direction": direction})}
        with self._metadata.read() as reader:
            return reader.find(Link, where, order=["direction", "name", "created_at"])

    def artifact(self, run_id: str, name: str) -> bytes:
        """A file kept with a run.

        Raises:
            NotFound: The run has no such file; the message lists those it has.
        """
        files = {link.name: link for link in self.links(run_id, "output") if link.uri.startswith("artifact/")}
        if name not in files:
            raise unknown(f"artifact of run {run_id}", name, files)
        return self._artifacts.get(files[name].uri.partition("/")[2])

    def lineage(self, uri: str, direction: str = "up", *, limit: int = 1000) -> LineageGraph:
        """What something was made from, or what was made from it.

        Args:
            uri: `model/NAME/VERSION`, `run/ID`, `dataset/DIGEST`, `table/NAME@VERSION` or `archive/DIGEST`.
            direction: `up` to where it comes from, `down` to what came of it.
            limit: At most so many nodes.
        """
        with self._metadata.read() as reader:
            return trace(reader, self._scope.project, uri, direction, limit=limit)


_CHECKOUT = ("commit", "branch", "dirty", "diff", "untracked")


def _claim(writer: Writer, run: Run) -> None:
    # The counter's row stays locked until the commit, so that of two starters at once the second sees the first's run.
    writer.next(f"once/{run.project}/{run.cache_key}")
    earlier = writer.find(Run, {"project": run.project, "kind": run.kind, "cache_key": run.cache_key})
    if earlier:
        raise AlreadyExists(f"a run was started for {run.cache_key} before", known=[earlier[0].id])


def _group(group: str | None, parent: Run | None) -> str:
    if group is not None:
        return check_name(group, "name of a run group")
    return DEFAULT_GROUP if parent is None else parent.run_group


def _is_orphan(run: Run, alive: Callable[[dict[str, Any]], bool]) -> bool:
    process = run.environment.get("process")
    return process is not None and not alive(process)
