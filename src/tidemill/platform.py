"""The platform: settings become stores, stores become the stages' services. The only place where they are wired together."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill.core.clock import Clock, open_clock
from tidemill.core.context import use_runner
from tidemill.core.errors import Conflict, NotFound, TidemillError, Unavailable, UserCodeError
from tidemill.core.scope import Scope
from tidemill.core.settings import FILE_NAME, Settings, environment_of, load_settings
from tidemill.core.specs.definition import Definitions, collect
from tidemill.core.specs.sources import Source
from tidemill.stores.consumers.open import is_broker
from tidemill.stores.registry import open_store

_log = logging.getLogger("tidemill.platform")

if TYPE_CHECKING:
    import polars as pl

    from tidemill.alerting.service import Alerting
    from tidemill.core.protocols import LoggedVectors
    from tidemill.core.records.data import Arrival
    from tidemill.core.specs.features import FeatureService
    from tidemill.data.pushed import Push
    from tidemill.data.service import Data
    from tidemill.engines.protocol import Engine
    from tidemill.features.inventory import Inventory
    from tidemill.features.online import Online
    from tidemill.features.service import Features
    from tidemill.features.verifications import Verifications
    from tidemill.monitoring.service import Monitoring
    from tidemill.pipelines.service import Pipelines
    from tidemill.registry.service import Registry
    from tidemill.serving.runtime import Runtime
    from tidemill.serving.service import Serving
    from tidemill.stores.artifacts.protocol import ArtifactStore
    from tidemill.stores.metadata.protocol import MetadataStore
    from tidemill.stores.online.protocol import OnlineStore
    from tidemill.stores.streams.protocol import StreamStore
    from tidemill.stores.tables.protocol import TableStore
    from tidemill.tracking.dataset import Dataset
    from tidemill.tracking.definitions import Catalog, Change
    from tidemill.tracking.service import Tracking
    from tidemill.training.service import Training


class Platform:
    """An open project: its stores, its definitions and the services of every stage, made when first used.

    Use it as a context manager. Within the block, operations called on definitions (`service.training_set(...)`) run on it.

    Args:
        settings: What to open.
        clock: Another clock than the settings name, for tests.
        progress: Called during a search with the trials done and their number.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.settings = settings
        self.scope = Scope(
            settings.project, settings.principal, clock or open_clock(settings.clock, settings.home_path)
        )
        self._progress = progress
        self._code = settings.folder
        self._stack = ExitStack()
        self._behind: set[str] = set()

    def __enter__(self) -> Platform:
        self._stack.enter_context(use_runner(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        self.close()

    def close(self) -> None:
        """Close the stores that were opened."""
        for name in ("engine", "online_store", "streams", "metadata"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    # -- stores

    @cached_property
    def metadata(self) -> MetadataStore:
        """Records and the event log."""
        store: MetadataStore = open_store("metadata", self.settings.metadata, self.settings.home_path)
        return store

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """Immutable bytes by digest."""
        store: ArtifactStore = open_store("artifacts", self.settings.artifacts, self.settings.home_path)
        return store

    @cached_property
    def tables(self) -> TableStore:
        """Versioned tables."""
        store: TableStore = open_store("tables", self.settings.tables, self.settings.home_path)
        return store

    @cached_property
    def online_store(self) -> OnlineStore:
        """Features by key."""
        store: OnlineStore = open_store("online", self.settings.online, self.settings.home_path)
        return store

    @cached_property
    def streams(self) -> StreamStore:
        """Durable logs."""
        store: StreamStore = open_store("streams", self.settings.streams, self.settings.home_path)
        return store

    @cached_property
    def engine(self) -> Engine:
        """Who runs heavy work; started when first used."""
        from tidemill.engines.open import open_engine

        return open_engine(self.settings.engine)

    # -- definitions

    @cached_property
    def definitions(self) -> Definitions:
        """The definitions of the project's files."""
        return collect([load_module(self._code, file) for file in self.settings.files])

    def use_code_of(self, run_id: str) -> None:
        """Import the project's files as they were when a pipeline run was accepted, even if they were edited since.

        Raises:
            NotFound: There is no such run.
            Conflict: They are imported already.
        """
        from tidemill.pipelines.archive import restore_code

        if "definitions" in self.__dict__:
            raise Conflict("the project's files are imported already", hint="Open the project anew")
        archive = self.tracking.get(run_id).code.get("archive")
        if archive is not None:
            folder = self.settings.folder
            self._code = restore_code(self.artifacts, archive, folder, self.settings.home_path / "code")
            sys.path.append(str(folder))  # for what is imported only while a step runs, and so is not in the archive

    # -- the stages

    @cached_property
    def tracking(self) -> Tracking:
        """Runs and datasets."""
        from tidemill.tracking.service import Tracking

        return Tracking(self.scope, metadata=self.metadata, artifacts=self.artifacts, folder=self.settings.folder)

    @cached_property
    def catalog(self) -> Catalog:
        """Applied definitions."""
        from tidemill.tracking.definitions import Catalog

        return Catalog(self.scope, metadata=self.metadata)

    @cached_property
    def data(self) -> Data:
        """Sources, archive, quality."""
        from tidemill.data.service import Data

        return Data(
            self.scope, metadata=self.metadata, artifacts=self.artifacts, tables=self.tables, streams=self.streams,
            folder=self.settings.folder, listeners=[self._arrived],
        )  # fmt: skip

    @cached_property
    def online(self) -> Online:
        """Online features."""
        from tidemill.features.online import Online

        return Online(self.scope, read=self.data.scan, store=self.online_store, unique_ids=True)

    @cached_property
    def features(self) -> Features:
        """Features, offline and online."""
        from tidemill.features.service import Features
        from tidemill.features.training import SourceReader

        reader = SourceReader(
            scan=lambda source, version: self.data.scan(source, version=version),
            columns=self.data.table_columns,
            version=self.data.table_version,
            watermark=self.data.watermark,
            unique_ids=True,
        )
        return Features(
            scope=self.scope, definitions=self.definitions, reader=reader, online=self.online,
            save=self.tracking.datasets.create, log=self._vectors,
            # One partition needs no engine: the calling thread answers it as it is, at least as fast.
            engine=None if self.settings.engine == "local:" else lambda: self.engine,
        )  # fmt: skip

    @cached_property
    def inventory(self) -> Inventory:
        """What features there are: search, versions, consumers, lineage."""
        from tidemill.features.inventory import Inventory

        return Inventory(self.scope, definitions=self.definitions, features=self.features, metadata=self.metadata)

    @cached_property
    def verifications(self) -> Verifications:
        """Verification of served features, at intervals."""
        from tidemill.features.verifications import Verifications

        return Verifications(
            self.scope, metadata=self.metadata, definitions=self.definitions, features=self.features,
            settings=self.settings.verify,
        )  # fmt: skip

    def _vectors(self, service: FeatureService, since: int, until: int) -> Iterable[LoggedVectors]:
        from tidemill.monitoring.vectors import Vectors

        log = Vectors(self.monitoring.captures, self.definitions.of_kind("graph"), self.serving.numbers_of)
        return log(service, since, until)

    @cached_property
    def registry(self) -> Registry:
        """Models, versions, aliases."""
        from tidemill.registry.service import Registry

        return Registry(self.scope, metadata=self.metadata, artifacts=self.artifacts)

    @cached_property
    def training(self) -> Training:
        """Splits, searches, promotions."""
        from tidemill.training.service import Training

        options = {} if self._progress is None else {"progress": self._progress}
        return Training(self.scope, metadata=self.metadata, tracking=self.tracking, registry=self.registry, **options)

    @cached_property
    def pipelines(self) -> Pipelines:
        """Pipelines."""
        from tidemill.pipelines.service import Pipelines

        return Pipelines(
            self.scope, metadata=self.metadata, artifacts=self.artifacts, tracking=self.tracking,
            operations=self.operations, definitions=self.definitions, folder=self.settings.folder,
            files=self.settings.files, launch=self._launch if self.settings.executor == "process" else None,
        )  # fmt: skip

    @cached_property
    def serving(self) -> Serving:
        """Endpoints and generations."""
        from tidemill.serving.service import Serving

        return Serving(self.scope, metadata=self.metadata)

    @cached_property
    def monitoring(self) -> Monitoring:
        """Capture, labels, windows."""
        from tidemill.monitoring.service import Monitoring

        return Monitoring(
            self.scope, metadata=self.metadata, artifacts=self.artifacts, tables=self.tables, streams=self.streams,
            profiles=self.registry, scan=self.data.scan,
        )  # fmt: skip

    @cached_property
    def alerting(self) -> Alerting:
        """Alerts, decisions, notifications."""
        from tidemill.alerting.service import Alerting

        told = [name.strip() for name in self.settings.verify.notify.split(",") if name.strip()]
        return Alerting(
            self.scope, metadata=self.metadata, starter=self.pipelines, channels=self.settings.channels, on_defects=told
        )

    # -- operations called on definitions

    @cached_property
    def operations(self) -> Mapping[str, Callable[..., Any]]:
        """The operations of the platform by name."""
        return {"training_set": self._training_set, **self.training.operations()}

    def _training_set(self, *, parent: str | None = None, **arguments: Any) -> Dataset:
        # In a pipeline, what became of the rows are metrics of the step's run.
        counted = None if parent is None else self.tracking.resume(parent).log_metrics
        return self.features.training_set(**arguments, counted=counted)

    def run(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        """Run an operation; see `tidemill.core.context.OperationRunner`."""
        return self.operations[operation](**arguments)

    # -- use cases that cross stages

    def plan(self) -> list[Change]:
        """What `apply` would change."""
        return self.catalog.plan(self.definitions)

    def apply(self) -> list[Change]:
        """Backfill the views that changed, make the definitions of the project's files current, and deploy its graphs.

        Raises:
            InvalidArgument: A definition does not fit the data; nothing is applied.
        """
        self.features.validate(self.definitions)
        # Beside the version before, which answers until the endpoints have moved.
        self.features.materialize()
        changes = self.catalog.apply(self.definitions)
        if any(one.kind == "feature_view" and one.action != "same" for one in changes):
            # A definition that came back may have been forgotten just before it was current again.
            self.features.materialize()
        for graph in self.definitions.of_kind("graph").values():
            self.serving.deploy(graph)
        return changes

    def forget_superseded(self) -> list[str]:
        """Drop from the online store what only past versions of views keep, once no endpoint reads them.

        Returns:
            The names of what went.
        """
        from tidemill.features.superseded import superseded

        with self.metadata.read() as reader:
            if not superseded(reader, self.scope.project, self.definitions):
                return []
        # While this is written nobody applies: a version cannot become current again between question and deed.
        with self.metadata.write() as writer:
            return self.features.forget(superseded(writer, self.scope.project, self.definitions))

    def ingest(self, names: Sequence[str] = (), *, url: str | None = None, strict: bool = False) -> list[Arrival]:
        """Load what sources deliver, and bring the online store up to it.

        Args:
            names: The sources; all that deliver files when empty.
            url: Read from here instead of a source's own URL.
            strict: Refuse a delivery of which a row fails a check.
        """
        defined: dict[str, Source] = self.definitions.of_kind("source")
        chosen = [self.definitions.get("source", name) for name in names] or [
            s for s in defined.values() if delivers(s)
        ]
        arrivals = [self.data.ingest(source, url=url, strict=strict) for source in chosen]
        self.features.materialize()
        return arrivals

    def push(self, source: str, rows: pl.DataFrame | list[dict[str, Any]], *, again: bool = False) -> Push:
        """Take rows of a source as they happen: durable, and online, when this returns.

        Args:
            source: The source.
            rows: A frame, or a list of dictionaries.
            again: Whether rows may come again; see `Data.push`.
        """
        return self.data.push(self.definitions.get("source", source), rows, again=again)

    def respond(self, source: str, rows: pl.DataFrame | list[dict[str, Any]], service: str) -> pl.DataFrame:
        """Take rows of a source as they happen, and answer each with the features of a service as of its own time.

        All rows are durable, and in the online features, when this returns. Rows may come again: then they are answered.

        Args:
            source: The source.
            rows: A frame, or a list of dictionaries.
            service: The feature service; its keys are columns of the source.

        Returns:
            The feature columns, one row per row.

        Raises:
            InvalidData: A row fails a check; none was taken.
            NotReady: A view was not materialized yet. The rows are durable, and answered when they come again.
            Unavailable: The online store is away; likewise.
        """
        defined, asked = self.definitions.get("source", source), self.definitions.get("feature_service", service)
        fresh, typed = self.data.admit(defined, rows)
        if source in self._behind:
            self.catch_up()
        try:
            return self.features.respond(asked, defined, fresh, typed)
        except Unavailable:
            self._behind.add(source)
            raise

    def _arrived(self, source: Source, rows: pl.DataFrame) -> None:
        if source.name in self._behind:
            self.catch_up()  # the table has these rows too
            return
        try:
            self.features.apply_rows(source, rows)
        except Unavailable as error:
            # The rows are durable: who pushed them need not send them again. The views find them in the table.
            self._behind.add(source.name)
            _log.warning("the views over %s are behind: %s", source.name, error)

    def catch_up(self) -> None:
        """Bring views up to rows that they could not be given because the online store was away."""
        for name in sorted(self._behind):
            try:
                for view in self.features.served_over(self.definitions.get("source", name)):
                    self.features.materialize(view)
            except Unavailable:
                continue
            self._behind.discard(name)

    def _launch(self, run_id: str) -> int:
        command = [sys.executable, "-m", "tidemill", "execute", run_id, "--project", str(self.settings.folder)]
        log = self.settings.home_path / "logs" / f"run-{run_id}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, env={**os.environ, **environment_of(self.settings)}, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip
        # It may outlive this process; while both live, somebody has to take its exit status.
        threading.Thread(target=process.wait, name=f"tidemill-run-{run_id}", daemon=True).start()
        return process.pid


def delivers(source: Source) -> bool:
    """Whether a source has a URL that `ingest` reads, and not that of a broker."""
    return source.url is not None and not is_broker(source.url)


def open(
    folder: Path | str | None = None, *, overrides: Mapping[str, Any] | None = None, clock: Clock | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Platform:  # fmt: skip
    """Open the project at or above a folder.

    Args:
        folder: Where to look for `tidemill.toml`; the current folder when absent.
        overrides: Settings that win over file and environment.
        clock: Another clock than the settings name, for tests.
        progress: Called during a search with the trials done and their number.

    Raises:
        NotFound: There is no project.
    """
    start = None if folder is None else Path(folder)
    return Platform(load_settings(start, overrides=overrides), clock=clock, progress=progress)


def serve(folder: Path | None = None, overrides: Mapping[str, Any] | None = None) -> None:
    """Serve the project's graphs over HTTP until stopped.

    Args:
        folder: Where to look for `tidemill.toml`; the current folder when absent.
        overrides: Settings of `[serve]` that win over file and environment.
    """
    from tidemill.serving.server import serve as run_server

    settings = load_settings(folder, overrides={"serve": dict(overrides or {})})
    run_server(settings, functools.partial(make_runtime, settings), listening=_say_listening)


def _say_listening(url: str) -> None:
    print(f"Serving at {url} (Ctrl-C ends it)", flush=True)


def make_runtime(settings: Settings) -> Runtime:
    """What a serving process needs, made inside that process."""
    from tidemill.monitoring.capture import StreamCapture
    from tidemill.serving.runtime import Runtime

    platform = Platform(settings)
    return Runtime(
        scope=platform.scope, serving=platform.serving, models=platform.registry, features=platform.features,
        captures=StreamCapture(platform.streams), graphs=platform.definitions.of_kind("graph"), settings=settings.serve,
        close=platform.close,
    )  # fmt: skip


def load_module(folder: Path, file: str) -> types.ModuleType:
    """Import one of the project's files, once.

    Raises:
        NotFound: There is no such file.
        UserCodeError: Importing it failed.
    """
    path = (folder / file).resolve()
    if not path.is_file():
        raise NotFound(f"{file} is listed in tidemill.toml but not in {folder}", hint="Correct files = [...]")
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    return _imported(folder, path)


class _SourceLoader(SourceFileLoader):
    """Compiles a project's file each time: cached bytecode would be stale after two edits within one second."""

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _imported(folder: Path, path: Path) -> types.ModuleType:
    # The folder is importable, as it is when a script in it runs, so that one file can import another.
    if sys.path[:1] != [str(folder)]:
        sys.path[:] = [str(folder), *(one for one in sys.path if one != str(folder))]
    _forget_other_projects(folder)
    spec = importlib.util.spec_from_file_location(path.stem, path, loader=_SourceLoader(path.stem, str(path)))
    if spec is None or spec.loader is None:
        raise NotFound(f"{path.name} is not a Python file", hint="Correct files = [...] in tidemill.toml")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except TidemillError:
        del sys.modules[path.stem]
        raise
    except Exception as error:
        del sys.modules[path.stem]
        raise UserCodeError(f"importing {path.name} failed: {type(error).__name__}: {error}") from error
    return module


def _forget_other_projects(folder: Path) -> None:
    """Make room for a project's modules where another project of this process imported some of the same names."""
    for path in folder.glob("*.py"):
        file = getattr(sys.modules.get(path.stem), "__file__", None)
        other = None if file is None else Path(file).parent
        if other is not None and other != folder and (other / FILE_NAME).is_file():
            del sys.modules[path.stem]
