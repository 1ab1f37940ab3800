"""Features: training sets, offline and online look-up, materialization, consistency and the catalog, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from tidemill.core.errors import InvalidArgument, NotReady
from tidemill.core.protocols import VectorLog
from tidemill.core.records.verifications import FeatureCheck
from tidemill.core.schema import Column
from tidemill.core.scope import Scope
from tidemill.core.specs.definition import Definitions
from tidemill.core.specs.features import FeatureService, FeatureView, Label
from tidemill.core.specs.sources import Source
from tidemill.core.times import Duration, Time, format_time, parse_duration
from tidemill.engines.protocol import Engine
from tidemill.features.catalog import Catalog, Resolved, ServiceInfo, ViewInfo
from tidemill.features.consistency import Consistency, Verification, merged
from tidemill.features.offline import offline_features
from tidemill.features.online import Freshness, Materialized, Online
from tidemill.features.request import checked, conform, timed
from tidemill.features.statistics import FeatureStatistics, features_of_newest, statistics
from tidemill.features.training import Counts, Save, SourceReader, TrainingSets
from tidemill.tracking.dataset import Dataset


class Features:
    """The features of a project. Implements `DatasetBuilder` and `FeatureReader` of `tidemill.core.protocols`.

    Args:
        scope: Project, principal and clock.
        definitions: The project's definitions.
        reader: Access to the sources' tables.
        online: The online side.
        save: Keeps a frame as a dataset.
        log: The feature vectors that were served.
        engine: Gives who runs the offline path; the calling thread when absent.
    """

    def __init__(
        self, *, scope: Scope, definitions: Definitions, reader: SourceReader, online: Online, save: Save,
        log: VectorLog | None = None, engine: Callable[[], Engine] | None = None,
    ) -> None:  # fmt: skip
        self._scope = scope
        self._log = log
        self._definitions = definitions
        self._reader = reader
        self._online = online
        self._catalog = Catalog(definitions, reader)
        self._training_sets = TrainingSets(clock=scope.clock, reader=reader, save=save, engine=engine)
        self._engine = engine

    # -- offline -----------------------------------------------------------------------------------

    def training_set(
        self, *, service: FeatureService, spine: Source, label: Label | None, until: Time, since: Time | None = None,
        known_at: bool = False, counted: Callable[[Counts], None] | None = None,
    ) -> Dataset:  # fmt: skip
        """A point-in-time correct dataset; see `TrainingSets.training_set`."""
        return self._training_sets.training_set(
            service=service, spine=spine, label=label, until=until, since=since, known_at=known_at, counted=counted
        )

    def offline(
        self, service: FeatureService | str, spine: pl.DataFrame, time: str, *, known_at: bool = False
    ) -> pl.DataFrame:
        """The features for each row of a frame, as of its time; see `offline_features`."""
        return offline_features(
            self._service(service), spine, time, self._reader.newest, known_at, self._reader.unique_ids,
            engine=None if self._engine is None else self._engine(),
        )  # fmt: skip

    # -- online ------------------------------------------------------------------------------------

    def online(self, service: FeatureService | str, rows: pl.DataFrame, at: int | None = None) -> pl.DataFrame:
        """The features for each row, by key.

        Args:
            service: The service, or its name.
            rows: Keys, time, and what on-demand features read. Texts are read as the types of their columns.
            at: The moment of all rows, microseconds. Absent: each row's own time, or the clock where it has none.

        Returns:
            The feature columns, one row per row.

        Raises:
            InvalidArgument: A time is in the future, or a text is no value of its column's type.
            NotReady: A view was not materialized yet.
        """
        asked = self._service(service)
        known = self._catalog.resolve(asked)
        if known is not None:
            rows = conform(rows, known.request)
        rows, moments = timed(rows, None if known is None else known.time, at, self._scope.now())
        return self._online.lookup(asked, rows, moments)

    def vector(self, service: FeatureService | str, row: Mapping[str, Any], at: int | None = None) -> dict[str, Any]:
        """The features of one row, by full name; see `online`."""
        return self.online(service, pl.DataFrame([dict(row)]), at).row(0, named=True)

    def enrich(self, service: FeatureService, rows: pl.DataFrame, now: int) -> pl.DataFrame:
        """The rows with the service's features added, same rows, same order.

        Args:
            service: The service.
            rows: The rows of a request; `prediction_time` (microseconds) is when each is predicted for, `now` where null.
            now: The clock's time, microseconds.

        Raises:
            InvalidArgument: A prediction time is after `now`, or a column is missing.
        """
        if "prediction_time" in rows.columns:
            at = checked(rows["prediction_time"].cast(pl.Int64).fill_null(now).to_numpy(), now)
        else:
            at = np.full(rows.height, now, np.int64)
        return rows.with_columns(self._online.lookup(service, rows, at).iter_columns())

    def request_schema(self, service: FeatureService) -> tuple[Column, ...]:
        """The columns a caller must send: keys, the spine's time, and what on-demand features read.

        Raises:
            NotReady: No source has rows yet that would tell their types.
        """
        return self._resolved(service).request

    def _resolved(self, service: FeatureService) -> Resolved:
        found = self._catalog.resolve(service)
        if found is None:
            raise NotReady(
                f"the sources of feature service {service.name!r} have no rows yet", hint="Run: tidemill ingest"
            )
        return found

    def materialize(self, view: FeatureView | str | None = None) -> list[Materialized]:
        """Bring the online store up to the tables, for one view or all of those that services use."""
        return self._online.materialize(self._served() if view is None else [self._view(view)])

    def forget(self, versions: Iterable[tuple[str, str]]) -> list[str]:
        """Drop what versions of views (name and digest) keep online; returns the names of what went."""
        return self._online.forget(versions)

    def apply_rows(self, source: Source, frame: pl.DataFrame) -> int:
        """Let the online store know of rows that just arrived, system columns included; returns how many were new to it."""
        return self._online.apply_rows(self._served(), source, frame)

    def respond(
        self, service: FeatureService | str, source: Source, fresh: pl.DataFrame, rows: pl.DataFrame
    ) -> pl.DataFrame:
        """Let the online store know of rows that just arrived, and answer with the features of each as of its own time.

        Args:
            service: The service, or its name; its keys, and what its on-demand features read, are columns of the source.
            source: The rows' source.
            fresh: Those of the rows that were not there before, system columns included.
            rows: All rows, with `event_ts`.

        Returns:
            The feature columns, one row per row.

        Raises:
            NotReady: A view was not materialized yet.
            NotFound: A key, or a column an on-demand feature reads, is missing.
        """
        asked = self._service(service)
        if fresh.height == rows.height == 1 and not asked.on_demand:
            found = self._online.respond(asked, source, fresh.row(0, named=True), views=self._served())
            return pl.DataFrame([found], schema=self._resolved(asked).plan.features)
        self.apply_rows(source, fresh)
        return self._online.lookup(asked, rows, rows["event_ts"])

    def served_over(self, source: Source) -> list[FeatureView]:
        """The views over a source that services use."""
        return [view for view in self._served() if view.source.name == source.name]

    def trim(self, lateness: Duration) -> int:
        """Forget online what no question from now on reaches; see `Online.trim`. Views that nothing reaches any more stay.

        A view whose newest event is older than the lateness is not fed: it does not grow, and whoever asks it, asks about
        the past.

        Args:
            lateness: How far back in time, beyond the longest window, questions still go.

        Returns:
            How many rows went.
        """
        longest = parse_duration(lateness)
        fed = {one.view for one in self.freshness() if one.lag is not None and one.lag <= longest}
        return self._online.trim([view for view in self._served() if view.name in fed], lateness=lateness)

    def freshness(self) -> list[Freshness]:
        """How far the online store is, for each view that a service uses."""
        return self._online.freshness(self._served())

    def unmaterialized(self) -> dict[str, int]:
        """The views in use which the online store does not hold as they are now, with the rows of their tables."""
        missing = [
            view for view in self._served() if self._catalog.has_rows(view.source) and not self._online.holds(view)
        ]
        return {view.name: self._rows(view.source) for view in missing}

    def _rows(self, source: Source) -> int:
        return int(self._reader.newest(source).select(pl.len()).collect().item())

    # -- consistency -------------------------------------------------------------------------------

    def verify(
        self, service: FeatureService | str, since: int, until: int | None = None, *, sample: float = 1.0,
        lag: Duration = "1m",
    ) -> Verification:  # fmt: skip
        """Compute logged online vectors again, and tell late data from defects; see `tidemill.features.consistency`.

        Args:
            service: The service.
            since: Vectors of requests received from then on, microseconds.
            until: And before that; up to now when absent.
            sample: Verify only this share of the keys, chosen by their hash: of each key all vectors or none.
            lag: How long a row may take from being known to being online. A difference that a row explains which was
                known no longer than that before the request is late data.

        Raises:
            NotFound: No endpoint enriches with the service.
            NotReady: Its sources have no rows yet.
            InvalidArgument: The sample is no share, or the time is empty.
        """
        asked, end = self._service(service), self._scope.now() + 1 if until is None else until
        if since >= end:
            raise InvalidArgument(f"from {format_time(since)} until {format_time(end)} there is no time",
                                  expected="since= before until=, and in the past")  # fmt: skip
        known = self._resolved(asked)
        logged = () if self._log is None else self._log(asked, since, end)
        consistency = Consistency(
            asked, known.request, known.plan.keys, self._reader.newest, parse_duration(lag), self._reader.unique_ids
        )
        checks, skipped = list[list[FeatureCheck]](), Counter[str]()
        for part in logged:
            skipped[part.endpoint] += part.skipped
            checks += [consistency.check(part, sample)] if part.rows.height else []
        features = merged(checks)
        return Verification(
            service=asked.name, since=since, until=end, sample=sample, endpoints=tuple(skipped),
            rows=max((feature.rows for feature in features), default=0), skipped=skipped.total(), features=features,
        )  # fmt: skip

    # -- catalog -----------------------------------------------------------------------------------

    def views(self) -> list[ViewInfo]:
        """All feature views with their columns."""
        return self._catalog.views()

    def services(self) -> list[ServiceInfo]:
        """All feature services with their columns."""
        return self._catalog.services()

    def statistics(self, part: FeatureView | FeatureService) -> list[FeatureStatistics]:
        """What the values of a view or a service look like at the newest rows; see `features_of_newest`."""
        return statistics(features_of_newest(part, self._catalog, self._reader))

    def validate(self, definitions: Definitions) -> None:
        """Check definitions against the tables before they are applied; see `Catalog.validate`."""
        Catalog(definitions, self._reader).validate()

    def _served(self) -> list[FeatureView]:
        services: list[FeatureService] = list(self._definitions.of_kind("feature_service").values())
        views = (use.view for service in services for use in service.uses)
        return list({(view.name, view.key_columns): view for view in views}.values())  # lookups differ in their keys

    def _service(self, service: FeatureService | str) -> FeatureService:
        if isinstance(service, FeatureService):
            return service
        found: FeatureService = self._definitions.get("feature_service", service)
        return found

    def _view(self, view: FeatureView | str) -> FeatureView:
        if isinstance(view, FeatureView):
            return view
        looked_up = [served for served in self._served() if served.name == view and served.source.time is None]
        found: FeatureView = looked_up[0] if looked_up else self._definitions.get("feature_view", view)
        return found
